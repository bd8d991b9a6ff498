"""The life of one adapter's versions, as functions: a name and a change in, the name and its line in the audit log out.

Knows no database. A function returns None where nothing has to change, and raises RequestError, with code `conflict`,
where the change is not one of the package's arrows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from serve_app.adapters.registry.records import AdapterVersion, AuditEntry, ServedAdapter, ServedVersion, VersionState
from serve_app.core import ModelNotFound, RequestError

Files = Literal["kept", "leaving", "gone"]
"""Of a version's files in the artefact store: `leaving` ones are being deleted, and nothing may count on them."""

ADDED: tuple[VersionState, ...] = ("verified", "staged", "rejected")
"""States in which a version may come."""
HELD: tuple[VersionState, ...] = ("staged", "canary", "live")
"""States whose versions engines hold."""

_MAX_DETAIL = 500


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version and what only the registry needs to know of it."""

    version: AdapterVersion
    added_revision: int
    """Revision with which it came; orders the versions of a name."""
    promoted_revision: int | None = None
    """Revision at which it was promoted last, since it came; None: never. Rollback goes back along these."""
    retired_at_s: float | None = None
    """Seconds since the epoch; set while it is retired."""
    files: Files = "kept"

    @property
    def state(self) -> VersionState:
        """Its state."""
        return self.version.state


@dataclass(frozen=True, slots=True)
class Adapter:
    """One name with all its versions, oldest first."""

    name: str
    versions: tuple[StoredVersion, ...] = ()
    canary_weight: float = 0.0
    """0 where there is no canary."""
    pinned: bool = False

    def only(self, state: VersionState) -> StoredVersion | None:
        """The version in a state that one version at most can have: `live` or `canary`."""
        return next((one for one in self.versions if one.state == state), None)

    def find(self, version: str) -> StoredVersion | None:
        """The version of that name."""
        return next((one for one in self.versions if one.version.version == version), None)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a change is made, and by whom."""

    revision: int
    """The one that the change makes."""
    at_s: float
    actor: str


@dataclass(frozen=True, slots=True)
class Step:
    """A change: the name after it, and its line in the audit log."""

    adapter: Adapter
    entry: AuditEntry


def add(adapter: Adapter, version: AdapterVersion, moment: Moment) -> Step | None:
    """A version comes, verified, staged or rejected; one that was verified is staged or rejected.

    One that is staged, canary or live stays as it is. One that was retired or rejected may come again.
    """
    if version.state not in ADDED:
        raise RequestError(f"A version comes as {', '.join(ADDED)}, not as {version.state!r}.", "state")
    known = adapter.find(version.version)
    if known is None:
        return _step(_appended(adapter, version, moment), moment, _coming(version), version.version, _told(version))
    if known.version.digest != version.digest:
        raise _conflict(f"{adapter.name!r} has another version {version.version}; change a byte of its manifest.")
    if not _comes_again(known.version, version):
        return None
    if known.state == "verified" and version.state == "staged":
        staged = _put(adapter, replace(known, version=version))
        return _step(staged, moment, "stage", version.version, _told(version))
    rest = replace(adapter, versions=tuple(one for one in adapter.versions if one is not known))
    return _step(_appended(rest, version, moment), moment, _coming(version), version.version, _told(version))


def canary(adapter: Adapter, version: str, weight: float, moment: Moment) -> Step | None:
    """A staged version gets a share of the name's traffic; the canary's share changes."""
    if not 0 <= weight <= 1:
        raise RequestError(f"The canary's weight is {weight}; it must be from 0 to 1.", "canary_weight")
    found, current = _found(adapter, version), adapter.only("canary")
    if current is not None and current is not found:
        raise _conflict(
            f"{current.version.version} is the canary of {adapter.name!r}; promote it or roll it back before another."
        )
    if current is None and found.state != "staged":
        raise _conflict(
            f"{version} of {adapter.name!r} is {found.state}; only a staged version becomes a canary: add it again."
        )
    if adapter.only("live") is None:
        raise _conflict(f"{adapter.name!r} has no live version that a canary could be beside; promote {version}.")
    if current is not None and adapter.canary_weight == weight:
        return None
    changed = replace(_put(adapter, _in_state(found, "canary")), canary_weight=weight)
    return _step(changed, moment, "canary", version, f"weight {weight:g}")


def promote(adapter: Adapter, version: str | None, moment: Moment, detail: str = "") -> Step | None:
    """A version becomes the live one and the live one retires; None promotes the canary. Another canary stays one."""
    chosen = adapter.only("canary") if version is None else _found(adapter, version)
    if chosen is None:
        _known(adapter)
        raise _conflict(f"{adapter.name!r} has no canary to promote; name a version.")
    if chosen.state == "live":
        return None
    if chosen.state not in (*HELD, "retired"):
        raise _conflict(f"{chosen.version.version} of {adapter.name!r} is {chosen.state} and cannot be promoted.")
    if chosen.files != "kept":
        raise _conflict(
            f"The files of {chosen.version.version} of {adapter.name!r} are past their retention; add it again first."
        )
    weight = 0.0 if chosen.state == "canary" else adapter.canary_weight
    changed = _put(
        _retired_live(adapter, moment), replace(_in_state(chosen, "live"), promoted_revision=moment.revision)
    )
    return _step(replace(changed, canary_weight=weight), moment, "promote", chosen.version.version, detail)


def rollback(adapter: Adapter, moment: Moment, detail: str = "", version: str | None = None) -> Step | None:
    """The canary is withdrawn; without one the version that was live before is live again.

    `version` names the one that shall go: where it is neither canary nor live any more, nothing changes, so that a
    repeated call takes back no more than was meant.
    """
    _known(adapter)
    bad, live = adapter.only("canary"), adapter.only("live")
    if version is not None:
        bad = _found(adapter, version)
        if bad.state not in ("canary", "live"):
            return None
    if bad is not None and bad.state == "canary":
        changed = replace(_put(adapter, _retired(bad, moment)), canary_weight=0.0)
        return _step(changed, moment, "rollback", bad.version.version, detail or "canary withdrawn")
    before = previous(adapter)
    if live is None or before is None:
        raise _conflict(f"{adapter.name!r} has no version to go back to; promote another, or remove the adapter.")
    changed = _put(_retired_live(adapter, moment), _in_state(before, "live"))
    told = detail or f"instead of {live.version.version}"
    return _step(changed, moment, "rollback", before.version.version, told)


def remove(adapter: Adapter, moment: Moment) -> Step | None:
    """All versions retire; what was rejected stays so. Rollback does not bring them back, `add` does."""
    _known(adapter)
    going = [one for one in adapter.versions if one.state in (*HELD, "verified")]
    if not going:
        return None
    versions = tuple(
        replace(_retired(one, moment) if one in going else one, promoted_revision=None) for one in adapter.versions
    )
    changed = replace(adapter, versions=versions, canary_weight=0.0, pinned=False)
    return _step(changed, moment, "remove", None, f"{len(going)} version{'' if len(going) == 1 else 's'}")


def pin(adapter: Adapter, pinned: bool, moment: Moment) -> Step | None:
    """Whether every engine keeps the adapter resident."""
    _known(adapter)
    if adapter.pinned == pinned:
        return None
    if pinned and not any(one.state in HELD for one in adapter.versions):
        raise _conflict(f"{adapter.name!r} has no version that engines hold; add one before you pin it.")
    return _step(replace(adapter, pinned=pinned), moment, "pin" if pinned else "unpin", None, "")


def previous(adapter: Adapter) -> StoredVersion | None:
    """The version that was promoted last before the live one, if its files are still kept."""
    live = adapter.only("live")
    if live is None or live.promoted_revision is None:
        return None
    earlier = [
        (one.promoted_revision, index)
        for index, one in enumerate(adapter.versions)
        if one.state == "retired" and one.files == "kept" and one.promoted_revision is not None
        and one.promoted_revision < live.promoted_revision
    ]  # fmt: skip
    return adapter.versions[max(earlier)[1]] if earlier else None


def expired(adapters: Sequence[Adapter], retired_before_s: float) -> set[str]:
    """Digests whose files nobody needs, under any name: rejected, or retired long enough and not for a rollback."""
    going: set[str] = set()
    needed: set[str] = set()
    for adapter in adapters:
        before = previous(adapter)
        for one in adapter.versions:
            old = one.state == "retired" and one.retired_at_s is not None and one.retired_at_s < retired_before_s
            useless = one.state == "rejected" or (old and one is not before)
            (going if useless else needed).add(one.version.digest)
    return going - needed


def served(adapter: Adapter) -> ServedAdapter:
    """The name as engines and gateways need it."""
    live, tried = adapter.only("live"), adapter.only("canary")
    return ServedAdapter(
        adapter.name,
        live=None if live is None else live.version.version,
        canary=None if tried is None else tried.version.version,
        canary_weight=adapter.canary_weight,
        pinned=adapter.pinned,
        versions=tuple(
            ServedVersion(one.version.version, one.version.digest, one.version.base_override)
            for one in adapter.versions
            if one.state in HELD
        ),
    )


def _comes_again(known: AdapterVersion, version: AdapterVersion) -> bool:
    """Whether a known version's coming changes it."""
    if known.state == "verified":
        return version.state != "verified"
    if known.state == "rejected":
        return version.state != "rejected" or dict(version.report) != dict(known.report)
    return known.state == "retired" and version.state != "rejected"


def _appended(adapter: Adapter, version: AdapterVersion, moment: Moment) -> Adapter:
    return replace(adapter, versions=(*adapter.versions, StoredVersion(version, moment.revision)))


def _coming(version: AdapterVersion) -> str:
    return "reject" if version.state == "rejected" else "add"


def _told(version: AdapterVersion) -> str:
    reason = version.report.get("reason")
    return str(reason) if version.state == "rejected" and reason else f"{version.state}, from {version.source}"


def _known(adapter: Adapter) -> None:
    if not adapter.versions:
        raise ModelNotFound(f"There is no adapter {adapter.name[:80]!r}; add it first.", "name", "model_not_found")


def _found(adapter: Adapter, version: str) -> StoredVersion:
    _known(adapter)
    found = adapter.find(version)
    if found is None:
        raise ModelNotFound(f"{adapter.name!r} has no version {version[:80]!r}.", "version", "model_not_found")
    return found


def _conflict(sentence: str) -> RequestError:
    return RequestError(sentence, code="conflict")


def _put(adapter: Adapter, changed: StoredVersion) -> Adapter:
    """The adapter with a version in the place of the one of that name."""
    versions = tuple(changed if one.version.version == changed.version.version else one for one in adapter.versions)
    return replace(adapter, versions=versions)


def _in_state(stored: StoredVersion, state: VersionState) -> StoredVersion:
    return replace(stored, version=replace(stored.version, state=state), retired_at_s=None)


def _retired(stored: StoredVersion, moment: Moment) -> StoredVersion:
    return replace(_in_state(stored, "retired"), retired_at_s=moment.at_s)


def _retired_live(adapter: Adapter, moment: Moment) -> Adapter:
    live = adapter.only("live")
    return adapter if live is None else _put(adapter, _retired(live, moment))


def _step(adapter: Adapter, moment: Moment, action: str, version: str | None, detail: str) -> Step:
    told = detail[:_MAX_DETAIL]
    return Step(adapter, AuditEntry(moment.revision, moment.at_s, moment.actor, action, adapter.name, version, told))
