"""The page of distillation quotes what the bench measured; the bench's traffic keeps its parts apart."""

from bench.distill import page
from bench.distill.task import traffic


def quoted(start, end):
    return page.PAGE.read_text(encoding="utf-8").partition(start)[2].partition(end)[0].strip()


def test_the_figures_are_those_of_the_result_file():
    assert quoted(page.START, page.END) == page.figures().strip(), "run: python -m bench.distill.page"


def test_every_key_of_a_plan_is_in_the_page():
    assert quoted(page.KEYS, page.END_OF_KEYS) == page.keys(), "run: python -m bench.distill.page"


def test_traffic_is_the_same_each_time_and_its_parts_are_disjoint(data_dir):
    found = traffic(data_dir, 100, 50, 60)
    assert found == traffic(data_dir, 100, 50, 60)
    ids = [row.id for part in (found.captured, found.labelled, found.test) for row in part]
    assert len(ids) == len(set(ids)) == 210
    assert {row.id.partition("/")[0] for row in found.test} == {"test"}
    assert all(row.answer is None and row.reference for row in found.captured)
