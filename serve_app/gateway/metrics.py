"""What a replica counts, and its page. Behind a protocol, because a cluster exports the same figures through Ray."""

from typing import Protocol

from serve_app.core import Answer
from serve_app.gateway.guarantee import guarantee_readings
from serve_app.patterns import CascadeControl
from serve_app.patterns.shadow import ShadowKind
from serve_app.telemetry.counting import Counting, Sampler
from serve_app.telemetry.instruments import Bounded, FanOut, Instruments, Source
from serve_app.telemetry.prometheus import PrometheusInstruments


class Metrics(Protocol):
    """Called from the event loop; no method blocks."""

    def started(self) -> None:
        """A query was admitted."""
        ...

    def finished(self, answer: Answer) -> None:
        """A query ended, however it ended; `answer` is its priced account."""
        ...

    def retried(self, node: str) -> None:
        """A call of this node was made again, because its replica was lost."""
        ...

    def degraded(self, cause: str) -> None:
        """A query was answered, but in another way than configured; `cause` is one of `patterns.trace.Cause`."""
        ...

    def misversioned(self, num_attempts: int) -> None:
        """So many attempts of a query were answered by another version of the adapter than was asked for."""
        ...

    def refused(self, status: int) -> None:
        """A request got an error answer with this HTTP status."""
        ...

    def shadowed(self, kind: ShadowKind, account: Answer, verdict: str) -> None:
        """A shadow of a query ended; `account` is its priced account, `verdict` one of a few words."""
        ...

    def lost(self, num_queries: int) -> None:
        """The journal of a dead gateway was adopted; this many of its queries never ended."""
        ...

    def watch(self, source: Source) -> None:
        """Export what it reads, from now on."""
        ...

    def sample(self) -> None:
        """Read what is watched. `exposition` does so by itself; exports that nobody asks for need it now and then."""
        ...

    def exposition(self) -> tuple[bytes, str]:
        """The page of /metrics and its media type."""
        ...


class PrometheusMetrics(Counting):
    """The figures of this replica alone, as a page; the same ones go wherever else they are wanted."""

    def __init__(self, control: CascadeControl | None = None, *more: Instruments) -> None:
        """`control`: whose guarantee is reported. `more`: where the figures go besides the page."""
        self._page = PrometheusInstruments()
        bounded = Bounded(FanOut(self._page, *more))
        super().__init__(bounded)
        self._sampler = Sampler(bounded)
        self.watch(self.levels)
        if control is not None:
            self.watch(lambda: guarantee_readings(control))

    def watch(self, source: Source) -> None:
        """See `Metrics`."""
        self._sampler.watch(source)

    def sample(self) -> None:
        """See `Metrics`."""
        self._sampler.sample()

    def exposition(self) -> tuple[bytes, str]:
        """Prometheus text format."""
        self.sample()
        return self._page.page()
