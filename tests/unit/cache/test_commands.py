"""`headrace cache fit|pairs` from the outside, on an encoder that counts letters."""

import json
import random

import pytest
from typer.testing import CliRunner

from serve_app.cache import ResponseCache
from serve_app.cache.policy import read
from serve_app.cli import cache as commands
from serve_app.config.cache import CacheSettings
from serve_app.core import DataError


@pytest.fixture(autouse=True)
def letters(monkeypatch, vectors):
    monkeypatch.setattr(commands, "_vectors", lambda name: vectors)


def run(*arguments):
    return CliRunner().invoke(commands.app, [str(one) for one in arguments], catch_exceptions=False)


def refused(*arguments):
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.fixture
def write_pairs(tmp_path):
    def write(num_pairs):
        """Anagrams, which the encoder takes for the same question, and they are; and unlike questions."""
        rng, rows = random.Random(0), []
        for index in range(num_pairs):
            word = [
                *rng.choices("abcdefghij", k=12),
                *(f"{index:03d}".translate(str.maketrans("0123456789", "klmnopqrst"))),
            ]
            other = rng.sample(word, len(word)) if index % 2 else rng.choices("uvwxyz", k=12)
            rows.append({"question": "".join(word), "stored": "".join(other), "same": index % 2 == 1})
        path = tmp_path / "pairs.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return path

    return write


def test_fit_writes_a_policy_that_the_cache_takes(write_pairs, tmp_path, vectors):
    path = tmp_path / "policies" / "semantic.json"
    printed = run("fit", "--pairs", write_pairs(400), "--out", path, "--alpha", "0.05").stdout
    policy = read(path)
    assert f"Similarity above {policy.threshold:.3f}" in printed
    assert (policy.encoder_digest, policy.num_labels, policy.design_labels) == ("letters", 267, 133)
    assert policy.num_hits > 100
    assert policy.risk_bound <= policy.alpha == 0.05
    settings = CacheSettings.model_validate({"enabled": True, "semantic": {"policy": str(path)}})
    assert ResponseCache(settings, vectors)


def test_the_same_pairs_give_the_same_policy(write_pairs, tmp_path):
    pairs = write_pairs(300)
    found = [json.loads(run("fit", "--pairs", pairs, "--out", tmp_path / "p", "--json").stdout) for _ in range(2)]
    assert len({json.dumps({**one, "created": None}) for one in found}) == 1


def test_too_few_pairs_are_refused_and_no_file_is_written(write_pairs, tmp_path):
    message = refused("fit", "--pairs", write_pairs(60), "--out", tmp_path / "p")
    assert "60 labelled pairs cannot show" in message
    assert "in all (rough)" in message
    assert not (tmp_path / "p").exists()


def test_pairs_are_what_the_cache_would_have_compared(tmp_path):
    asked = ["abc def", "zzz", "fed cba", "abc def", "in 1990", "in 1991", "word " * 50, " zzz "]
    log, out = tmp_path / "log.jsonl", tmp_path / "pairs.jsonl"
    log.write_text("\n".join(json.dumps({"question": text, "answer": f"answer {text}"}) for text in asked))
    assert "1 pairs to label" in run("pairs", "--questions", log, "--out", out).stdout
    [row] = [json.loads(line) for line in out.read_text().splitlines()]
    assert (row["question"], row["stored"], row["same"]) == ("fed cba", "abc def", None)
    assert (row["answer"], row["stored_answer"]) == ("answer fed cba", "answer abc def")
    assert row["similarity"] > 0.99
    assert "same" in refused("fit", "--pairs", out, "--out", tmp_path / "p")
    again = run("pairs", "--questions", log, "--out", out)
    assert (again.exit_code, len(out.read_text().splitlines())) == (2, 1), "`same` may be filled in"
    assert "holds no rows" in refused("pairs", "--questions", _empty(tmp_path), "--out", tmp_path / "new.jsonl")


def _empty(folder):
    path = folder / "empty.jsonl"
    path.write_text("")
    return path
