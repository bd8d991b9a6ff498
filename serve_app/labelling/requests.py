"""Logs of chat requests as people keep them, and the answers that their large model gave.

Accepted, one object a line, plain or gzipped:

| line | answer |
|---|---|
| {"messages": […], "temperature": 0, …} | none, or a last turn of the assistant, or "response" |
| {"request": {"messages": […], …}, "response": …} | a text, a message, or a chat completion; also `input`, `output` |
| {"custom_id": …, "body": {"messages": […]}} (batch input) | "response" here, or in a batch output file by custom_id |

Token counts are taken from the completion's `usage`, or from `usage` beside it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.core import DataError, Usage
from serve_app.labelling.lines import Line, parse_object, read_lines

_REQUEST, _RESPONSE = ("request", "input", "body"), ("response", "output", "completion")
_HOW_SENT = frozenset(
    {"model", "n", "stream", "stream_options", "logprobs", "top_logprobs", "user", "metadata", "store", "service_tier"}
)
"""Changes nothing of what is asked, or is ours to choose."""
_PARAMETERS = frozenset(
    {
        *("messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "tools"),
        *("tool_choice", "functions", "function_call", "response_format", "presence_penalty", "frequency_penalty"),
        *("logit_bias", "reasoning_effort", "verbosity", "modalities", "audio", "prediction", "web_search_options"),
    }
)
"""What counts as the request's own where it is not kept apart from the log's fields."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request, and what came back where the log has it."""

    id: str
    line: int
    body: Mapping[str, Any]
    """Of a chat request, without `model` and without how the answer is sent."""
    response: str | None = None
    """Text of the large model's answer."""
    usage: Usage | None = None
    """What that answer took, in the large model's tokens."""

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        turns = (turn for turn in reversed(self.body["messages"]) if turn.get("role") == "user")
        return next((_content_text(turn.get("content")) or "" for turn in turns), "")


@dataclass(frozen=True, slots=True)
class RequestLog:
    """A log, or a sample of it."""

    requests: list[LoggedRequest]
    num_lines: int
    """Of the whole log."""


def read_requests(path: Path, responses: Path | None = None, limit: int | None = None, seed: int = 0) -> RequestLog:
    """The requests in order; with `limit`, so many drawn at random. Lines that are not drawn are not looked at.

    `responses` is an OpenAI batch output file. Raises DataError naming file, line and field.
    """
    lines = read_lines(path)
    drawn = lines if limit is None or limit >= len(lines) else random.Random(seed).sample(lines, limit)
    answers = _batch_output(responses) if responses is not None else {}
    found = [_request(line, path, answers) for line in sorted(drawn, key=lambda line: line.number)]
    return RequestLog(found, len(lines))


def _request(line: Line, path: Path, answers: Mapping[str, Any]) -> LoggedRequest:
    row, where = parse_object(line, path), f"{path}:{line.number}"
    name, asked = next(((name, row[name]) for name in _REQUEST if row.get(name) is not None), ("", None))
    if not name:
        if "messages" not in row:
            raise DataError(f"{where}: messages: missing; give messages, or a request that has them.")
        asked = {key: value for key, value in row.items() if key in _PARAMETERS}
    if isinstance(asked, list):
        asked = {"messages": asked}
    if not isinstance(asked, dict):
        raise DataError(f"{where}: {name}: must be an object with messages.")
    custom_id = str(row.get("custom_id") or row.get("id") or f"line-{line.number}")
    messages = _messages(asked, f"{where}: {name}.messages" if name else f"{where}: messages")
    response, usage = _answer(row, answers.get(custom_id), where)
    if response is None and len(messages) > 1 and messages[-1]["role"] == "assistant":
        response = _content_text(messages.pop().get("content"))
    kept = {key: value for key, value in asked.items() if key not in _HOW_SENT}
    return LoggedRequest(custom_id, line.number, {**kept, "messages": messages}, response, usage)


def _messages(asked: dict[str, Any], where: str) -> list[dict[str, Any]]:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: must be a list of turns that is not empty.")
    for index, turn in enumerate(messages):
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise DataError(f"{where}.{index}: must be an object with role and content.")
    return list(messages)


def _answer(row: dict[str, Any], from_batch: Any, where: str) -> tuple[str | None, Usage | None]:
    name = next((name for name in _RESPONSE if row.get(name) is not None), None)
    found = row[name] if name else from_batch
    text, inner = _response(found, f"{where}: {name or 'response'}")
    outer = row.get("usage")
    raw = outer if outer is not None else inner
    return text, None if raw is None else _usage(raw, f"{where}: usage")


def _response(found: Any, where: str) -> tuple[str | None, Any]:
    """Text and raw usage of an answer in any of its shapes; None where it is a failure or holds no text."""
    if found is None or isinstance(found, str):
        return found, None
    if not isinstance(found, dict):
        raise DataError(f"{where}: must be a text, a message or a chat completion.")
    if "body" in found:  # a line of a batch output
        failed = found.get("status_code", 200) != 200
        return (None, None) if failed else _response(found["body"], f"{where}.body")
    if "choices" in found:
        choices = found["choices"]
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise DataError(f"{where}.choices: must be a list of choices that is not empty.")
        message = choices[0].get("message")
    else:
        message = found.get("message", found)
    if not isinstance(message, dict) or not ("content" in message or "tool_calls" in message):
        raise DataError(f"{where}: has no choices.0.message.content, message.content or content.")
    return _content_text(message.get("content")), found.get("usage")


def _content_text(content: Any) -> str | None:
    """A text, or the text parts of a list; None for anything else."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str)) or None
    return content if isinstance(content, str) else None


def _usage(raw: Any, where: str) -> Usage:
    counts = [raw.get(name) if isinstance(raw, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        raise DataError(f"{where}: must hold prompt_tokens and completion_tokens, whole numbers.")
    details = raw.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt, completion = (int(count) for count in counts if count is not None)
    return Usage(prompt, min(cached, prompt) if isinstance(cached, int) else 0, completion)


def _batch_output(path: Path) -> dict[str, Any]:
    found = {}
    for line in read_lines(path):
        row = parse_object(line, path)
        if not isinstance(row.get("custom_id"), str):
            raise DataError(f"{path}:{line.number}: custom_id: missing; give the output file of a batch.")
        found[row["custom_id"]] = None if row.get("error") else row.get("response")
    return found
