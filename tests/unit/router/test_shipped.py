"""The shipped router, without the encoder: whole, small, and what its card says."""

import hashlib
from pathlib import Path

from serve_app.router import shipped
from serve_app.router.artifact import read


def test_the_shipped_router_is_whole_and_small() -> None:
    artifact = read(shipped())
    assert artifact.classifier.labels == ("code", "general", "legal", "medical")
    assert 0 < artifact.floor < 1
    assert sum(path.stat().st_size for path in shipped().iterdir()) < 12_000_000


def test_it_was_trained_on_the_texts_in_the_package(repo: Path) -> None:
    digests = {data["file"]: data["sha256"] for data in read(shipped()).card["data"]}
    for name in ("router_lay.jsonl", "router_glossary.jsonl", "router_exam.jsonl"):
        data = (repo / "serve_app" / "training" / "data" / name).read_bytes()
        assert digests[name] == hashlib.sha256(data).hexdigest(), f"{name} changed: train the shipped router again"


def test_it_was_trained_on_the_public_training_file(data_dir: Path) -> None:
    digests = {data["file"]: data["sha256"] for data in read(shipped()).card["data"]}
    train = (data_dir / "routing" / "train.jsonl").read_bytes()
    assert digests["train.jsonl"] == hashlib.sha256(train).hexdigest()
