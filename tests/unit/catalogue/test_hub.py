"""The hub is asked for weights and configuration only, and its refusals become one sentence."""

from __future__ import annotations

from pathlib import Path

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from serve_app.catalogue.hub import hub_snapshot
from serve_app.core import CatalogueError

RESPONSE = httpx.Response(503, request=httpx.Request("GET", "http://127.0.0.1/"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (GatedRepoError("x", response=RESPONSE), "org/name@r1 is gated"),
        (RepositoryNotFoundError("x", response=RESPONSE), "The hub has no org/name"),
        (RevisionNotFoundError("x", response=RESPONSE), "org/name has no revision r1"),
        (LocalEntryNotFoundError("x"), "cannot be reached"),
        (httpx.ConnectError("x"), "cannot be reached"),
        (HfHubHTTPError("x", response=RESPONSE), "status 503"),
    ],
)
def test_each_refusal_of_the_hub_is_one_sentence(
    error: Exception, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(CatalogueError, match=says):
        hub_snapshot("org/name", "r1", tmp_path)


def test_no_code_and_no_pickle_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repository, **options: asked.update(options))
    (tmp_path / ".cache").mkdir()
    hub_snapshot("org/name", "r1", tmp_path)
    patterns = asked.pop("allow_patterns")
    assert asked == {"revision": "r1", "local_dir": tmp_path}
    assert isinstance(patterns, list)
    assert not [pattern for pattern in patterns if pattern.endswith((".py", ".bin", ".pt", ".pkl", "*"))]
    assert list(tmp_path.iterdir()) == []
