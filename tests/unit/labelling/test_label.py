import gzip
import json

import pytest

from serve_app.core import DataError, EngineError, HeadraceError
from serve_app.labelling.label import Label, Progress, label_rows
from serve_app.labelling.log import read_log
from serve_app.labelling.scorers import scorer

HEAD = {"log_sha256": "abc", "scorer": "numeric", "options": {}}


def write_log(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(number, **fields):
    return {"id": f"q{number}", "question": "?", "small_answer": str(number), "reference": 1, **fields}


@pytest.fixture
def progress(tmp_path):
    return Progress(tmp_path / "labels.part", HEAD)


async def test_both_answers_are_scored_and_a_missing_large_answer_has_no_score(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1, large_answer="2"), row(2))
    labels = await label_rows(read_log(log), log, scorer("numeric"), progress, 2)
    assert labels == {"q1": Label(1.0, 0.0), "q2": Label(0.0, None)}
    assert progress.read() == labels


async def test_where_the_large_answer_is_what_is_right_it_is_right(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1, large_answer="one", reference=None))
    labels = await label_rows(read_log(log), log, scorer("agreement"), progress, 1)
    assert labels == {"q1": Label(0.0, 1.0)}


class Counting:
    """Fails on the answers in `broken`."""

    name = "numeric"

    def __init__(self, *broken, score=1.0):
        self.broken, self.score_given, self.seen = broken, score, []

    async def score(self, item):
        self.seen.append(item.answer)
        if item.answer in self.broken:
            raise EngineError("the judge is away")
        return self.score_given


async def test_a_run_that_broke_off_goes_on_where_it_stopped(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1), row(2), row(3))
    with pytest.raises(EngineError):
        await label_rows(read_log(log), log, Counting("3"), progress, 1)
    with progress.path.open("a") as out:
        out.write('{"id": "q3", "small_')  # the machine lost power in the middle of a line
    again, done = Counting(), []
    labels = await label_rows(read_log(log), log, again, progress, 1, done.append)
    assert again.seen == ["3"]
    assert sum(done) == len(labels) == 3


class Counted(list):
    """Counts how often it is gone through."""

    num_times = 0

    def __iter__(self):
        self.num_times += 1
        return super().__iter__()


async def test_going_on_takes_no_longer_a_label_the_more_rows_there_are(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", *(row(number) for number in range(40)))
    rows = Counted(read_log(log))
    for _ in range(2):
        await label_rows(rows, log, Counting(), progress, 4)
    assert rows.num_times < 8


async def test_labels_of_another_log_or_scorer_are_not_mixed_in(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1))
    await label_rows(read_log(log), log, scorer("numeric"), progress, 1)
    other = Progress(progress.path, {**HEAD, "scorer": "exact"})
    with pytest.raises(DataError, match="another log, scorer or option"):
        await label_rows(read_log(log), log, scorer("exact"), other, 1)


async def test_the_file_of_labels_holds_no_text(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1, question="My landlord is a secret agent."))
    await label_rows(read_log(log), log, scorer("numeric"), progress, 1)
    assert "landlord" not in progress.path.read_text()


async def test_what_an_item_lacks_is_named_with_its_line(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1), row(2, reference=None))
    with pytest.raises(DataError, match=r"log\.jsonl:2: `reference` is missing"):
        await label_rows(read_log(log), log, scorer("numeric"), progress, 1)


async def test_a_score_out_of_range_is_the_scorers_fault(tmp_path, progress):
    log = write_log(tmp_path / "log.jsonl", row(1))
    with pytest.raises(HeadraceError, match=r"gave 7\.0"):
        await label_rows(read_log(log), log, Counting(score=7.0), progress, 1)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", r"log\.jsonl:2: not valid JSON"),
        ("[1]", r"log\.jsonl:2: the line is no JSON object"),
        ('{"id": "q1", "small_answer": "x"}', r"log\.jsonl:2: id: 'q1' is that of line 1"),
        ('{"id": "q2"}', r"log\.jsonl:2: small_answer: Field required"),
        ('{"id": "q2", "small_answer": 5}', r"log\.jsonl:2: small_answer: Input should be a valid string"),
        ('{"id": "q2", "small_answer": "x", "tests": "assert f()"}', r"log\.jsonl:2: tests"),
        ('{"id": "q2", "small_answer": "x", "reference": {}}', r"log\.jsonl:2: reference"),
        ('{"id": "", "small_answer": "x"}', r"log\.jsonl:2: id"),
        (b"\xff", r"log\.jsonl:2: not UTF-8"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path, line, fault):
    path = tmp_path / "log.jsonl"
    first = b'{"id": "q1", "small_answer": "x"}\n'
    path.write_bytes(first + (line if isinstance(line, bytes) else line.encode()))
    with pytest.raises(DataError, match=fault):
        read_log(path)


def test_a_log_may_be_gzipped_and_references_may_be_numbers_truths_or_lists(tmp_path):
    path = tmp_path / "log.jsonl.gz"
    references = (3, 2.5, 18.0, 1234567.891, True, ["a", "b"], None)
    rows = [{"id": str(n), "small_answer": "", "reference": one} for n, one in enumerate(references)]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert [found.reference for _, found in read_log(path)] == ["3", "2.5", "18", "1234567.891", "yes", "a\nb", None]


def test_an_empty_or_missing_log_is_told(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_log(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_log(tmp_path / "none.jsonl")
