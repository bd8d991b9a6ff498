"""A fetch into the cache of a node that is killed in the middle."""

import subprocess
import sys
from pathlib import Path

from serve_app.adapters import content_digest
from serve_app.adapters.registry.cache import AdapterCache

KILLED = """
import os, signal, sys
from pathlib import Path
from serve_app.adapters.registry.cache import AdapterCache

def fill(part):
    (part / "adapter_config.json").write_text("a")
    os.kill(os.getpid(), signal.SIGKILL)

AdapterCache(Path(sys.argv[1]), 1000).get(sys.argv[2], fill)
"""


def test_a_fetch_that_is_killed_leaves_the_place_free(tmp_path, repo):
    def fill(part: Path) -> None:
        (part / "adapter_config.json").write_text("a")

    folder, cache = tmp_path / "source", tmp_path / "cache"
    folder.mkdir()
    fill(folder)
    digest = content_digest(folder)
    done = subprocess.run([sys.executable, "-c", KILLED, str(cache), digest], cwd=repo, check=False)
    assert done.returncode == -9
    assert not [path for path in cache.iterdir() if not path.name.startswith(".")]
    home = AdapterCache(cache, 1000).get(digest, fill)
    assert content_digest(home) == digest
