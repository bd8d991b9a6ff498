"""A program whose children keep a journal and are killed in the middle: `journal_writer.py ROOT ROUNDS SEED`.

Imports once, then forks a child per round. A child writes down queries as fast as it can and acknowledges each step on
a pipe; the parent reads so many acknowledgements, kills the child with SIGKILL, and reads what else was sent. Prints
one JSON list per round: the acknowledged steps, each `b ID` (begun and synced) or `e ID` (ended and synced).
"""

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

from serve_app.core import Answer, Opening
from serve_app.ledger.journal import Journal


async def write(root: Path, name: str, acknowledge: int) -> None:
    """Three queries at a time, for ever; every fourth settles what is pending, as if the ledger had it."""
    journal = Journal.open(root, name, segment_mb=1 / 128, window=8)

    async def query(query_id: str) -> None:
        journal.begin(Opening(query_id, 1.0, "auto"))
        await journal.synced()
        os.write(acknowledge, f"b {query_id}\n".encode())
        journal.end(Answer(query_id, 1.0, "auto", "accepted", (), reason="x" * random.randrange(900)))
        await journal.synced()
        os.write(acknowledge, f"e {query_id}\n".encode())

    for number in range(0, 1_000_000, 3):
        await asyncio.gather(*(query(f"{name}-{number + index}") for index in range(3)))
        if number % 4 == 0 and (batch := await journal.head(5)):
            os.write(acknowledge, "".join(f"s {account.query_id}\n" for account in batch).encode())
            journal.settle(len(batch))


def killed(root: Path, name: str, num_steps: int) -> list[str]:
    """What a child had acknowledged when it was killed after `num_steps` or a few more."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        asyncio.run(write(root, name, writer))
        os._exit(1)
    os.close(writer)
    received = b""
    while received.count(b"\n") < num_steps:
        received += os.read(reader, 64)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reader, 65536):
        received += more
    os.close(reader)
    return received.decode().splitlines()


if __name__ == "__main__":
    numbers = random.Random(int(sys.argv[3]))
    for number in range(int(sys.argv[2])):
        print(json.dumps(killed(Path(sys.argv[1]), f"gw{number}", numbers.randrange(1, 300))), flush=True)
