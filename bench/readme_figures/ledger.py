"""The ledger: what accounting costs, what faults do, how it does with millions of rows."""

from typing import Any

QUESTIONS = {
    "totals of all": "totals of 30 days",
    "all by route and model": "by route and model",
    "all by every key but hour": "by every group but hour",
    "all by hour": "by hour, 30 days",
    "7 days of one key by route": "one key's 7 days by route",
    "newest 50 of one key": "newest 50 of one key",
    "one query by id": "one query by its id",
    "peer: all by route and model, from the accounts": "by route and model with no totals kept",
}


def accounting(found: dict[str, Any], circumstances: str) -> str:
    """Parts of one query's accounting, and the rate of commits."""
    commits = {row["batch_size"]: row["queries_per_s"] for row in found["commit"]}
    rows = "\n".join(
        f"| `{put['durability']}` | {put['begin_p50_us'] + put['price_p50_us'] + put['put_p50_us']:.0f} µs "
        f"| {put['synced_p50_us'] / 1000:.2f} / {put['synced_p99_us'] / 1000:.2f} "
        f"| {put['saved_p50_us'] / 1000:.2f} / {put['saved_p99_us'] / 1000:.2f} "
        f"| {put['sum_p50_us'] / 1000:.2f} / {put['sum_p99_us'] / 1000:.2f} |"
        for put in found["put"]
    )
    rate = found["put"][0]["reached_queries_per_s"]
    return (
        f"**Ledger**, all of one query's accounting at {rate} queries/s, milliseconds p50 / p99; both waits are for a "
        "disk:\n\n"
        "| durability | own work | before the dispatch | before the last chunk | sum |\n|---|---|---|---|---|\n"
        f"{rows}\n\nSQLite takes {commits[500]:,} queries/s in batches of 500, {commits[1]:,} with a commit each. "
        f"{circumstances}."
    )


def chaos(found: dict[str, Any], circumstances: str) -> str:
    """Books after faults, and what a query waits for them."""
    blows = ", ".join(blow["what"] for blow in found["blows"])
    whole = found["overhead"]["whole"]
    return (
        f"**Faults** ({found['database']}, two gateways): {blows}. Of {found['requests']:,} requests "
        f"{found['answered']:,} were answered to the end; rows of these {found['rows']:,}, missing {found['missing']}, "
        f"twice {found['duplicate']}, other sums than the client's {found['differing']}; "
        f"{found['outcomes'].get('lost', 0)} queries were lost with their gateways, and are recorded as such. "
        f"Against the same gateway with no ledger, at "
        f"{found['overhead']['queries_per_s']} queries/s over HTTP on scripted engines, with clients, gateway and the "
        f"database's writer in a process each, a query takes "
        f"{found['overhead_p50_ms']:.2f} ms longer at p50 and {found['overhead_p99_ms']:.2f} ms at p99 "
        f"({whole['off']['p50']:.2f} and {whole['off']['p99']:.2f} ms without). {circumstances}."
    )


def scale(found: dict[str, Any], circumstances: str) -> str:
    """Millions of accounts on both databases."""
    databases = [name for name in ("sqlite", "postgresql") if name in found]
    titles = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    first = found[databases[0]]
    head = " | ".join(f"{titles[name]}, cold / warm ms" for name in databases)
    rows = "\n".join(
        f"| {title} | " + " | ".join(_times(found[name]["questions"][question]) for name in databases) + " |"
        for question, title in QUESTIONS.items()
    )
    loads = "; ".join(
        f"{titles[name]} takes {found[name]['rows_per_s']:,} a second and {found[name]['bytes_per_query']} bytes each "
        f"({found[name]['size_mb'] / 1000:.1f} GB)"
        for name in databases
    )
    return (
        f"**{first['num_rows']:,} queries** of {found['num_days']} days in the ledger: {loads}.\n\n"
        f"| question | {head} |\n|---|{'---|' * len(databases)}\n{rows}\n\n{circumstances}."
    )


def _times(question: dict[str, float]) -> str:
    warm = question.get("warm_ms")
    return f"{question['cold_ms']:,.0f}" + (f" / {warm:,.0f}" if warm is not None else "")
