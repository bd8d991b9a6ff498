"""A new version, new settings and a new `user_config` reach a graph under load, and no query fails."""

from pathlib import Path

import pytest

from bench.cluster.rolling import Plan, run

pytestmark = pytest.mark.cluster

TWO_EACH = {"Gateway": 2, "Specialists": 2, "Fallback": 2, "Ledger": 1}


async def test_no_query_fails_while_every_replica_is_replaced(tmp_path: Path) -> None:
    found = await run(Plan(rate=4, steady_s=4), tmp_path)
    version, settings, user_config = found["updates"]
    assert found["rolling_update_failed"] == 0, found
    assert version["replaced"] == settings["replaced"] == TWO_EACH
    assert user_config["replaced"] == dict.fromkeys(TWO_EACH, 0)
    assert all(update["queries"] > 0 for update in found["updates"])
