"""Our loggers end up where Serve's do."""

import logging

import pytest

from serve_app.deployments.logs import REPLICA_LOG, log_to_replica


@pytest.fixture
def lines():
    """What the replica's handlers get; the loggers are as before in the end."""
    ours = [logging.getLogger(name) for name in ("serve_app", "headrace")]
    before, found = [logger.parent for logger in ours], []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    REPLICA_LOG.addHandler(handler)
    yield found
    REPLICA_LOG.removeHandler(handler)
    for logger, parent in zip(ours, before, strict=True):
        logger.parent = parent


def test_a_module_s_warning_comes_with_its_level_and_name(lines):
    log_to_replica()
    logging.getLogger("serve_app.gateway.capture").warning("the texts of %s queries wait", 3)
    [record] = lines
    assert (record.levelname, record.name, record.getMessage()) == (
        "WARNING",
        "serve_app.gateway.capture",
        "the texts of 3 queries wait",
    )
