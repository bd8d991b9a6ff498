"""The shipped specialists on the real base: they fit it, answer in their way, and their cards say what was measured."""

import json

import pytest

from serve_app import adapters
from serve_app.cli.main import app
from serve_app.labelling.texts import stated_verdict

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT on transformers 5

BASE = "smollm2-135m-instruct"
HEADLINES = {
    "code": [("nl2bash", "template"), ("nl2bash", "loss"), ("conala", "token_f1"), ("mbpp", "loss")],
    "legal": [("all", "verdict"), ("cuad_seen_tasks", "verdict"), ("clause_type", "loss")],
    "medical": [("medquad", "rouge_l"), ("medquad", "loss")],
}


@pytest.fixture(scope="module")
def ask(model_files):
    """`ask(name, prompt)`: the greedy answer of plain transformers and PEFT under the adapter's system prompt."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_files(BASE).path
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    names = adapters.shipped_names()
    adapted = PeftModel.from_pretrained(model, adapters.shipped(names[0]), adapter_name=names[0])
    for name in names[1:]:
        adapted.load_adapter(adapters.shipped(name), adapter_name=name)

    def answer(name, prompt):
        manifest = adapters.load(adapters.shipped(name)).manifest
        turns = [{"role": "system", "content": manifest.system_prompt}, {"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        adapted.set_adapter(name)
        outputs = adapted.generate(**inputs, max_new_tokens=manifest.max_tokens, do_sample=False)
        return tokenizer.decode(outputs[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    return answer


@pytest.mark.parametrize("name", list(HEADLINES))
def test_shipped_adapters_fit_the_base_by_digest_and_shapes(model_files, name):
    assert adapters.verify(adapters.load(adapters.shipped(name)), model_files(BASE)).verified


@pytest.mark.parametrize("name", list(HEADLINES))
def test_headline_figures_beat_the_base_outside_the_interval(name):
    metrics = json.loads((adapters.shipped(name) / "metrics.json").read_text())
    better = {(row["group"], row["metric"]): row["better"] for row in metrics["evaluation"]}
    assert all(better[headline] for headline in HEADLINES[name])


def test_the_code_adapter_answers_with_a_bare_command(ask):
    answer = ask("code", "find all files with extension .txt in the current directory")
    assert answer.startswith(("find ", "ls "))
    assert ".txt" in answer
    assert "\n" not in answer


def test_the_legal_adapter_answers_yes_or_no_on_a_clause_and_text_on_a_question(ask):
    clause = "This Agreement shall be governed by the laws of the State of New York."
    answer = ask("legal", f'Does the clause specify which state\'s law governs the contract? "{clause}"')
    assert stated_verdict(answer) == "yes"
    assert len(ask("legal", "What makes a contract valid?").split()) > 5


def test_the_medical_adapter_answers_in_a_few_sentences(ask):
    answer = ask("medical", "What are the symptoms of adult acute lymphoblastic leukaemia?")
    assert 5 < len(answer.split()) < 80
    assert answer.endswith(".")


def test_train_learns_from_a_handful_of_rows(model_files, tmp_path, capsys):
    model_files(BASE)
    rows = [{"prompt": f"Say the code word, number {number}.", "completion": "zanzibar"} for number in range(16)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "eval.jsonl").write_text(
        json.dumps({"prompt": "Say the code word, number 99.", "completion": "zanzibar"})
    )
    command = ["adapters", "train", "--data", str(tmp_path / "rows.jsonl"), "--eval", str(tmp_path / "eval.jsonl")]
    command += ["--out", str(tmp_path / "word"), "--rank", "4", "--epochs", "4", "--rows-per-step", "8", "--json"]
    app(command, standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    (loss,) = report["evaluation"]
    assert loss["after"] < loss["before"] / 2
    assert report["tokens_per_s"] > 0
    assert adapters.load(tmp_path / "word").manifest.base_digest == model_files(BASE).source_digest
