"""The packaged catalogue is whole, and a user's own file is merged over it or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_app import catalogue
from serve_app.core import CatalogueError

DIGESTS = {
    "smollm2-135m-instruct": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "qwen2.5-coder-0.5b-instruct": "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    "qwen2.5-coder-1.5b-instruct": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    "all-minilm-l6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}


def own(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(text)
    monkeypatch.setenv("HEADRACE_MODELS", str(path))


def test_packaged_catalogue_pins_four_models_by_their_artefact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_MODELS", raising=False)
    known = catalogue.entries()
    assert {alias: entry.artefact.sha256 for alias, entry in known.items() if entry.artefact} == DIGESTS
    assert {entry.licence for entry in known.values()} == {"Apache-2.0"}
    assert [len(entry.wheels) for entry in known.values()] == [1, 6, 22, 1]


def test_own_entry_is_merged_over_the_packaged_ones(world: Any) -> None:
    assert set(catalogue.entries()) == set(DIGESTS) | {"tiny"}


FIELDS = 'format = "safetensors"\nrole = "r"\nlicence = "MIT"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models.a", "cannot be read as TOML"),
        ("[model.a]", "expected tables"),
        ("[models.a]\n" + FIELDS + 'sauce = "x"', "model 'a': sauce"),
        ("[models.a]\n" + FIELDS, "model 'a': give either `source`, or `wheels`"),
        ("[models.a]\n" + FIELDS + 'source = "hf:org/name"', "must read hf:org/name@revision"),
        ("[models.a]\n" + FIELDS + 'source = "s3://bucket/name"', "object stores are not read yet"),
        ('[models."../a"]\n' + FIELDS + 'source = "/x"', "alias"),
        ("[models.a]\nalias = 'b'\n" + FIELDS + 'source = "/x"', "given by the table's name"),
    ],
)
def test_wrong_own_file_is_refused_naming_file_and_model(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own(tmp_path / "own.toml", text, monkeypatch)
    with pytest.raises(CatalogueError) as caught:
        catalogue.entries()
    assert says in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_file_that_is_absent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MODELS", str(tmp_path / "nowhere.toml"))
    with pytest.raises(CatalogueError, match=r"HEADRACE_MODELS names .*nowhere.toml"):
        catalogue.entries()
