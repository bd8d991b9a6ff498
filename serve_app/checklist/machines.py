"""The machines that replicas may lie on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What one gives away."""

    num_cpus: float
    num_gpus: float


def this_machine() -> Machine:
    """CPU cores that this process may use, and NVIDIA devices."""
    devices = [device for device in Path("/dev").glob("nvidia[0-9]*") if device.name[6:].isdigit()]
    return Machine(float(len(os.sched_getaffinity(0))), float(len(devices)))
