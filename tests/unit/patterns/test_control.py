"""A breach makes the cascade stricter; settings that stay the same undo nothing; bad ones change nothing."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from serve_app.confidence.features import FEATURES
from serve_app.confidence.model import AcceptanceModel, Platt
from serve_app.confidence.policy import CascadePolicy, Provenance, RoutePolicy, write
from serve_app.confidence.watch import reference_of
from serve_app.config import CascadeSettings
from serve_app.config.watch import WatchSettings
from serve_app.core import ConfigError, Message, Query, RouteScore, SamplingParams
from serve_app.engines.fake import FakeAnswer, FakeEngine
from serve_app.patterns import CascadeControl, Node, Trace

ROUTE = RouteScore("legal", 0.9, {"legal": 0.9, "code": 0.1})
THRESHOLDS = (0.9, 0.8, 0.6)
CERTAIN = -0.01
"""Log-probability of a small answer that the least strict threshold accepts, and not the others (`model`)."""


def model() -> AcceptanceModel:
    """Log-odds 1 for a mean log-probability of 0, falling by 1 for each nat."""
    column = FEATURES.index("mean_logprob")
    return AcceptanceModel(
        features=(FEATURES[column],),
        mean=(0.0,),
        scale=(1.0,),
        coefficients=(1.0,),
        intercept=1.0,
        calibration=Platt(slope=1.0, offset=0.0),
    )


def policy(threshold: float | None = 0.6, alpha: float = 0.05, **changes: object) -> CascadePolicy:
    route = RoutePolicy(
        route="legal",
        adapter_version=None,
        early=(),
        final=model(),
        threshold=threshold,
        thresholds=THRESHOLDS,
        alpha=alpha,
        delta=0.1,
        num_labels=100,
        model_labels=50,
        accepted_share=0.5,
        observed_risk=0.0,
        risk_bound=0.04,
        needed_labels=None,
    )
    facts = Provenance(data_sha256="0" * 64, num_rows=150, seed=0, joint=False, right_from=0.5, headrace="test")
    fields = {"decide": "full", "checkpoints": (), "target": "right", "routes": (route,), "provenance": facts}
    return CascadePolicy(**{**fields, **changes})


class Setting:
    """A control over scripted nodes, with a policy in a file and a scorer that always says the same."""

    def __init__(self, folder: Path, score: float = 1.0, fitted: CascadePolicy | None = None, **watch: object) -> None:
        self.file = folder / "policy.json"
        write(fitted or policy(), self.file)
        self.score, self.reports = score, []
        self.small = FakeEngine(default=FakeAnswer("the small answer", logprob=CERTAIN), adapters={"new": "v2"})
        self.large = FakeEngine(default=FakeAnswer("the large answer"))
        self.settings = self.with_watch(**watch)
        self.control = CascadeControl(
            Node("specialists", "small", self.small),
            Node("fallback", "large", self.large),
            self.settings,
            self.scorer_of,
            self.reports.append,
        )

    def with_watch(self, **watch: object) -> CascadeSettings:
        return CascadeSettings.model_validate({"policy": str(self.file), "watch": {"audit_share": 1.0, **watch}})

    def scorer_of(self, settings: WatchSettings):
        if settings.scorer != "agreement":
            raise ConfigError(f"there is no scorer {settings.scorer!r}")

        async def score(question: str, small: str, large: str) -> float:
            return self.score

        return score

    async def ask(self, number: int = 0, adapter: str | None = None, gain: float | None = None):
        query = Query(f"q{number}", "auto", SamplingParams(), (Message("user", "hi"),))
        trace = Trace(query)
        trace.route = replace(ROUTE, gain=gain)
        text = ""
        async for delta in self.control.answerer.answer(query, trace, adapter, 0):
            text += delta.text
        async with asyncio.timeout(10):
            while self.control.shadows.num_running:  # noqa: ASYNC110 - the count has no event
                await asyncio.sleep(0)
        return text, trace.answer()

    async def ask_until(self, happened, most: int = 200) -> int:
        for number in range(most):
            await self.ask(number)
            if happened():
                return number + 1
        raise AssertionError(f"it did not happen within {most} queries")

    @property
    def state(self):
        return self.control.report()["legal"]


async def test_good_answers_are_audited_and_stay_with_the_small_model(tmp_path):
    setting = Setting(tmp_path)
    for number in range(20):
        text, account = await setting.ask(number)
        assert (text, account.escalated) == ("the small answer", False)
    assert (setting.state.state, setting.state.num_audited, setting.state.num_wrong) == ("ok", 20, 0)
    assert [report.account.outcome for report in setting.reports] == ["shadow"] * 20


async def test_a_breach_tightens_the_threshold_and_begins_a_new_test(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="tighten")
    await setting.ask_until(lambda: setting.state.epoch == 1)
    assert (setting.state.state, setting.state.num_audited) == ("ok", 0)
    text, account = await setting.ask(1000)
    assert (text, account.escalated) == ("the large answer", True)


async def test_a_breach_escalates_all_of_the_route(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="escalate_all")
    await setting.ask_until(lambda: setting.state.state == "breached")
    text, account = await setting.ask(1000)
    assert text == "the large answer"
    assert [attempt.node for attempt in account.attempts] == ["fallback"]  # no small attempt in vain
    assert "all is escalated" in account.reason


async def test_an_alert_changes_nothing_but_the_state_and_the_log(tmp_path, caplog):
    setting = Setting(tmp_path, score=0.0, on_breach="alert")
    await setting.ask_until(lambda: setting.state.state == "breached")
    assert (await setting.ask(1000))[0] == "the small answer"
    assert "guarantee is broken" in caplog.text


async def test_settings_with_the_same_policy_keep_evidence_and_tightening(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="tighten")
    await setting.ask_until(lambda: setting.state.epoch == 1)
    setting.control.reconfigure(setting.with_watch(on_breach="alert"))
    assert setting.state.epoch == 1
    assert (await setting.ask(1000))[0] == "the large answer"


@pytest.mark.parametrize(
    ("on_breach", "state", "epoch"), [("tighten", "ok", 1), ("escalate_all", "breached", 0)], ids=str
)
async def test_a_new_on_breach_is_done_to_what_is_breached_already(tmp_path, on_breach, state, epoch):
    setting = Setting(tmp_path, score=0.0, on_breach="alert")
    await setting.ask_until(lambda: setting.state.state == "breached")
    setting.control.reconfigure(setting.with_watch(on_breach=on_breach))
    assert (setting.state.state, setting.state.epoch) == (state, epoch)
    assert (await setting.ask(1000))[0] == "the large answer"


async def test_a_route_that_escalates_all_already_is_not_called_sound_by_tightening_it(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="escalate_all")
    await setting.ask_until(lambda: setting.state.state == "breached")
    setting.control.reconfigure(setting.with_watch(on_breach="tighten"))
    assert (setting.state.state, setting.state.epoch) == ("breached", 0)


async def test_another_target_of_the_watch_begins_the_test_anew_and_keeps_the_tightened_threshold(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="tighten")
    await setting.ask_until(lambda: setting.state.epoch == 1)
    setting.control.reconfigure(setting.with_watch(on_breach="tighten", alpha=0.2))
    assert (setting.state.alpha, setting.state.epoch, setting.state.num_audited) == (0.2, 0, 0)
    assert (await setting.ask(1000))[0] == "the large answer"


async def test_a_version_that_was_never_fitted_does_not_tighten_the_one_that_was(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="tighten")
    setting.control.reconfigure(setting.settings.model_copy(update={"unfitted": "accept"}))
    for number in range(100):
        text, account = await setting.ask(number, adapter="new")
        assert (text, account.adapter_version) == ("the small answer", "v2")
    assert (setting.state.state, setting.state.epoch, setting.state.num_audited) == ("ok", 0, 0)
    assert setting.reports == []


async def test_answers_kept_for_their_gain_are_audited_and_do_not_look_like_drift(tmp_path):
    (route,) = policy().routes
    reference = reference_of([i / 1000 for i in range(700, 760)])  # of the confidence of CERTAIN
    route = route.model_copy(update={"references": {"confidence": reference}})
    setting = Setting(tmp_path, fitted=policy(routes=(route,), keep_small_below=0.2))
    for number in range(150):
        await setting.ask(number, gain=0.01)
    assert (setting.state.state, setting.state.num_audited) == ("ok", 150)
    assert setting.state.drift["confidence"].num_values == 0
    await setting.ask(150, gain=0.5)
    assert setting.state.drift["confidence"].num_values == 1


async def test_another_policy_begins_anew(tmp_path):
    setting = Setting(tmp_path, score=0.0, on_breach="tighten")
    await setting.ask_until(lambda: setting.state.epoch == 1)
    write(policy(alpha=0.2), setting.file)
    setting.control.reconfigure(setting.settings)
    assert (setting.state.epoch, setting.state.alpha) == (0, 0.2)
    assert (await setting.ask(1000))[0] == "the small answer"


async def test_the_watch_may_have_a_target_of_its_own(tmp_path):
    setting = Setting(tmp_path, alpha=0.3)
    assert setting.state.alpha == 0.3


@pytest.mark.parametrize("change", ["policy", "scorer"])
async def test_settings_that_cannot_be_used_change_nothing(tmp_path, change):
    setting = Setting(tmp_path)
    bad = setting.settings.model_copy(update={"policy": str(tmp_path / "absent.json")})
    if change == "scorer":
        bad = setting.with_watch(scorer="nobody")
    with pytest.raises(ConfigError):
        setting.control.reconfigure(bad)
    assert (await setting.ask())[0] == "the small answer"
    assert setting.state.num_audited == 1


async def test_in_shadow_mode_the_large_model_answers_and_the_mirror_says_what_would_have_been(tmp_path):
    setting = Setting(tmp_path, mirror_share=1.0)
    text, account = await setting.ask()
    assert text == "the large answer"
    assert [attempt.node for attempt in account.attempts] == ["fallback"]
    (report,) = setting.reports
    assert (report.kind, report.would_accept, report.score) == ("mirror", True, 1.0)
    assert [(a.node, a.outcome) for a in report.account.attempts] == [("specialists", "shadow")]
    setting.control.reconfigure(setting.settings.model_copy(update={"watch": replace_share(setting.settings, 0.0)}))
    assert (await setting.ask(1))[0] == "the small answer"


def replace_share(settings: CascadeSettings, share: float):
    return settings.watch.model_copy(update={"mirror_share": share})


async def test_a_disabled_cascade_answers_with_the_small_model_alone(tmp_path):
    setting = Setting(tmp_path)
    setting.control.reconfigure(setting.settings.model_copy(update={"enabled": False}))
    text, account = await setting.ask()
    assert (text, account.reason) == ("the small answer", "")


async def test_the_decision_of_the_pre_router_is_in_the_account(tmp_path):
    setting = Setting(tmp_path)
    plain = CascadeSettings(skip_small_above=0.5, keep_small_below=0.1)
    setting.control.reconfigure(plain)
    for gain, node, escalated in ((0.9, "fallback", True), (0.05, "specialists", False)):
        query = Query("q", "auto", SamplingParams(), (Message("user", "hi"),))
        trace = Trace(query)
        trace.route = replace(ROUTE, gain=gain)
        async for _ in setting.control.answerer.answer(query, trace, None, 0):
            pass
        account = trace.answer()
        assert [attempt.node for attempt in account.attempts] == [node]
        assert (account.escalated, "gain of the large model" in account.reason) == (escalated, True)
