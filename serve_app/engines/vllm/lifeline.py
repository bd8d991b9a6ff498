"""vLLM's processes end with the replica.

A replica that stops ends them itself. One that was killed cannot, and vLLM's engine process does not look after its
parent: it would hold its memory for good. So vLLM's worker, which this class is mixed into (`worker_extension_cls`),
waits for the replica's end and then ends the engine process and itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading


class Lifeline:
    """Methods that vLLM's worker gets. Linux only, as vLLM is."""

    def follow(self, replica_pid: int) -> None:
        """Watch that process from a thread. It must be alive, as it is while it waits for this call."""
        replica = os.pidfd_open(replica_pid)
        engine_pid = os.getppid()  # the replica itself, where vLLM runs its worker in the engine process
        pids = [os.getpid()] if engine_pid == replica_pid else [engine_pid, os.getpid()]
        threading.Thread(target=_end_with, args=(replica, pids), name="lifeline", daemon=True).start()


def _end_with(replica: int, pids: list[int]) -> None:
    """Kill the processes, in this order, once the replica is gone."""
    select.select([replica], [], [])
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
