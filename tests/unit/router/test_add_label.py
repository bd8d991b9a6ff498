"""A label more: learnt from a few rows, without the old texts, and nothing else changes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_app.core import ConfigError, DataError
from serve_app.router import DomainRouter, Row
from serve_app.router.artifact import Artifact, read, write
from serve_app.training.router import Trained, add_label, train

MONEY = [Row(f"{word} {other}", "finance") for word in ("invoice", "tax", "ledger") for other in ("pay", "owe")]


def silent(stage: str, done: int, total: int) -> None:
    """No progress bar."""


def test_a_new_label_is_told_and_the_old_ones_stay(trained: Trained, encoder: Any) -> None:
    found = add_label(trained.artifact, "finance", MONEY, encoder, silent)
    router = DomainRouter(found.artifact, encoder)
    assert router.labels == ("code", "general", "legal", "medical", "finance")
    assert router.score_texts(["invoice owe"])[0].label == "finance"
    assert router.score_texts(["landlord court"])[0].label == "legal"
    assert found.after["finance"] == {"finance": 6}
    assert found.new_right_95[0] > 0.5
    assert (found.artifact.floor, found.artifact.classifier.temperature) == (
        trained.artifact.floor,
        trained.artifact.classifier.temperature,
    )
    assert found.artifact.card["added"] == [{"label": "finance", "rows": 6, "released": 0}]


def test_only_the_new_texts_are_encoded(trained: Trained, encoder: Any) -> None:
    add_label(trained.artifact, "finance", MONEY, encoder, silent)
    assert encoder.encoded == [row.text for row in MONEY]


def test_what_the_new_label_takes_from_others_is_shown(trained: Trained, encoder: Any) -> None:
    tenancy = [Row(text, "tenancy") for text in ("court landlord", "landlord contract", "tenancy will", "will statute")]
    found = add_label(trained.artifact, "tenancy", tenancy, encoder, silent)
    assert sum(found.before["legal"].values()) == sum(found.after["legal"].values()) == 10
    assert "tenancy" not in found.before["legal"]
    assert found.after["legal"]["tenancy"] >= 1


@pytest.mark.parametrize("classifier", ["mixture", "kernel"])
def test_it_is_the_router_that_all_rows_together_train(
    classifier: str, tmp_path: Path, make_rows: Callable[[Path, Sequence[dict[str, Any]]], Path], encoder: Any
) -> None:
    rows = [{"text": text, "label": "a"} for text in ("court sue", "sue landlord", "judge court")]
    rows += [{"text": text, "label": "b"} for text in ("fever rash", "rash doctor", "doctor fever")]
    old = train([make_rows(tmp_path / "old.jsonl", rows)], encoder, classifier).artifact
    more = [Row(text, "c") for text in ("cake poem", "poem river", "river cake")]  # as many as the others have
    longer = add_label(old, "c", more, encoder, silent).artifact
    rows += [{"text": row.text, "label": "c"} for row in more]
    whole = train([make_rows(tmp_path / "all.jsonl", rows)], encoder, classifier).artifact
    vector = encoder.encode(["sue river doctor"])[0]
    found = [one.classifier.model.probabilities("", vector) for one in (longer, whole)]
    assert found[0] == pytest.approx(found[1], abs=5e-3)  # the rarity of old words stays as it was


def test_examples_of_the_fallback_that_lie_among_the_new_ones_are_released(trained: Trained, encoder: Any) -> None:
    pets = [Row(text, "pets") for text in ("cat dog", "cat river", "river cat", "dog cat")]
    found = add_label(trained.artifact, "pets", pets, encoder, silent)
    assert found.num_released > 0
    assert found.artifact.card["added"][0]["released"] == found.num_released
    assert len(found.artifact.classifier.model.bank.labels) == 40 + 4 - found.num_released  # type: ignore[attr-defined]
    assert sum(found.after["general"].values()) == 10  # the released ones are still judged
    assert found.after["general"]["pets"] >= 1
    router = DomainRouter(found.artifact, encoder)
    assert router.score_texts(["cat dog", "holiday football"])[0].label == "pets"
    assert router.score_texts(["holiday football"])[0].label == "general"


def test_few_new_rows_weigh_more_than_old_ones(trained: Trained, encoder: Any) -> None:
    bank = add_label(trained.artifact, "finance", MONEY[:2], encoder, silent).artifact.classifier.model.bank  # type: ignore[attr-defined]
    assert bank.weights[-2:] == pytest.approx([np.sqrt(10 / 2)] * 2)
    assert bank.weights[:40] == pytest.approx(np.ones(40))


def test_it_works_from_disk_and_twice(folder: Path, tmp_path: Path, encoder: Any) -> None:
    for name, rows in (("finance", MONEY), ("sport", [Row("goal match", "sport"), Row("match referee", "sport")])):
        write(add_label(read(folder), name, rows, encoder, silent).artifact, tmp_path / name)
        folder = tmp_path / name
    assert DomainRouter.load(folder, encoder).score_texts(["goal referee", "tax pay"])[0].label == "sport"


def test_a_few_shot_router_reads_the_new_label_as_a_text_too(
    tmp_path: Path, make_rows: Callable[[Path, Sequence[dict[str, Any]]], Path], encoder: Any
) -> None:
    rows = [{"text": text, "label": label} for label in ("court", "fever") for text in (f"{label} a", f"{label} b")]
    old = train([make_rows(tmp_path / "rows.jsonl", rows)], encoder).artifact
    found = add_label(old, "lost_card", [Row("gone", "x"), Row("stolen", "x")], encoder, silent)
    assert encoder.encoded[-1] == "lost card"
    assert sum(found.after["lost_card"].values()) == 2  # the name is not judged


def test_mistakes_are_named(trained: Trained, encoder: Any, other_encoder: Any, rows_file: Path) -> None:
    with pytest.raises(ConfigError, match="'legal' is known"):
        add_label(trained.artifact, "legal", MONEY, encoder, silent)
    with pytest.raises(DataError, match="'finance' has 1 row: give at least 2"):
        add_label(trained.artifact, "finance", MONEY[:1], encoder, silent)
    with pytest.raises(ConfigError, match="another encoder"):
        add_label(trained.artifact, "finance", MONEY, other_encoder, silent)
    linear: Artifact = train([rows_file], encoder, "linear").artifact
    with pytest.raises(ConfigError, match=r"\(linear\) keeps no examples.*neighbours, kernel, few-shot, mixture"):
        add_label(linear, "finance", MONEY, encoder, silent)


def test_neighbours_alone_need_no_kernel_machine(rows_file: Path, encoder: Any) -> None:
    old = train([rows_file], encoder, "neighbours").artifact
    found = add_label(old, "finance", MONEY, encoder, silent).artifact.classifier.model
    assert found.probabilities("", encoder.encode(["tax pay"])[0]).argmax() == 4
    assert not np.isnan(found.bank.duals).any()  # type: ignore[attr-defined]
