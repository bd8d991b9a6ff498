"""A writer that is killed at work: whole batches, and no row twice."""

import asyncio
import pickle
import sys
from dataclasses import replace

from serve_app.ledger import SqlLedger


async def test_a_writer_killed_at_work_leaves_whole_batches_and_no_row_twice(tmp_path, full):
    file, batch_size = str(tmp_path / "killed.sqlite3"), 50
    batches = [[replace(full, query_id=f"q{n}-{i}") for i in range(batch_size)] for n in range(60)]
    (tmp_path / "batches").write_bytes(pickle.dumps(batches))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, file, str(tmp_path / "batches"), stdout=asyncio.subprocess.PIPE
    )
    confirmed = [int(await process.stdout.readline()) for _ in range(3)]
    process.kill()
    confirmed += [int(line) for line in (await process.stdout.read()).splitlines()]
    await process.wait()
    ledger = SqlLedger(file)
    await ledger.open()
    num_found = (await ledger.stats(None, None, ()))["totals"]["queries"]
    assert num_found % batch_size == 0
    assert num_found >= batch_size * len(confirmed)  # what was confirmed is there
    for batch in batches:
        await ledger.record(batch)
    totals = (await ledger.stats(None, None, ()))["totals"]
    assert (totals["queries"], totals["attempts"]) == (3000, 6000)
    await ledger.close()


WRITER = """
import asyncio, pathlib, pickle, sys
from serve_app.ledger import SqlLedger

async def main():
    ledger = SqlLedger(sys.argv[1])
    await ledger.open()
    for number, batch in enumerate(pickle.loads(pathlib.Path(sys.argv[2]).read_bytes())):
        await ledger.record(batch)
        print(number, flush=True)

asyncio.run(main())
"""
