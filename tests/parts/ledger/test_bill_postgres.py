"""Bills and comparisons are the same on PostgreSQL as on SQLite."""

from serve_app.ledger import SqlLedger
from serve_app.ledger.bill import read_facts
from serve_app.ledger.price_store import PriceVersions
from serve_app.ledger.provisioned import HOUR_NS, Provisioned, ReplicaTime
from serve_app.ledger.reprice import reprice


async def test_both_databases_say_the_same(ledger, postgres_url, book, attempt, answer):
    accounts = [
        book.price(
            answer(
                f"q{index}",
                attempt("small", "escalated", 100, 10, busy_s=0.25),
                attempt("large", "accepted", 90, 20, busy_s=0.5),
                created_at_s=1790.0 * index,  # just before and after half and full hours, over two days
                route="legal" if index % 3 else None,
            )
        )
        for index in range(60)
    ]
    other = SqlLedger(postgres_url)
    await other.open()
    found = []
    for one in (ledger, other):
        await one.record(accounts)
        for _ in range(2):
            await Provisioned(one.store).add([ReplicaTime(3600, "fallback", HOUR_NS // 4)])
        await PriceVersions(one.store).keep(book.versions)
        facts = await read_facts(one.store, 1800.0, 100_000.0, "route")
        compared = (await reprice(one.store, book, 3580.0, 90_000.0, save=True)).total
        uses = sorted(facts.uses, key=lambda use: (use.hour_s, use.node))
        groups = sorted(facts.groups, key=lambda use: (str(use.group), use.node))
        found.append((uses, groups, facts.provisioned, facts.always_large_nusd, compared, facts.pruned_days))
    await other.close()
    assert found[0] == found[1]
    assert sum(use.busy_ns for use in found[0][0]) == 750_000_000 * sum(
        account.created_at_s < 100_800 for account in accounts
    )
    assert found[0][2] == [ReplicaTime(3600, "fallback", HOUR_NS // 2)]
