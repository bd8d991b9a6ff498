"""Answers given before, in a gateway's memory: exact matches, questions that mean the same, and repeated requests.

    query ─▶ Lookup ─▶ AnswerStore: the same request? ─────────────────────▶ CachedAnswer ─▶ deltas again
                └────▶ Neighbours: a question like it, above the threshold? ─┘
    Idempotency-Key ─▶ IdempotentAnswers: the same bytes once more

Knows queries, deltas, accounts and vectors; knows no HTTP, no engines and no prices. Nothing is written to disk. What
an answer depends on beside the request (models, adapter versions, cascade) is its fingerprint, which others fill in.
From which similarity two questions count as one is fitted offline: `log_pairs`, `pairs`, `fitting` and `policy`.
"""

from serve_app.cache.answers import CachedAnswer, Recording
from serve_app.cache.fingerprint import Fingerprint
from serve_app.cache.idempotency import HEADER as IDEMPOTENCY_HEADER
from serve_app.cache.idempotency import Claim, IdempotentAnswers, KeyReused, StoredResponse
from serve_app.cache.lookup import Lookup
from serve_app.cache.response_cache import CacheReport, Found, ResponseCache
from serve_app.cache.vectors import VectorSource

__all__ = [
    "IDEMPOTENCY_HEADER",
    "CacheReport",
    "CachedAnswer",
    "Claim",
    "Fingerprint",
    "Found",
    "IdempotentAnswers",
    "KeyReused",
    "Lookup",
    "Recording",
    "ResponseCache",
    "StoredResponse",
    "VectorSource",
]
