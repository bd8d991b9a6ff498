"""The answer process: runs the program once, then calls its functions for the examiner, value in and value out.

An interpreter of its own, not a copy of the examiner: what the examiner loaded must not be in the program's memory.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from serve_app.labelling.sandbox.wire import decode, encode, receive, send


def main() -> None:
    """Serve on the two pipes that the last arguments number; the first request is the job. Ends the process."""
    requests, replies = int(sys.argv[-2]), int(sys.argv[-1])
    try:
        sys.set_int_max_str_digits(0)
        job = receive(requests)
        _put_up_hook(job["folder"])
        serve(requests, replies, job["setup"], job["code"])
    finally:
        os._exit(0)


def _put_up_hook(folder: str) -> None:
    """And leave no way to it: no module, no name in a frame."""
    from serve_app.labelling.sandbox import hook

    hook.watch(folder)
    for name in [name for name in sys.modules if name.startswith("serve_app")]:
        del sys.modules[name]


def serve(requests: int, replies: int, setup: str, code: str) -> None:
    """Run `setup` and `code`, say which names they left, then answer requests until the pipe ends."""
    kept: list[Any] = []

    def handle_of(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    sys.modules["answer"] = module = ModuleType("answer")  # dataclasses look their module up
    names = module.__dict__
    try:
        exec(compile(setup, "setup", "exec"), names)
        exec(compile(code, "answer", "exec"), names)
        send(replies, {"names": {name: _described(value, handle_of) for name, value in list(names.items())}})
    except BaseException as error:
        send(replies, _error(error))
        return
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        try:
            reply = _reply(request, kept.__getitem__, handle_of)
            send(replies, reply)
        except BaseException as error:
            send(replies, _error(error))


def _described(value: Any, handle_of: Any) -> Any:
    if isinstance(value, ModuleType):
        return {"module": value.__name__}
    kind = "class" if isinstance(value, type) else "value"
    return {kind: encode(value, handle_of)}


def _reply(request: Any, value_of: Any, handle_of: Any) -> Any:
    """What `name` of the target gives. Lists, dicts and sets that a call changed go back too."""
    target = value_of(request["target"])
    if request["operation"] == "get":
        return {"value": encode(getattr(target, request["name"]), handle_of)}
    args = decode(request["args"], value_of)
    keywords = decode(request["keywords"], value_of)
    before = [_mutable(one, handle_of) for one in args]
    result = _OPERATIONS[request["operation"]](target, *args, **keywords)
    after = [_mutable(one, handle_of) for one in args]
    changed = {str(index): new for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
    return {"value": encode(result, handle_of), "changed": changed}


def _mutable(value: Any, handle_of: Any) -> Any:
    return encode(value, handle_of) if type(value) in (list, dict, set) else None


def _error(error: BaseException) -> Any:
    try:
        text = str(error)[:300]
    except BaseException:
        text = ""
    return {"error": type(error).__name__, "text": text}


_OPERATIONS: dict[str, Any] = {
    "call": lambda target, *args, **keywords: target(*args, **keywords),
    "item": lambda target, key: target[key],
    "length": len,
    "iterate": iter,
    "next": next,
    "text": str,
    "repr": repr,
    "truth": bool,
    "contains": lambda target, one: one in target,
    "equal": lambda target, other: bool(target == other),
    "less": lambda target, other: bool(target < other),
}
