"""Answers with router, small model and adapters loaded here; the configured rule is replayed over the whole answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from serve_app.cli.estimating import engines
from serve_app.cli.estimating.outcome import Failed, Outcome, Refused, Tried
from serve_app.core import (
    Call,
    Engine,
    EngineError,
    PromptTooLong,
    Query,
    RequestError,
    Router,
    RouteScore,
    TokenStat,
    Usage,
)
from serve_app.labelling.requests import LoggedRequest

if TYPE_CHECKING:
    from serve_app.config import Settings
    from serve_app.training.cascade import LabelledAttempt


@dataclass(frozen=True, slots=True)
class Generated:
    """One whole answer."""

    text: str
    tokens: tuple[TokenStat, ...]
    usage: Usage
    adapter_version: str | None


@dataclass(frozen=True, slots=True)
class _Small:
    request: LoggedRequest
    query: Query
    route: RouteScore
    generated: Generated


class InProcess:
    """A `Source`. The small model answers everything to the end, so that other rules can be fitted on the same log."""

    def __init__(self, settings: Settings, run_large: bool, threads: int) -> None:
        """`run_large`: the large model answers what the log has no response to."""
        self._settings, self._run_large, self._threads = settings, run_large, threads

    async def collect(self, requests: Sequence[LoggedRequest], on_done: Callable[[int], object]) -> list[Outcome]:
        """See `Source`. Only one of the two models is loaded at a time."""
        small = await self._all_small(requests, on_done)
        answered = [one for one in small if isinstance(one, _Small)]
        judged = iter(self._judge(answered))
        outcomes: list[Outcome] = [next(judged) if isinstance(one, _Small) else one for one in small]
        missing = [one for one in answered if one.request.response is None] if self._run_large else []
        if not missing:
            return outcomes
        found = await self._all_large(missing)
        return [_with_large(one, found) if isinstance(one, Tried) else one for one in outcomes]

    async def _all_small(
        self, requests: Sequence[LoggedRequest], on_done: Callable[[int], object]
    ) -> list[_Small | Refused | Failed]:
        node, router = self._settings.specialists, engines.router(self._settings.router)
        free = asyncio.Semaphore(node.max_rows)

        async def one(engine: Engine, request: LoggedRequest) -> _Small | Refused | Failed:
            async with free:
                outcome = await self._small(engine, router, request)
            on_done(1)
            return outcome

        async with (
            engines.running(node, self._settings.adapters, self._threads) as engine,
            asyncio.TaskGroup() as group,
        ):
            tasks = [group.create_task(one(engine, request)) for request in requests]
        return [task.result() for task in tasks]

    async def _small(self, engine: Engine, router: Router, request: LoggedRequest) -> _Small | Refused | Failed:
        from serve_app.gateway.parse import chat_ask

        body = json.dumps({**request.body, "model": "auto"}).encode()
        try:
            query = chat_ask(body, request.id, None, max_choices=1).query
            route = await router.score(query.conversation)
            adapter = self._settings.routes.adapter_for(route.label)
            return _Small(request, query, route, await generate(engine, query, adapter))
        except RequestError as error:
            return Refused.by(request, error)
        except EngineError as error:
            return Failed(request, error)

    def _judge(self, answered: Sequence[_Small]) -> list[Tried]:
        """What the configured rule makes of the answers; without a cascade all are accepted."""
        from serve_app.confidence import configured_rule
        from serve_app.training.cascade import replay

        attempts = [_attempt(one) for one in answered]
        if not attempts:
            return []
        if not self._settings.cascade.enabled:
            return [_tried(one, attempt, True, True, None) for one, attempt in zip(answered, attempts, strict=True)]
        seen = replay(configured_rule(self._settings.cascade), attempts)
        columns = (seen.accepted.tolist(), seen.tried.tolist(), seen.billed_tokens.tolist())
        return [
            _tried(one, attempt, accepted, tried, int(billed))
            for one, attempt, accepted, tried, billed in zip(answered, attempts, *columns, strict=True)
        ]

    async def _all_large(self, missing: Sequence[_Small]) -> dict[int, Generated]:
        """By line of the log."""
        node = self._settings.fallback
        free = asyncio.Semaphore(node.max_rows)

        async def one(engine: Engine, small: _Small) -> Generated | None:
            async with free:
                try:
                    return await generate(engine, small.query, None)
                except (PromptTooLong, EngineError):  # of this model only: its answer stays unknown
                    return None

        async with engines.running(node, {}, self._threads) as engine, asyncio.TaskGroup() as group:
            tasks = {small.request.line: group.create_task(one(engine, small)) for small in missing}
        return {line: large for line, task in tasks.items() if (large := task.result()) is not None}


async def generate(engine: Engine, query: Query, adapter: str | None) -> Generated:
    """The whole answer of an engine to a query."""
    call = Call(query.query_id, query.sampling, query.messages, adapter=adapter)
    texts: list[str] = []
    tokens: list[TokenStat] = []
    usage, version = Usage(), None
    async for delta in engine.generate(call):
        texts.append(delta.text)
        tokens += delta.tokens
        usage, version = delta.usage, delta.adapter_version
    return Generated("".join(texts), tuple(tokens), usage, version)


def _attempt(one: _Small) -> LabelledAttempt:
    from serve_app.training.cascade import LabelledAttempt, TokenCounts

    best, *others = sorted(one.route.probabilities.values(), reverse=True) or [one.route.probability]
    usage = one.generated.usage
    return LabelledAttempt(
        id=one.request.id,
        route=one.route.label,
        route_probability=best,
        route_margin=best - others[0] if others else None,
        gain=one.route.gain,
        adapter_version=one.generated.adapter_version,
        prompt_tokens=usage.prompt_tokens,
        tokens=tuple((one.logprob, one.entropy, one.margin, one.token_id) for one in one.generated.tokens),
        small_right=0.0,  # a replay does not read it, and it is left out of `evidence`
        small_usage=TokenCounts(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens),
    )


def _tried(one: _Small, attempt: LabelledAttempt, accepted: bool, tried: bool, billed: int | None) -> Tried:
    usage = one.generated.usage
    return Tried(
        one.request,
        one.route.label,
        accepted,
        small_answer=one.generated.text,
        small_usage=(usage if billed is None else replace(usage, completion_tokens=billed)) if tried else None,
        large_answer=one.request.response,
        large_usage=one.request.usage,
        evidence=attempt.model_dump(mode="json", exclude={"small_right"}, exclude_none=True),
    )


def _with_large(one: Tried, found: dict[int, Generated]) -> Tried:
    if one.request.line not in found:
        return one
    large = found[one.request.line]
    return replace(one, large_answer=large.text, large_usage=large.usage, measured=True)
