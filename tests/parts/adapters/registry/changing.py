"""A process that changes a registry as fast as it can, until it is killed. Arguments: the database, a seed."""

import asyncio
import contextlib
import random
import sys
from functools import partial

from serve_app.adapters.registry import AdapterRegistry, AdapterVersion
from serve_app.core import RequestError
from serve_app.store import Store


async def main(url: str, seed: int) -> None:
    draw = random.Random(seed)
    store = Store(url)
    await store.open()
    registry = AdapterRegistry(store)
    print("ready", flush=True)
    while True:
        name, digest = draw.choice(["a", "b"]), draw.choice("0123") * 64
        version = AdapterVersion(name, digest[:12], digest, "staged", "upload", 8, 10, True, 1.0, "ada")
        changes = (
            partial(registry.add, version),
            partial(registry.canary, name, digest[:12], draw.random(), "ada"),
            partial(registry.promote, name, None, "ada"),
            partial(registry.promote, name, digest[:12], "ada"),
            partial(registry.rollback, name, "ada"),
            partial(registry.remove, name, "ada"),
        )
        with contextlib.suppress(RequestError):
            await draw.choice(changes)()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
