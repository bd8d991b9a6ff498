"""The figures on the pages of Ray's agents, one a node."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

Sums = dict[tuple[str, ...], float]


def pages_of(ray_address: str) -> list[str]:
    """Addresses of the pages."""
    command = [sys.executable, str(Path(__file__).parent / "ray_pages.py"), ray_address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def summed(pages: list[str], name: str, *labels: str) -> Sums:
    """A metric over all nodes' pages, summed over the labels that are not named."""
    sums: Sums = Counter()
    for page in pages:
        for family in text_string_to_metric_families(httpx.get(page, timeout=30).text):
            for sample in family.samples:
                if sample.name == name:
                    sums[tuple(sample.labels[label] for label in labels)] += sample.value
    return dict(sums)
