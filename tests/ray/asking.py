"""What the tests ask of a running graph."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
from launching import Served


def ask(client: openai.OpenAI, text: str, model: str = "auto", **parameters: Any) -> Any:
    """One user message; a completion, or with `stream=True` an iterator of chunks."""
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, **parameters)


def text_of(chunks: list[Any]) -> str:
    """The text of a stream's only choice."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


WITHIN_S = 60.0
"""Of what comes at once on a machine with cores to spare."""
REPLY_S = 30.0
"""Of one page, which asks other replicas."""


def eventually(find: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """The first true result; accounts arrive in batches, a little after the answer."""
    deadline_s = time.monotonic() + within_s
    while not (found := find()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert found
    return found


def account(served: Served, query_id: str) -> Any:
    """The ledger's account of a query, once it is there."""

    def find() -> Any:
        response = httpx.get(f"{served.url}/v1/ledger/queries/{query_id}", timeout=REPLY_S)
        return response.json() if response.status_code == httpx.codes.OK else None

    return eventually(find)


def ready(served: Served, admin_key: str = "", **nodes: str) -> Any:
    """What `/readyz` says, once it is 200 and says this of these nodes; any of them may be late to answer once."""

    def find() -> Any:
        headers = {"authorization": f"Bearer {admin_key}"} if admin_key else {}
        response = httpx.get(f"{served.url}/readyz", headers=headers, timeout=REPLY_S)
        said = response.json()
        return said if response.status_code == httpx.codes.OK and nodes.items() <= said["nodes"].items() else None

    return eventually(find)
