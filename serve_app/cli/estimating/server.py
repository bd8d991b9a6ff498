"""Asks a running Headrace: its own router, adapters, rule and large model decide, as they would in production."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serve_app.cli.estimating.costs import Models
from serve_app.cli.estimating.outcome import Failed, Outcome, Refused, Tried
from serve_app.cli.estimating.patience import Patience
from serve_app.core import ConfigError, EngineError, RequestError, Usage
from serve_app.labelling.chat import ChatEndpoint, reply_text
from serve_app.labelling.requests import LoggedRequest


class Server:
    """A `Source`. What the server escalates, its large model answers; it accounts for all of it in its ledger."""

    def __init__(self, endpoint: ChatEndpoint, models: Models, run_large: bool, concurrency: int) -> None:
        """`run_large`: have the large model answer also where the log has no response and the small one is accepted."""
        self._endpoint, self._run_large = endpoint, run_large
        self._models = {"specialists": models.small, "fallback": models.large}
        self._free = asyncio.Semaphore(concurrency)
        self._patience = Patience()

    async def collect(self, requests: Sequence[LoggedRequest], on_done: Callable[[int], object]) -> list[Outcome]:
        """See `Source`."""

        async def one(request: LoggedRequest) -> Outcome:
            async with self._free:
                outcome = await self._try(request)
            on_done(1)
            return outcome

        async with self._endpoint, asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(request)) for request in requests]
        return [task.result() for task in tasks]

    async def _try(self, request: LoggedRequest) -> Outcome:
        try:
            with self._patience.attempt():
                return await self._tried(request)
        except RequestError as error:
            return Refused.by(request, error)
        except EngineError as error:
            return Failed(request, error)

    async def _tried(self, request: LoggedRequest) -> Tried:
        answer = await self._endpoint.complete({**request.body, "model": "auto"})
        account = answer.get("headrace")
        if not isinstance(account, dict):
            raise ConfigError("The server's answer has no `headrace` object; --url must be that of a Headrace server.")
        if account["cache"] is not None:
            raise ConfigError(
                "The server answers from its response cache: set cache.enabled to false while you estimate."
            )
        text, escalated = reply_text(answer), bool(account["escalated"])
        usages = {one["node"]: self._usage(one) for one in account["attempts"] if one.get("role", "answer") == "answer"}
        if not escalated and "fallback" in usages:
            raise ConfigError(
                "The server answers with its large model alone: set cascade.watch.mirror_share to 0 while you estimate."
            )
        large_answer, large_usage, measured = request.response, request.usage, False
        if large_answer is None and escalated:
            large_answer, large_usage, measured = text, usages.get("fallback"), True
        elif large_answer is None and self._run_large:
            asked = await self._endpoint.complete({**request.body, "model": "large"})
            attempt = asked["headrace"]["attempts"][0]
            large_answer, large_usage, measured = reply_text(asked), self._usage(attempt), True
        return Tried(
            request,
            account["route"],
            accepted=not escalated,
            small_answer=None if escalated else text,
            small_usage=usages.get("specialists"),
            large_answer=large_answer,
            large_usage=large_usage,
            measured=measured,
        )

    def _usage(self, attempt: Mapping[str, Any]) -> Usage:
        """Of an attempt of the models that the settings price. Raises ConfigError for others."""
        expected = self._models[attempt["node"]]
        if attempt["model"] != expected:
            raise ConfigError(
                f"The server's {attempt['node']} run {attempt['model']}, and the settings price {expected}: "
                "give the server's own settings file with --config."
            )
        usage = attempt["usage"]
        return Usage(usage["prompt_tokens"], usage["cached_tokens"], usage["completion_tokens"])
