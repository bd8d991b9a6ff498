"""The verdict over figures: each check fails for its own reason."""

import pytest

from serve_app.core import Message
from serve_app.distill.answers import Generated
from serve_app.distill.gate import GateSettings, judge
from serve_app.distill.rows import ExampleRow
from serve_app.distill.threshold import Answered, Estimate

NO_TEXT = Generated("", (), 1, 1, 0.0)


def answered(scores, group="all"):
    rows = tuple(ExampleRow(id=str(i), messages=(Message("user", "?"),), group=group) for i in range(len(scores)))
    return Answered(rows, (NO_TEXT,) * len(scores), tuple(scores))


def estimated(escalation, risk=0.05, cost=1.0, num_rows=100):
    num_accepted = round((1 - escalation) * num_rows)
    accepted = (True,) * num_accepted + (False,) * (num_rows - num_accepted)
    return Estimate(None, num_rows, escalation, risk if num_accepted else None, 0.1, 0.8, accepted, cost)  # type: ignore[arg-type]


BEFORE, AFTER = answered([0.0] * 60 + [1.0] * 40), answered([0.0] * 30 + [1.0] * 70)


def verdict(gate=(BEFORE, AFTER), regression=None, before=None, after=None, **settings):
    estimates = (before or estimated(0.8), after or estimated(0.4, cost=0.5))
    return judge(gate, regression, estimates, GateSettings(**settings))


def failed(**more):
    return [check.name for check in verdict(**more).checks if not check.passed]


def test_a_better_version_that_escalates_less_passes():
    assert verdict().passed
    assert failed(regression=(answered([1.0] * 20, "legal"), answered([1.0] * 20, "legal"))) == []


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"gate": (AFTER, BEFORE)}, "better"),
        ({"gate": (BEFORE, BEFORE)}, "better"),
        ({"gain": 0.5}, "better"),
        ({"regression": (answered([1.0] * 40, "legal"), answered([0.0] * 20 + [1.0] * 20, "legal"))}, "regression"),
        ({"after": estimated(0.8, cost=0.5)}, "escalation"),
        ({"fewer": 0.5}, "escalation"),
        ({"after": estimated(0.4, risk=0.3, cost=0.5)}, "risk"),
        ({"after": estimated(0.4, cost=1.1)}, "bill"),
    ],
)
def test_each_check_fails_alone(more, name):
    assert failed(**more) == [name]


def test_a_loss_that_is_not_sure_or_within_the_margin_is_no_regression():
    few = (answered([1.0] * 3, "legal"), answered([1.0, 1.0, 0.0], "legal"))
    assert failed(regression=few) == []
    many = (answered([1.0] * 40, "legal"), answered([0.0] * 20 + [1.0] * 20, "legal"))
    assert failed(regression=many, margin=0.7) == []


def test_nothing_accepted_is_no_risk_and_no_prices_no_bill():
    told = verdict(after=estimated(1.0, cost=None))
    assert {check.name: check.passed for check in told.checks} == {
        "better": True, "regression": True, "escalation": False, "risk": True,
    }  # fmt: skip


def test_the_record_is_plain_json_with_the_figures():
    record = verdict().record()
    assert record["passed"]
    assert record["gate"]["before"] == pytest.approx(0.4)
    assert record["after"]["escalation"] == 0.4
