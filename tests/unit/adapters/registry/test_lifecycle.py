"""The life of versions, as functions: whatever is asked for, in whatever order."""

from dataclasses import replace

import pytest
from hypothesis import given

from serve_app.adapters.registry import lifecycle
from serve_app.adapters.registry.lifecycle import Adapter, Moment
from serve_app.core import ModelNotFound, RequestError

from .operations import NAMES, OPERATIONS, act, short, version

ARROWS = {
    (None, "verified"), (None, "staged"), (None, "rejected"),
    ("verified", "staged"), ("verified", "rejected"), ("verified", "retired"),
    ("staged", "canary"), ("staged", "live"), ("staged", "retired"),
    ("canary", "live"), ("canary", "retired"),
    ("live", "retired"),
    ("retired", "live"), ("retired", "verified"), ("retired", "staged"),
    ("rejected", "verified"), ("rejected", "staged"),
}  # fmt: skip
"""Those of the package's picture; the last two lines are rollback or promote, and adding again."""


def apply(adapter: Adapter, function, revision: int = 1, actor: str = "ada") -> Adapter:
    step = function(adapter, Moment(revision, float(revision), actor))
    return adapter if step is None else step.adapter


def made(*operations, start: Adapter | None = None) -> Adapter:
    """An adapter after operations of which none is refused."""
    adapter = start or Adapter("legal")
    first = 1 + max((max(one.added_revision, one.promoted_revision or 0) for one in adapter.versions), default=0)
    for revision, operation in enumerate(operations, first):
        adapter = apply(adapter, act(operation), revision)
    return adapter


def states(adapter: Adapter) -> dict[str, str]:
    return {one.version.version[0]: one.state for one in adapter.versions}


TWO_LIVE = (
    ("add", "legal", "0", "staged"),
    ("promote", "legal", "0"),
    ("add", "legal", "1", "staged"),
    ("canary", "legal", "1", 0.1),
    ("promote", "legal", None),
)


@given(OPERATIONS)
def test_any_sequence_keeps_the_rules(operations):
    adapters, revision = {name: Adapter(name) for name in NAMES}, 0
    for operation in operations:
        before = adapters[operation[1]]
        try:
            step = act(operation)(before, Moment(revision + 1, float(revision), "ada"))
        except RequestError:
            continue
        if step is None:
            continue
        revision += 1
        after = adapters[operation[1]] = step.adapter
        assert step.adapter != before  # what changes nothing is no step
        assert (step.entry.revision, step.entry.name, step.entry.actor) == (revision, before.name, "ada")
        was, now = states(before), states(after)
        assert {(was.get(digit), now[digit]) for digit in now if was.get(digit) != now[digit]} <= ARROWS
        assert list(now.values()).count("live") <= 1
        assert list(now.values()).count("canary") <= 1
        if "canary" not in now.values():
            assert after.canary_weight == 0
        for one in after.versions:
            assert (one.retired_at_s is None) == (one.state != "retired")
        served = lifecycle.served(after)
        assert {one.version[0] for one in served.versions} == {
            digit for digit, state in now.items() if state in ("staged", "canary", "live")
        }


@given(OPERATIONS)
def test_what_was_just_done_changes_nothing_when_it_is_asked_again(operations):
    adapter, revision = Adapter("legal"), 0
    for operation in operations:
        if operation[0] == "rollback" and operation[2] is None:
            continue  # goes one further back each time: whoever repeats names the version
        function, revision = act((operation[0], "legal", *operation[2:])), revision + 1
        try:
            adapter = apply(adapter, function, revision)
        except RequestError:
            continue
        if operation[0] == "promote" and operation[2] is None:
            continue  # there is no canary any more
        assert function(adapter, Moment(revision + 1, 0.0, "ada")) is None


def test_a_canary_is_promoted_and_the_live_one_retires():
    adapter = made(*TWO_LIVE)
    assert states(adapter) == {"0": "retired", "1": "live"}
    assert lifecycle.served(adapter).live == short("1")
    assert lifecycle.served(adapter).canary_weight == 0


def test_rollback_goes_back_step_by_step_and_not_to_and_fro():
    third = made(("add", "legal", "2", "staged"), ("promote", "legal", "2"), start=made(*TWO_LIVE))
    back = made(("rollback", "legal", None), start=third)
    assert states(back) == {"0": "retired", "1": "live", "2": "retired"}
    first = made(("rollback", "legal", None), start=back)
    assert states(first)["0"] == "live"
    with pytest.raises(RequestError, match="no version to go back to") as raised:
        made(("rollback", "legal", None), start=first)
    assert raised.value.code == "conflict"


def test_rollback_withdraws_a_canary_and_leaves_the_live_one():
    adapter = made(*TWO_LIVE[:4], ("rollback", "legal", None))
    assert states(adapter) == {"0": "live", "1": "retired"}


def test_a_repeated_rollback_of_a_version_takes_back_no_more():
    adapter = made(
        *TWO_LIVE, ("add", "legal", "2", "staged"), ("canary", "legal", "2", 0.5), ("rollback", "legal", "2")
    )
    assert made(("rollback", "legal", "2"), start=adapter) == adapter
    assert states(adapter)["1"] == "live"


def test_a_removed_adapter_comes_back_only_by_being_added():
    removed = made(("remove", "legal"), start=made(*TWO_LIVE))
    assert set(states(removed).values()) == {"retired"}
    with pytest.raises(RequestError, match="no version to go back to"):
        made(("rollback", "legal", None), start=removed)
    again = made(("add", "legal", "0", "staged"), ("promote", "legal", "0"), start=removed)
    assert states(again) == {"1": "retired", "0": "live"}
    with pytest.raises(RequestError, match="no version to go back to"):
        made(("rollback", "legal", None), start=again)


@pytest.mark.parametrize(
    ("operations", "sentence"),
    [
        ([("add", "legal", "0", "staged"), ("canary", "legal", "0", 0.1)], "no live version"),
        ([("add", "legal", "0", "verified"), ("promote", "legal", "0")], "is verified and cannot be promoted"),
        ([("add", "legal", "0", "rejected"), ("promote", "legal", "0")], "is rejected and cannot be promoted"),
        ([*TWO_LIVE, ("canary", "legal", "0", 0.1)], "only a staged version"),
        ([*TWO_LIVE, ("canary", "legal", "1", 0.1)], "only a staged version"),
        ([*TWO_LIVE, ("promote", "legal", None)], "no canary to promote"),
        (
            [*TWO_LIVE[:4], ("add", "legal", "2", "staged"), ("canary", "legal", "2", 0.1)],
            "111111111111 is the canary",
        ),
        ([*TWO_LIVE, ("remove", "legal"), ("pin", "legal", True)], "no version that engines hold"),
    ],
)
def test_what_is_no_arrow_is_a_conflict_in_one_sentence(operations, sentence):
    with pytest.raises(RequestError, match=sentence) as raised:
        made(*operations)
    assert raised.value.code == "conflict"


def test_unknown_names_and_versions_are_not_found():
    for operation in (
        ("promote", "legal", None),
        ("remove", "legal"),
        ("pin", "legal", True),
        ("rollback", "legal", None),
    ):
        with pytest.raises(ModelNotFound, match="no adapter 'legal'"):
            made(operation)
    with pytest.raises(ModelNotFound, match="no version '3333"):
        made(*TWO_LIVE, ("canary", "legal", "3", 0.1))


def test_a_weight_is_a_share():
    with pytest.raises(RequestError) as raised:
        made(*TWO_LIVE[:3], ("canary", "legal", "1", 1.5))
    assert raised.value.param == "canary_weight"


def test_another_digest_with_the_same_first_digits_is_refused():
    adapter = made(("add", "legal", "0", "staged"))
    other = replace(version("0"), digest="0" * 12 + "f" * 52)
    with pytest.raises(RequestError, match="another version 000000000000"):
        apply(adapter, lambda a, m: lifecycle.add(a, other, m))


def test_a_rejected_version_keeps_its_reason_in_the_audit_log_and_may_come_again():
    bad = version("0", "rejected", report={"reason": "The tensor x holds NaN."})
    step = lifecycle.add(Adapter("legal"), bad, Moment(1, 1.0, "ada"))
    assert step is not None
    assert (step.entry.action, step.entry.detail) == ("reject", "The tensor x holds NaN.")
    assert lifecycle.add(step.adapter, bad, Moment(2, 2.0, "ada")) is None
    other = replace(bad, report={"reason": "It is too large."})
    assert lifecycle.add(step.adapter, other, Moment(2, 2.0, "ada")).entry.action == "reject"
    assert states(apply(step.adapter, act(("add", "legal", "0", "staged")), 2)) == {"0": "staged"}


def test_files_expire_when_no_name_needs_them():
    adapter = made(*TWO_LIVE)
    assert lifecycle.expired([adapter], 1e9) == set()  # a rollback would go back to the first one
    third = made(("add", "legal", "2", "staged"), ("promote", "legal", "2"), start=adapter)
    assert lifecycle.expired([third], 1e9) == {"0" * 64}
    assert lifecycle.expired([third], 1.0) == set()  # it has not been retired for long enough
    bad = made(("add", "legal", "3", "rejected"), start=adapter)
    assert lifecycle.expired([bad], 0.0) == {"3" * 64}  # those of a failed trial, at once
    elsewhere = Adapter("code", (replace(third.versions[2], version=version("0", name="code")),))
    assert lifecycle.expired([third, elsewhere], 1e9) == set()


def test_a_version_whose_files_are_gone_cannot_be_promoted_or_gone_back_to():
    adapter = made(*TWO_LIVE)
    gone = replace(adapter, versions=tuple(
        replace(one, files="gone") if one.state == "retired" else one for one in adapter.versions
    ))  # fmt: skip
    with pytest.raises(RequestError, match="past their retention"):
        made(("promote", "legal", "0"), start=gone)
    with pytest.raises(RequestError, match="no version to go back to"):
        made(("rollback", "legal", None), start=gone)
    again = made(("add", "legal", "0", "staged"), start=gone)
    assert again.find(short("0")).files == "kept"
