"""The shipped router on the real encoder."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve_app.cli.router import app
from serve_app.core import ConfigError, Message
from serve_app.encoder import Encoder
from serve_app.encoder.encoder import FP32_FILE
from serve_app.router import DomainRouter, evaluate, read_rows, shipped

ModelDir = Callable[[str], Path]

DEPOSIT = "My landlord has kept my deposit, can I take him to court?"


@pytest.fixture(scope="module")
def encoder_dir(model_dir: ModelDir) -> Path:
    return model_dir("all-minilm-l6-v2")


@pytest.fixture(scope="module")
def router(encoder_dir: Path) -> DomainRouter:
    return DomainRouter.load(shipped(), Encoder(encoder_dir))


def user(*turns: str) -> tuple[Message, ...]:
    return tuple(Message("user", turn) for turn in turns)


@pytest.mark.parametrize(
    ("turns", "label"),
    [
        ((DEPOSIT,), "legal"),
        (("Is a fever of 39 dangerous for a baby?",), "medical"),
        (("Why does my Python loop never stop?",), "code"),
        (("What can I bake with ripe bananas?",), "general"),
        ((DEPOSIT, "yes please"), "legal"),
        ((DEPOSIT, "and what if he refuses to pay?"), "legal"),
        (("hello", "Is a fever of 39 dangerous for a baby?", "make it shorter"), "medical"),
        ((DEPOSIT, "What can I bake with ripe bananas?"), "general"),
        ((DEPOSIT, "Why does my Python loop never stop?", "show me an example"), "code"),
    ],
)
async def test_conversations_go_where_they_belong(router: DomainRouter, turns: tuple[str, ...], label: str) -> None:
    assert (await router.score(user(*turns))).label == label


def test_everyday_queries_are_mostly_right(router: DomainRouter, repo: Path) -> None:
    figures = evaluate(router, read_rows(repo / "tests" / "data" / "router_lay_test.jsonl"))
    assert figures["accuracy"] > 0.9


@pytest.mark.parametrize(("name", "least"), [("test", 0.93), ("test_ood", 0.78)])
def test_a_sample_of_the_public_sets_is_mostly_right(
    router: DomainRouter, data_dir: Path, name: str, least: float
) -> None:
    rows = random.Random(0).sample(read_rows(data_dir / "routing" / f"{name}.jsonl"), 250)
    assert evaluate(router, rows)["accuracy"] > least  # the figures proper are bench/router.py's


def test_another_file_of_the_encoder_is_refused(encoder_dir: Path) -> None:
    with pytest.raises(ConfigError, match="trained on encoder"):
        DomainRouter.load(shipped(), Encoder(encoder_dir, file=FP32_FILE))


def test_train_and_evaluate_by_command(encoder_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"text": f"{verb} an invoice for {month}", "label": "finance"} for verb in ("pay", "send") for month in MONTHS
    ]
    rows += [{"text": f"{verb} a match in {month}", "label": "sport"} for verb in ("win", "lose") for month in MONTHS]
    data, out = tmp_path / "rows.jsonl", tmp_path / "router"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = CliRunner().invoke
    encoder = ["--encoder", str(encoder_dir)]
    trained = run(app, ["train", "--data", str(data), "--out", str(out), *encoder, "--json"])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["labels"] == ["finance", "sport"]
    measured = run(app, ["evaluate", "--data", str(data), "--router", str(out), *encoder, "--json"])
    assert measured.exit_code == 0, measured.output
    figures = json.loads(measured.stdout)
    assert figures["accuracy"] == 1
    assert figures["per_label"]["sport"].keys() == {"precision", "recall", "f1", "support"}
    assert figures["p50_ms"] > 0


MONTHS = ("January", "March", "May", "July")
