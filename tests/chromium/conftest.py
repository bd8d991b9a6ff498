"""A browser for the tests of a module, a page for each, and gateways to look at.

Playwright keeps an event loop running in this thread as long as the browser lives, and then no asynchronous test can
run: so the browser ends with its module, not with the session.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # under importlib import mode helper modules are found this way

from browser import EXECUTABLE, chromium, complaints_of
from playwright.sync_api import Browser, Page, expect
from showcase import Running, Showcase

_PATIENCE_MS = 30_000
"""The page asks every five seconds, and the machine may be busy with other tests."""
expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if EXECUTABLE is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a fresh profile, 1440 wide; a complaint of a script or of the console fails the test."""
    with browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light") as context:
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        complaints = complaints_of(page)
        yield page
        assert [one for one in complaints if "Failed to load resource" not in one] == []


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Serves a showcase with these fields until the module's tests are over."""
    running: list[Running] = []

    def start(**fields: Any) -> Running:
        running.append(Running(Showcase(tmp_path_factory.mktemp("showcase"), **fields)))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="module")
def busy(serve: Callable[..., Running]) -> Running:
    """A gateway after a busy day; nobody changes it."""
    return serve(num_queries=1200)
