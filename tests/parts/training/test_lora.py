"""The loop on a tiny model: what is learnt, that it resumes exactly, and that what it writes can be served."""

import json
from dataclasses import replace

import pytest

from serve_app import adapters
from serve_app.core import DataError
from serve_app.training.dataset import read_dataset
from serve_app.training.options import TrainingError, TrainOptions

torch = pytest.importorskip("torch")

from serve_app.training import lora  # noqa: E402  (torch first)
from serve_app.training.base import load_trainee  # noqa: E402
from serve_app.training.evaluate import EvaluationOptions, evaluate  # noqa: E402
from serve_app.training.plan import encode  # noqa: E402
from serve_app.training.run import run  # noqa: E402

OPTIONS = TrainOptions(
    rank=4, alpha=8, learning_rate=0.02, epochs=40, rows_per_step=2, dtype="float32", device="cpu",
    checkpoint_every_steps=5,
)  # fmt: skip
COLOURS = {"sky": "blue", "grass": "green"}


class Silent:
    """A watch that remembers the steps."""

    def __init__(self, stop_after=None):
        self.steps = []
        self._stop_after = stop_after

    def stage(self, title, total):
        return lambda num_rows: None

    def step(self, report):
        self.steps.append(report)
        if len(self.steps) == self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def dataset(tmp_path):
    train = tmp_path / "train.jsonl"
    held_out = tmp_path / "eval.jsonl"
    rows = [{"prompt": f"what colour is the {thing}", "completion": colour} for thing, colour in COLOURS.items()]
    train.write_text("\n".join(json.dumps(row) for row in rows))
    asked = [
        {"prompt": f"please what colour is the {thing}", "completion": colour, "metrics": ["exact", "choice", "loss"],
         "choices": ["blue", "green"]}
        for thing, colour in COLOURS.items()
    ]  # fmt: skip
    held_out.write_text("\n".join(json.dumps(row) for row in asked))
    return read_dataset(train, held_out, "answer the question")


def test_training_learns_scores_and_writes_an_adapter_that_loads(tiny_base, dataset, tmp_path):
    out = tmp_path / "colours"
    scoring = EvaluationOptions(max_new_tokens=4)
    trained = run(tiny_base, dataset, out, OPTIONS, scoring, Silent(), labeller=lambda texts: ["colours", "other"])
    figures = {one.metric: one for one in trained.comparisons}
    assert figures["exact"].after == figures["choice"].after == 1.0
    assert figures["loss"].after < figures["loss"].before
    assert trained.result.last_loss < 0.1 < trained.result.first_loss
    assert trained.routed is not None
    assert trained.routed.share == 0.5
    assert {one.metric: one.after for one in trained.routed.comparisons}["exact"] == 0.5
    spec = adapters.verify(adapters.load(out), tiny_base)
    assert spec.verified
    assert spec.manifest.system_prompt == "answer the question"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["training"]["tokens"] == trained.result.num_tokens
    card = (out / "README.md").read_text()
    assert "| 2 | all | exact | 0.000 | 1.000 |" in card
    assert metrics["data"]["train_sha256"] in card


def test_a_broken_off_run_resumes_to_the_same_weights(tiny_base, dataset, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    scoring = EvaluationOptions(max_new_tokens=2)
    run(tiny_base, dataset, whole, OPTIONS, scoring, Silent())
    with pytest.raises(KeyboardInterrupt):
        run(tiny_base, dataset, broken, OPTIONS, scoring, Silent(stop_after=17))
    with pytest.raises(TrainingError, match="--resume"):
        run(tiny_base, dataset, broken, OPTIONS, scoring, Silent())
    watch = Silent()
    run(tiny_base, dataset, broken, OPTIONS, scoring, watch, resume=True)
    assert watch.steps[0].step == 16  # the last checkpoint was after step 15
    weights = "adapter_model.safetensors"
    assert (whole / weights).read_bytes() == (broken / weights).read_bytes()


def test_a_run_with_other_options_is_not_resumed(tiny_base, dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tiny_base, dataset, tmp_path / "a", OPTIONS, EvaluationOptions(), Silent(stop_after=6))
    other = TrainOptions(rank=2, learning_rate=0.02, dtype="float32", device="cpu")
    with pytest.raises(TrainingError, match="other options"):
        run(tiny_base, dataset, tmp_path / "a", other, EvaluationOptions(), Silent(), resume=True)


def test_a_damaged_checkpoint_is_said(tiny_base, dataset, tmp_path):
    work = tmp_path / "a.run"
    work.mkdir()
    (work / "checkpoint.safetensors").write_bytes(b"half")
    with pytest.raises(TrainingError, match="damaged"):
        run(tiny_base, dataset, tmp_path / "a", OPTIONS, EvaluationOptions(), Silent(), resume=True)


def test_an_existing_adapter_is_not_overwritten(tiny_base, dataset, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "keep").touch()
    with pytest.raises(TrainingError, match="is not empty"):
        run(tiny_base, dataset, tmp_path / "a", OPTIONS, EvaluationOptions(), Silent())


def test_prompts_that_do_not_fit_are_counted_and_completions_cut(tiny_base, dataset):
    trainee = load_trainee(tiny_base.path, OPTIONS)
    lengths = [len(one.token_ids) for one in encode(dataset.train, trainee.tokenizer, 100).examples]
    cut = encode(dataset.train, trainee.tokenizer, lengths[0] - 1)
    assert (cut.num_cut, cut.too_long) == (2, ())
    with pytest.raises(TrainingError, match="every prompt is longer than 5 tokens"):
        encode(dataset.train, trainee.tokenizer, 5)


def test_padding_does_not_change_a_rows_loss(tiny_base, dataset):
    trainee = load_trainee(tiny_base.path, OPTIONS)
    short, long = (
        encode(dataset.train[:1], trainee.tokenizer, 100),
        encode(dataset.evaluation[1:], trainee.tokenizer, 100),
    )
    alone = lora.target_nll(trainee, short.examples)
    together = lora.target_nll(trainee, [*short.examples, *long.examples])[: len(alone)]
    torch.testing.assert_close(alone, together)


def test_the_switched_off_adapter_answers_as_the_base(tiny_base, dataset, tmp_path):
    trainee = load_trainee(tiny_base.path, OPTIONS)
    fresh = evaluate(trainee, dataset.evaluation, EvaluationOptions(max_new_tokens=2), adapted=True)
    examples = encode(dataset.train, trainee.tokenizer, 100).examples
    lora.train(trainee, examples, OPTIONS, tmp_path, "digest")
    again = evaluate(trainee, dataset.evaluation, EvaluationOptions(max_new_tokens=2), adapted=False)
    assert again == fresh


def test_bfloat16_matrices_follow_float32_masters(tiny_base, dataset, tmp_path):
    options = TrainOptions(
        rank=4, alpha=8, learning_rate=0.02, epochs=40, rows_per_step=2, dtype="bfloat16", device="cpu"
    )
    trainee = load_trainee(tiny_base.path, options)
    examples = encode(dataset.train, trainee.tokenizer, 100).examples
    result = lora.train(trainee, examples, options, tmp_path, "digest")
    assert {parameter.dtype for parameter in trainee.trainable().values()} == {torch.bfloat16}
    assert result.last_loss < 0.2


def test_a_target_module_that_the_base_lacks_is_said(tiny_base):
    with pytest.raises(TrainingError, match="target modules qkv_proj"):
        load_trainee(tiny_base.path, TrainOptions(target_modules=("qkv_proj",), dtype="float32", device="cpu"))


def test_a_row_that_states_no_verdict_counts_with_its_likelier_choice(tiny_base, dataset, tmp_path):
    trainee = load_trainee(tiny_base.path, OPTIONS)
    lora.train(trainee, encode(dataset.train, trainee.tokenizer, 100).examples, OPTIONS, tmp_path, "digest")
    asked = [replace(row, metrics=("verdict",), choices=("yes", "no"), completion="yes") for row in dataset.evaluation]
    scores = evaluate(trainee, asked, EvaluationOptions(max_new_tokens=2), adapted=True)
    assert [score.answer.split()[-1] for score in scores] == ["blue]", "green]"]
    for score in scores:
        assert score.answer.startswith(("yes. [likelier choice", "no. [likelier choice"))
        assert score.value == float(score.answer.startswith("yes"))


def test_choices_that_begin_alike_are_refused(tiny_base, dataset):
    trainee = load_trainee(tiny_base.path, OPTIONS)
    alike = [type(row)(row.messages, "blue", choices=("blue", "blue now"), source="f:1") for row in dataset.evaluation]
    with pytest.raises(DataError, match="begin with different tokens"):
        evaluate(trainee, alike, EvaluationOptions(metric="choice"), adapted=True)


def test_training_goes_on_from_an_adapter_and_begins_where_that_had_come_to(tiny_base, dataset, tmp_path):
    first = run(tiny_base, dataset, tmp_path / "first", OPTIONS, EvaluationOptions(), Silent())
    begun = adapters.verify(adapters.load(tmp_path / "first"), tiny_base)
    second = run(tiny_base, dataset, tmp_path / "second", OPTIONS, EvaluationOptions(), Silent(), start=begun)
    assert second.result.first_loss < first.result.first_loss / 2
    assert adapters.load(tmp_path / "second").version != begun.version


def test_training_does_not_go_on_from_an_adapter_of_another_rank(tiny_base, dataset, tmp_path):
    run(tiny_base, dataset, tmp_path / "first", replace(OPTIONS, epochs=1), EvaluationOptions(), Silent())
    begun = adapters.load(tmp_path / "first")
    with pytest.raises(TrainingError, match="it has rank 4, alpha 8"):
        run(
            tiny_base,
            dataset,
            tmp_path / "second",
            replace(OPTIONS, rank=2),
            EvaluationOptions(),
            Silent(),
            start=begun,
        )
