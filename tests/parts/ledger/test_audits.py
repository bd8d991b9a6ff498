"""Estimates of always-large against what audits measured."""

from dataclasses import replace

import pytest

from serve_app.ledger import SqlLedger


@pytest.fixture(params=["sqlite", "postgres"])
async def ledger(request, tmp_path):
    url = str(tmp_path / "ledger.sqlite3") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = SqlLedger(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def audited(book, attempt, answer):
    """A query that the small model answered, and its audit with other tokens: `audited("q1", 50)`."""

    def build(query_id, completion_tokens, outcome="shadow"):
        query = book.price(answer(query_id, attempt("small", "accepted", 100, 10)))
        looked = attempt("large", outcome, 90, completion_tokens, role="shadow")
        fields = {"outcome": "shadow", "requested_model": "audit", "shadow_of": query_id}
        return query, book.price(answer(f"{query_id}-audit", looked, **fields))

    return build


async def test_audits_are_set_against_the_estimates_of_their_queries(ledger, audited):
    pairs = [audited("q1", 20), audited("q2", 1)]
    await ledger.record([account for pair in pairs for account in pair])
    estimated_nusd = sum(query.always_large_nusd for query, _ in pairs)
    measured_nusd = sum(audit.cost_nusd for _, audit in pairs)
    assert await ledger.always_large_check(None, None) == {
        "audited": 2,
        "estimated_usd": estimated_nusd / 1e9,
        "measured_usd": measured_nusd / 1e9,
        "measured_over_estimated": measured_nusd / estimated_nusd,
        "dearer": 1,
    }


async def test_what_cannot_be_compared_is_left_out(ledger, audited, attempt):
    broken = audited("q1", 20, outcome="failed")
    several, its_audit = audited("q2", 20)
    several = replace(several, attempts=(*several.attempts, replace(several.attempts[0], choice_index=1)))
    escalated, needless = audited("q3", 20)
    mirrored, mirror = audited("q4", 20)
    await ledger.record(
        [
            *broken, several, its_audit, replace(escalated, always_large_basis="measured"), needless, mirrored,
            replace(mirror, requested_model="mirror"),
        ]
    )  # fmt: skip
    check = await ledger.always_large_check(None, None)
    assert (check["audited"], check["measured_over_estimated"]) == (0, None)


async def test_a_range_is_respected(ledger, audited):
    pairs = [audited(f"q{n}", 20) for n in range(3)]
    await ledger.record([replace(each, created_at_s=10.0 * n) for n, pair in enumerate(pairs) for each in pair])
    assert (await ledger.always_large_check(10.0, 20.0))["audited"] == 1
