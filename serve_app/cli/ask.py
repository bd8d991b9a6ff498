"""`headrace ask`: one question to a running server; the answer as it streams, its sources, one line of what it took."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.connection import CONNECT_TIMEOUT_S, DEFAULT_URL, connected, server_root
from serve_app.cli.options import ApiKey, ServerUrl
from serve_app.core import HeadraceError
from serve_app.core.texts import is_unicode

if TYPE_CHECKING:
    import httpx

_SILENCE_S = 3600.0
"""A server that says nothing for so long will say nothing more. Its `gateway.timeout_s` is 300 as a rule."""
_NO_ANSWER = "The server sent something else than an answer; is it a Headrace server?"


def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="A name from /v1/models.")] = "auto",
    url: ServerUrl = DEFAULT_URL,
    key: ApiKey = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")] = None,
    system: Annotated[str | None, typer.Option(help="System message before the question.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: text, finish_reason, headrace.")
    ] = False,
) -> None:
    """Ask a question: the answer as it streams, its sources, then route, adapter, confidence, escalation and cost."""
    if key is not None and not key.isprintable():
        raise typer.BadParameter("the API key holds characters that no HTTP header can carry; check --key")
    if not all(is_unicode(text) for text in (question, system or "", model)):
        raise typer.BadParameter("the question is not valid UTF-8; check the terminal's encoding")
    roles = (("system", system), ("user", question))
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in roles if content is not None],
        "stream": True,
    }
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    texts, finish_reason, account = [], None, None
    for chunk in _chunks(server_root(url), key, body):
        choice = chunk["choices"][0]
        text = choice["delta"].get("content") or ""
        texts.append(text)
        if not as_json:
            typer.echo(text, nl=False)
        finish_reason = choice["finish_reason"] or finish_reason
        account = chunk.get("headrace", account)
    if as_json:
        typer.echo(json.dumps({"text": "".join(texts), "finish_reason": finish_reason, "headrace": account}))
        return
    typer.echo()
    if account is not None:
        from rich.console import Console

        for line in (*sources(account), summary(account)):
            Console().print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def summary(account: dict[str, Any]) -> str:
    """One line about a `headrace` object.

    >>> summary({"route": "legal", "adapter": "legal", "confidence": 0.8512, "escalated": False, "model": "small",
    ...          "cost_usd": 2.5e-06, "saved_usd": -1e-07})
    'route legal · adapter legal · confidence 0.85 · not escalated · cost $0.0000025 · saved $-0.0000001'
    """
    confidence = account["confidence"]
    return " · ".join(
        (
            f"route {account['route'] or 'none'}",
            f"adapter {account['adapter'] or 'none'}",
            f"confidence {'none' if confidence is None else format(confidence, '.2f')}",
            f"escalated to {account['model']}" if account["escalated"] else "not escalated",
            f"cost ${_money(account['cost_usd'])}",
            f"saved ${_money(account['saved_usd'])}",
        )
    )


def sources(account: dict[str, Any]) -> list[str]:
    """A line for each passage that stood before the question, with how often it is quoted.

    >>> sources({"citations": [{"index": 1, "title": "Patents", "source": "law.md", "quotes": [{}]}]})
    ['[1] Patents · law.md · 1 quote']
    """
    lines = []
    for cited in account.get("citations", ()):
        num_quotes = len(cited["quotes"])
        quoted = f"{num_quotes} quote{'' if num_quotes == 1 else 's'}" if num_quotes else ""
        lines.append(
            " · ".join(part for part in (f"[{cited['index']}] {cited['title']}", cited["source"], quoted) if part)
        )
    return lines


def _money(usd: float) -> str:
    """US dollars to the nano-dollar, without trailing zeros.

    >>> _money(0.0000025), _money(1.5), _money(0.0)
    ('0.0000025', '1.5', '0')
    """
    return f"{usd:.9f}".rstrip("0").rstrip(".")


def _chunks(url: str, key: str | None, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed answer. Raises HeadraceError with the server's own sentence, or why there is none."""
    import httpx

    headers = {b"authorization": f"Bearer {key}".encode()} if key else {}
    timeout = httpx.Timeout(_SILENCE_S, connect=CONNECT_TIMEOUT_S)
    with (
        connected(url, " while it answered; ask again."),
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=timeout) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            answer.read()
            raise HeadraceError(_refusal(answer, url))
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise HeadraceError(_NO_ANSWER)
        yield from _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The JSON objects of server-sent events, up to [DONE]. Raises HeadraceError for an error among them."""
    for line in lines:
        if not line.startswith("data: "):
            continue
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            return
        try:
            chunk = json.loads(data)
        except ValueError as error:
            raise HeadraceError(_NO_ANSWER) from error
        if isinstance(chunk, dict) and "error" in chunk:
            raise HeadraceError(_message(chunk))
        yield _checked(chunk)
    raise HeadraceError("The server ended its answer early; ask again.")


def _checked(chunk: Any) -> dict[str, Any]:
    """A chunk with one choice. Raises HeadraceError for what is none."""
    try:
        delta = chunk["choices"][0]["delta"]
        if isinstance(delta.get("content"), str | None) and "finish_reason" in chunk["choices"][0]:
            return dict(chunk)
    except (KeyError, IndexError, TypeError, AttributeError):
        pass
    raise HeadraceError(_NO_ANSWER)


def _message(chunk: dict[str, Any]) -> str:
    error = chunk["error"]
    return str(error.get("message", _NO_ANSWER)) if isinstance(error, dict) else str(error)


def _refusal(answer: "httpx.Response", url: str) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{url} answered with HTTP status {answer.status_code}; is it a Headrace server?"
