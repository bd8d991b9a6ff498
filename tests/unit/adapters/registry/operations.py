"""Operations on a registry as plain tuples: drawn by Hypothesis, run on the functions and on the database alike."""

from functools import partial
from typing import Any

from hypothesis import strategies as st

from serve_app.adapters.registry import AdapterRegistry, AdapterVersion, lifecycle

DIGESTS = [digit * 64 for digit in "0123"]
NAMES = ("legal", "code")
Operation = tuple[Any, ...]


def version(digit: str = "0", state: str = "staged", name: str = "legal", **more: Any) -> AdapterVersion:
    """A version whose digest repeats one digit."""
    digest = digit * 64
    fields = {"source": "upload", "rank": 8, "size_bytes": 10, "base_verified": True, "created_at_s": 1.0}
    return AdapterVersion(name, digest[:12], digest, state, **{**fields, "created_by": "ada", **more})  # type: ignore[arg-type]


def short(digit: str) -> str:
    return digit * 12


names, digits = st.sampled_from(NAMES), st.sampled_from("0123")
OPERATION = st.one_of(
    st.tuples(st.just("add"), names, digits, st.sampled_from(["verified", "staged", "rejected"])),
    st.tuples(st.just("canary"), names, digits, st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5])),
    st.tuples(st.just("promote"), names, st.none() | digits),
    st.tuples(st.just("rollback"), names, st.none() | digits),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("pin"), names, st.booleans()),
)
OPERATIONS = st.lists(OPERATION, max_size=30)


def act(operation: Operation) -> Any:
    """The function of `lifecycle` that an operation is; takes an adapter and a moment."""
    kind, name, *rest = operation
    if kind == "add":
        return lambda adapter, moment: lifecycle.add(adapter, version(rest[0], rest[1], name), moment)
    if kind == "canary":
        return lambda adapter, moment: lifecycle.canary(adapter, short(rest[0]), rest[1], moment)
    if kind == "promote":
        chosen = rest[0] and short(rest[0])
        return lambda adapter, moment: lifecycle.promote(adapter, chosen, moment)
    if kind == "rollback":
        return lambda adapter, moment: lifecycle.rollback(adapter, moment, version=rest[0] and short(rest[0]))
    if kind == "remove":
        return lifecycle.remove
    return lambda adapter, moment: lifecycle.pin(adapter, rest[0], moment)


async def run(registry: AdapterRegistry, operation: Operation) -> None:
    """The same operation on a registry."""
    kind, name, *rest = operation
    calls = {
        "add": lambda: registry.add(version(rest[0], rest[1], name)),
        "canary": lambda: registry.canary(name, short(rest[0]), rest[1], "ada"),
        "promote": lambda: registry.promote(name, rest[0] and short(rest[0]), "ada"),
        "rollback": lambda: registry.rollback(name, "ada", version=rest[0] and short(rest[0])),
        "remove": partial(registry.remove, name, "ada"),
        "pin": lambda: registry.pin(name, rest[0], "ada"),
    }
    await calls[kind]()
