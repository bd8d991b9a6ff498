"""What the launcher tells people (lines) or programs (one JSON object per line)."""

import json
import sys
import time

_EXAMPLE = """\
  curl {url}/v1/chat/completions {key}-H 'content-type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "How do I list files by size?"}}]}}'"""


class Reporter:
    """Prints events as they happen; thread-safe as far as `print` is."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._out = sys.stdout  # the real one: Ray's chatter is redirected while it stops
        self._started_s = time.monotonic()

    def starting(self, graph: str, folder: str) -> None:
        """Ray is about to start; its logs go to `folder`."""
        self._say("starting", f"starting graph {graph} (logs: {folder})", graph=graph, logs=folder)

    def deployment_ready(self, name: str) -> None:
        """All replicas of a deployment run."""
        self._say("deployment", f"  {name} is ready ({self._elapsed_s():.0f} s)", name=name)

    def ready(self, url: str, ray_address: str, needs_key: bool = False) -> None:
        """Every route answers. `ray_address` is for tools such as `serve status`."""
        example = _EXAMPLE.format(url=url, key="-H 'authorization: Bearer KEY' " if needs_key else "")
        self._say(
            "ready",
            f"ready at {url} after {self._elapsed_s():.0f} s; Ctrl-C ends it. Try:\n{example}",
            url=url,
            ray_address=ray_address,
        )

    def stopping(self) -> None:
        """Told to end."""
        self._started_s = time.monotonic()
        self._say("stopping", "\nstopping: queries in flight end, accounts are saved")

    def cut_off(self, why: str) -> None:
        """The grace is over, or the gateway cannot be asked."""
        self._say("cut_off", f"not all queries ended in time ({why}); they are cut off", why=why)

    def stopped(self) -> None:
        """Nothing is left running."""
        self._say("stopped", f"stopped after {self._elapsed_s():.1f} s", seconds=round(self._elapsed_s(), 1))

    def failed(self, sentence: str) -> None:
        """It did not start."""
        if self._as_json:
            self._say("failed", "", error=sentence)
        print(f"headrace: {sentence}", file=sys.stderr, flush=True)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def _say(self, event: str, line: str, **values: object) -> None:
        print(json.dumps({"event": event, **values}) if self._as_json else line, file=self._out, flush=True)
