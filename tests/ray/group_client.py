"""Run as a program: connects to a running graph's Ray and asks its specialists for groups of calls over their handle.

python group_client.py RAY_ADDRESS

Prints, as JSON, by member: its text, its error and whether it came to an end, of a group with bad members and of one in
lock step; and how a third one in lock step was refused. A group of slow members is left after its first word.
"""

import asyncio
import json
import os
import sys
from contextlib import aclosing
from typing import Any

from serve_app.deployments.switches import every_node


async def ask(engine: Any, group: Any) -> dict[int, dict[str, Any]]:
    said: dict[int, dict[str, Any]] = {}
    async for one in engine.generate_group(group):
        member = said.setdefault(one.member, {"text": "", "error": None, "ended": False})
        assert not member["ended"], "nothing comes after a member's last word"
        member["text"] += one.delta.text if one.delta else ""
        member["error"] = type(one.error).__name__ if one.error else None
        member["ended"] = one.is_last
    return said


async def groups() -> dict[str, Any]:
    from ray import serve

    from serve_app.core import Call, Group, HeadraceError, Message, SamplingParams
    from serve_app.deployments.handles import EngineHandle

    engine = EngineHandle(serve.get_deployment_handle("Specialists", "headrace"), "specialists")

    def call(text: str, adapter: str | None = None) -> Call:
        return Call(f"group:{text}:0:0", SamplingParams(), (Message("user", text),), adapter=adapter)

    (adapter, *_) = (await engine.info()).adapters
    good, nobody = (call("hello"), call("hello too", adapter)), call("hello", "nobody")
    found: dict[str, Any] = {
        "mixed": await ask(engine, Group((*good, nobody, call("broken")))),
        "lock_step": await ask(engine, Group(good, lock_step=True, weights=(1.0, 2.0))),
    }
    try:
        await ask(engine, Group((*good, nobody), lock_step=True))
    except HeadraceError as error:
        found["refused"] = [type(error).__name__, str(error)]
    async with aclosing(engine.generate_group(Group((call("slow a"), call("slow b"))))) as deltas:
        await anext(deltas)
    return found


def main() -> None:
    os.environ |= every_node() | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    import ray

    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
    print(json.dumps(asyncio.run(groups())))
    ray.shutdown()


if __name__ == "__main__":
    main()
