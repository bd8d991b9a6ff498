"""Synthetic accounts of a day and more: all that may become of a query, from a seed."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from serve_app.core import Answer, Attempt, Usage

ROUTES = ("code", "medical", "legal", "general")
SMALL, LARGE, ENCODER = "small-model", "large-model", "all-minilm-l6-v2"
VERSIONS = {"code": "3f9a1c77d2b045e1", "medical": "77d2b045e13f9a1c", "legal": "a01bc2377d2b045e"}
_ESCALATED_SHARE = {"code": 0.08, "medical": 0.14, "legal": 0.27, "general": 0.11}


def accounts(num_queries: int, now_s: float, hours: float, seed: int = 5) -> Iterator[Answer]:
    """Unpriced accounts over the last `hours`, oldest first, more of them around noon."""
    random = Random(seed)
    ages_s = sorted(
        (
            (random.random() if index % 5 == 0 else random.betavariate(1.6, 1.9)) * hours * 3600
            for index in range(num_queries - 40)
        ),
        reverse=True,
    )
    ages_s += [40 * 7 - 7 * index for index in range(40)]
    for index, age_s in enumerate(ages_s):
        yield _account(random, f"q{index:012x}{random.getrandbits(64):016x}", now_s - age_s)


def _account(random: Random, query_id: str, created_at_s: float) -> Answer:
    route = random.choices(ROUTES, (6, 5, 4, 3))[0]
    kind = random.choices(
        ("answered", "escalated", "cached", "cancelled", "failed", "timed_out", "lost", "shadow"),
        (72, 100 * _ESCALATED_SHARE[route], 9, 1.2, 0.1, 0.05, 0.03, 1),
    )[0]
    first = _routed(random)
    account = Answer(
        query_id,
        created_at_s,
        "auto",
        "accepted",
        (first, *_attempts(random, route, kind)),
        key_id=random.choice(("search-team", "support-bot", "nightly")),
        route=route,
        route_probability=0.7 + 0.3 * random.random(),
        adapter=route if route in VERSIONS else None,
        adapter_version=VERSIONS.get(route),
        model=SMALL,
        gateway="gateway-1",
        ms=0.0,
    )
    return _ended(account, kind, random)


def _routed(random: Random) -> Attempt:
    busy_s = random.uniform(0.002, 0.005)
    return Attempt("router", ENCODER, None, "accepted", Usage(busy_s=busy_s), busy_s * 1400, role="router")


def _attempts(random: Random, route: str, kind: str) -> tuple[Attempt, ...]:
    adapter = route if route in VERSIONS else None
    prompt = random.randint(40, 260)
    cached = random.choice((0, 0, 32, 64)) if prompt > 64 else 0
    usage = Usage(prompt, cached, random.randint(20, 120), random.uniform(0.02, 0.2))
    small = Attempt("specialists", SMALL, adapter, "accepted", usage, random.lognormvariate(5.6, 0.45))
    small = replace(small, adapter_version=VERSIONS.get(route), confidence=random.uniform(0.72, 0.99))
    if kind == "cached":
        return (replace(small, node="cache", usage=Usage(), ms=0.4, confidence=None),)
    if kind == "escalated":
        draft = replace(small, outcome="escalated", confidence=random.uniform(0.1, 0.7))
        large = Attempt("fallback", LARGE, None, "accepted", replace(usage, cached_tokens=0), small.ms * 3.4)
        return draft, large
    if kind == "failed":
        return (replace(small, outcome="failed", usage=Usage(), confidence=None),)
    if kind in ("cancelled", "timed_out"):
        return (replace(small, outcome=kind, confidence=None),)  # type: ignore[arg-type]
    if kind == "shadow":
        return (Attempt("fallback", LARGE, None, "shadow", usage, small.ms * 3, role="shadow"),)
    return () if kind == "lost" else (small,)


def _ended(account: Answer, kind: str, random: Random) -> Answer:
    attempts = account.attempts
    ms = sum(attempt.ms for attempt in attempts)
    account = replace(account, ms=ms, first_token_ms=attempts[0].ms + random.lognormvariate(4.2, 0.5))
    if kind == "escalated":
        reason = f"acceptance {attempts[1].confidence:.2f} < 0.72 after 16 tokens"
        confidence = attempts[1].confidence
        return replace(
            account,
            escalated=True,
            adapter=None,
            adapter_version=None,
            model=LARGE,
            reason=reason,
            confidence=confidence,
        )
    if kind == "cached":
        return replace(account, cache="exact", attempts=attempts[1:], first_token_ms=0.6, ms=0.9)
    if kind == "answered":
        tier = "flex" if account.key_id == "nightly" else "default"
        reason = f"acceptance {attempts[1].confidence:.2f} >= 0.72 after 16 tokens"
        return replace(account, tier=tier, reason=reason, confidence=attempts[1].confidence)
    unanswered = replace(account, adapter=None, adapter_version=None, model=None, first_token_ms=None)
    if kind == "lost":
        return replace(unanswered, outcome="lost", attempts=(), ms=0.0, route=None, route_probability=None)
    if kind == "shadow":
        return replace(unanswered, outcome="shadow", shadow_of="q0", attempts=attempts[1:])
    return replace(unanswered, outcome=kind)  # type: ignore[arg-type]
