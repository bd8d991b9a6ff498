"""The loader's thread, with events in place of files."""

import os
import queue
import sys
import threading

import pytest

from serve_app.core import AdapterError
from serve_app.engine.loader import AdapterLoader

WAIT_S = 30
"""Ends a test that would hang; no test waits that long."""


class Desk:
    """Takes answers and lets a test wait for them; raises for the versions in `refused`."""

    def __init__(self):
        self.answers = queue.SimpleQueue()
        self.refused = set()

    def loaded(self, slot, version):
        self._answer(version, ("loaded", slot, version))

    def failed(self, slot, version, error):
        self._answer(version, ("failed", slot, version, error))

    def _answer(self, version, answer):
        self.answers.put((*answer, threading.current_thread().name))
        if version in self.refused:
            raise RuntimeError("the receiver is broken")

    def next(self):
        return self.answers.get(timeout=WAIT_S)


@pytest.fixture
def start():
    """Start a loader on a callable; (loader, desk). All are closed at the end."""
    loaders = []

    def start(load):
        desk = Desk()
        loaders.append(AdapterLoader(load, desk.loaded, desk.failed))
        return loaders[-1], desk

    yield start
    for loader in loaders:
        loader.close(WAIT_S)


def test_loads_run_in_order_on_a_thread_of_their_own(start):
    written = {}
    loader, desk = start(written.__setitem__)
    for slot, version in ((1, "legal"), (0, "medical")):
        loader.request(slot, version)
    assert [desk.next()[:3], desk.next()[:3]] == [("loaded", 1, "legal"), ("loaded", 0, "medical")]
    assert written == {1: "legal", 0: "medical"}
    loader.request(1, "code")
    assert desk.next() == ("loaded", 1, "code", "headrace-adapters")


def test_request_returns_while_a_load_is_in_progress(start):
    go = threading.Event()
    loader, desk = start(lambda slot, version: go.wait(WAIT_S))
    loader.request(0, "legal")
    loader.request(1, "medical")
    assert desk.answers.empty()
    go.set()
    assert [desk.next()[2], desk.next()[2]] == ["legal", "medical"]


def test_error_reaches_those_who_wait_and_the_next_load_goes_on(start):
    def load(slot, version):
        if version == "damaged":
            raise AdapterError("adapter damaged: the file ends too soon")
        if version == "gone":
            raise FileNotFoundError("adapter_model.safetensors")

    loader, desk = start(load)
    for version in ("damaged", "gone", "legal"):
        loader.request(0, version)
    damaged, gone, legal = desk.next(), desk.next(), desk.next()
    assert damaged[:3] == ("failed", 0, "damaged") and str(damaged[3]) == "adapter damaged: the file ends too soon"
    assert gone[:3] == ("failed", 0, "gone") and isinstance(gone[3], AdapterError)
    assert "adapter gone cannot be loaded: FileNotFoundError" in str(gone[3])
    assert legal[:3] == ("loaded", 0, "legal")


def test_receiver_that_raises_does_not_end_the_thread(start):
    loader, desk = start(lambda slot, version: None)
    desk.refused.add("legal")
    loader.request(0, "legal")
    loader.request(1, "medical")
    assert [desk.next()[:3], desk.next()[:3]] == [("loaded", 0, "legal"), ("loaded", 1, "medical")]


def test_close_ends_the_load_in_progress_and_drops_the_rest(start):
    started, go = threading.Event(), threading.Event()
    loads = []

    def load(slot, version):
        loads.append(version)
        started.set()
        go.wait(WAIT_S)

    loader, desk = start(load)
    loader.request(0, "legal")
    loader.request(1, "medical")
    assert started.wait(WAIT_S)
    closer = threading.Thread(target=loader.close)
    closer.start()
    assert loader._closed.wait(WAIT_S)
    go.set()
    closer.join(WAIT_S)
    assert not loader._thread.is_alive()
    assert desk.next()[:3] == ("loaded", 0, "legal")
    loader.request(1, "code")
    loader.close()
    assert loads == ["legal"] and desk.answers.empty()


def test_close_leaves_a_load_that_does_not_end(start, caplog):
    go = threading.Event()
    loader, _ = start(lambda slot, version: go.wait(WAIT_S))
    loader.request(0, "legal")
    loader.close(timeout_s=0)
    assert "still loading" in caplog.text or not loader._thread.is_alive()
    go.set()


@pytest.mark.skipif(sys.platform != "linux", reason="threads share their process's niceness")
def test_the_thread_gives_way_to_others(start):
    seen = []

    def load(slot, version):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    loader, desk = start(load)
    loader.request(0, "legal")
    desk.next()
    assert seen[0] > before or before == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
