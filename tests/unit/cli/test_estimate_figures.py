import doctest

import numpy as np
import pytest

from serve_app.cli.estimating import figures as figures_module
from serve_app.cli.estimating import report
from serve_app.cli.estimating.costs import Models, costs
from serve_app.cli.estimating.figures import figures, saving_interval
from serve_app.cli.estimating.outcome import Refused, Tried
from serve_app.config.prices import PricesSettings
from serve_app.core import RequestError, Usage
from serve_app.labelling.requests import LoggedRequest
from serve_app.ledger import PriceBook

MODELS = Models(now="vendor", small="small", large="large")
PRICES = PriceBook(
    PricesSettings(
        version="t",
        models={
            "small": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
            "large": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"},
            "vendor": {"input_usd_per_mtok": "20", "output_usd_per_mtok": "20"},
        },
    ),
    "vendor",
    ("small", "large"),
)
REQUEST = LoggedRequest("a", 1, {"messages": [{"role": "user", "content": "x" * 40}]})


def tried(accepted, small="four", large="four", route="legal", **fields):
    usages = {"small_usage": Usage(10, 0, 5), "large_usage": Usage(10, 0, 5)} | fields
    return Tried(REQUEST, route, accepted, small_answer=small, large_answer=large, **usages)


@pytest.mark.parametrize("module", [figures_module, report])
def test_examples_in_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


def test_an_accepted_request_costs_the_small_answer_and_an_escalated_one_both():
    found = costs([tried(True), tried(False), tried(False, small_usage=None)], PRICES, MODELS)
    small, large, vendor = 15 * 1000, 15 * 10_000, 15 * 20_000
    assert found.now.tolist() == [vendor] * 3
    assert found.headrace.tolist() == [small, small + large, large]


def test_tokens_that_nobody_counted_are_estimated_at_the_rate_of_the_small_answers():
    answered = tried(True, small="x" * 30, small_usage=Usage(10, 0, 10))  # three characters a token
    uncounted = tried(False, small=None, large="y" * 60, large_usage=None)
    unseen = tried(False, small=None, large=None, large_usage=None, small_usage=None)
    found = costs([answered, uncounted, unseen], PRICES, MODELS)
    assert found.basis == ("log", "estimated", "estimated")
    assert found.now.tolist()[1] == (10 + 20) * 20_000
    prompt, usual = 40 // 3, round((5 + 20) / 2)
    assert found.now.tolist()[2] == (prompt + usual) * 20_000


def test_shares_risks_and_savings_by_route():
    rows = [tried(True)] * 60 + [tried(False)] * 20 + [tried(True, route="code")] * 20
    scores = [1.0] * 54 + [0.0] * 6 + [None] * 20 + [1.0] * 20
    found = figures(rows, [], [], scores, costs(rows, PRICES, MODELS))
    total, legal, code = found["total"], found["routes"]["legal"], found["routes"]["code"]
    assert (legal["queries"], legal["share"], legal["accepted_share"]) == (80, 0.8, 0.75)
    assert (legal["compared"], legal["differing"], legal["risk"]) == (60, 6, 0.1)
    assert 0.1 < legal["risk_upper_95"] < 0.2
    assert code["risk_upper_95"] == pytest.approx(1 - 0.05 ** (1 / 20))
    assert total["saved_share"] == pytest.approx(1 - (80 * 15 + 20 * 165) / (100 * 300))
    low, high = total["saved_share_95"]
    assert low < total["saved_share"] < high
    assert found["large_tokens_from"] == {"log": 100}
    assert found["warnings"] == [
        "code: only 20 accepted answers were compared; even if none differed, "
        "a risk of 5% could be ruled out from 59 on."
    ]


def test_what_cannot_be_said_is_said():
    rows = [tried(True, large=None, large_usage=None)]
    refused = [Refused.by(REQUEST, RequestError("no", "messages.3.tool_calls", "unsupported_parameter"))] * 3
    found = figures(rows, refused, [], [None], costs(rows, PRICES, MODELS))
    assert found["refused"] == {"queries": 3, "reasons": {"messages.tool_calls: unsupported_parameter": 3}}
    assert found["total"]["risk"] is None
    said = " ".join(found["warnings"])
    for part in (
        "3 of the requests (75%) are refused",
        "Only 1 requests",
        "risk is unknown",
        "1 large answers are est",
    ):
        assert part in said


def test_no_request_at_all_gives_no_figure_and_no_error():
    found = figures([], [], [], [], costs([], PRICES, MODELS))
    assert found["total"]["saved_share"] is None
    assert report.sentence(found["total"]) == "Nothing was priced."


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(3)
    covered = 0
    for seed in range(20):
        accepted = random.random(150) < 0.6
        now = random.integers(50, 150, 150)
        low, high = saving_interval(now, np.where(accepted, now // 10, now + now // 10), seed)
        covered += low <= 0.6 * 0.9 - 0.4 * 0.1 <= high
    assert covered >= 16
