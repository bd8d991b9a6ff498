"""Prices in round figures, builders of accounts, and a ledger in a temporary file."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from serve_app.config.prices import PricesSettings
from serve_app.core import Answer, Attempt, Usage
from serve_app.ledger import PriceBook, SqlLedger


@pytest.fixture(scope="session")
def prices() -> PricesSettings:
    """Nano-dollars per token: small 20 / 60.5; large 100 / 300, cached 50; local 7,000,000 / 900 and / 37 over 360."""
    return PricesSettings.model_validate(
        {
            "version": "test-1",
            "models": {
                "small": {"input_usd_per_mtok": "0.02", "output_usd_per_mtok": "0.0605"},
                "large": {
                    "input_usd_per_mtok": "0.1",
                    "output_usd_per_mtok": "0.3",
                    "cached_input_usd_per_mtok": "0.05",
                },
                "local": {"replica_usd_per_hour": "0.07", "prefill_tokens_per_s": 900, "decode_tokens_per_s": 37},
            },
        }
    )


@pytest.fixture(scope="session")
def book(prices: PricesSettings) -> PriceBook:
    """The prices above, with `large` as the large model."""
    return PriceBook(prices, large_model="large")


@pytest.fixture(scope="session")
def attempt() -> Callable[..., Attempt]:
    """Builds an attempt: `attempt("small", "accepted", 100, 10, choice_index=1)`."""

    def build(model: str, outcome: str, prompt_tokens: int, completion_tokens: int, **more: Any) -> Attempt:
        usage = Usage(prompt_tokens, more.pop("cached_tokens", 0), completion_tokens, more.pop("busy_s", 0.0))
        fields = {"node": "fallback" if model == "large" else "specialists", "adapter": None, "ms": 12.5, **more}
        return Attempt(model=model, outcome=outcome, usage=usage, **fields)  # type: ignore[arg-type]

    return build


@pytest.fixture(scope="session")
def answer() -> Callable[..., Answer]:
    """Builds an account: `answer("q1", attempt(…), attempt(…), route="legal")`."""

    def build(query_id: str, *attempts: Attempt, **more: Any) -> Answer:
        fields = {"created_at_s": 1000.0, "requested_model": "auto", "outcome": "accepted", **more}
        return Answer(query_id=query_id, attempts=attempts, **fields)

    return build


@pytest.fixture
def full(book: PriceBook, attempt: Callable[..., Attempt], answer: Callable[..., Answer]) -> Answer:
    """An account with every field set."""
    tried = attempt("small", "escalated", 100, 10, adapter="legal", adapter_version="abc", confidence=0.4, busy_s=0.25)
    used = attempt("large", "accepted", 90, 20, cached_tokens=8, choice_index=0, busy_s=1.5)
    return book.price(
        answer(
            "q-full", tried, used, key_id="k1", route="legal", route_probability=0.93, model="large", escalated=True,
            reason="mean probability 0.40 is below 0.55", confidence=0.4, first_token_ms=81.5, ms=912.0, tier="flex",
            gateway="g1", cache="semantic", shadow_of="q-before",
        )
    )  # fmt: skip


@pytest_asyncio.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqlLedger]:
    """An open, empty ledger in a file."""
    sql_ledger = SqlLedger(str(tmp_path / "ledger.sqlite3"))
    await sql_ledger.open()
    yield sql_ledger
    await sql_ledger.close()
