"""The response cache of one gateway: look up, answer from it or generate, keep.

    lookup = cache.lookup(query, num_choices, fingerprint.value)          None: never from the cache
    found = await cache.find(lookup, opted_in)                            found.answer: give it again
    cache.put(lookup, recording.answer(account), found.vector)            else generate, then keep

Equal queries that come at once are each generated: joining them would make one client wait for another's stream.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_app.cache.answers import CachedAnswer
from serve_app.cache.lookup import Lookup, lookup_of
from serve_app.cache.neighbours import Neighbours, Vector
from serve_app.cache.policy import SemanticPolicy, read
from serve_app.cache.store import AnswerStore
from serve_app.cache.vectors import VectorSource
from serve_app.config.cache import CacheSettings
from serve_app.core import CacheHit, ConfigError, DataError, HeadraceError, Query

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache has for a query."""

    answer: CachedAnswer | None = None
    """None: it has to be generated."""
    kind: CacheHit | None = None
    similarity: float | None = None
    """Cosine to the question whose answer this is; None where nothing was compared."""
    vector: Vector | None = None
    """Of the question, to be handed to `put`; None where the query is not for the semantic cache."""


@dataclass(frozen=True, slots=True)
class CacheReport:
    """Counts since the gateway started, and what is held now."""

    exact_hits: int
    semantic_hits: int
    misses: int
    """Look-ups that found nothing; queries that are never looked up are in none of the three."""
    stored: int
    evicted: int
    expired: int
    vector_errors: int
    """Questions whose vector could not be had; each is a miss as well."""
    entries: int
    questions: int
    """Known to the semantic cache; each is one of `entries`."""
    num_bytes: int


class ResponseCache:
    """Answers in this process's memory. For one event loop; only `find` awaits."""

    def __init__(
        self,
        settings: CacheSettings,
        vectors: VectorSource | None = None,
        *,
        greedy_by_default: bool = True,
        warm_adapters: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`greedy_by_default`: as `Fingerprint` says. `warm_adapters`: those whose manifest names a temperature.

        Raises ConfigError where the policy cannot be used, or was fitted with another encoder than `vectors`.
        """
        self.settings = settings
        self._greedy_by_default = greedy_by_default
        self.warm_adapters = frozenset(warm_adapters)
        """May be replaced at any time, as engines tell."""
        self._policy = _policy(settings, vectors)
        self._vectors = vectors if self._policy else None
        self._neighbours = Neighbours(settings.semantic.max_entries)
        self._store = AnswerStore(settings.max_mb * 1024 * 1024, settings.ttl_s, self._neighbours.discard, clock)
        self._semantic_keys = frozenset(settings.semantic.keys)
        self._exact_hits = self._semantic_hits = self._misses = self._stored = self._vector_errors = 0

    def lookup(
        self, query: Query, num_choices: int, fingerprint: str, allowed: Sequence[str] | None = None
    ) -> Lookup | None:
        """Where to look; None: switched off, or the query is not greedy. `allowed`: the models its key may use."""
        if not self.settings.enabled:
            return None
        return lookup_of(query, num_choices, fingerprint, allowed, self._greedy_by_default)

    async def find(self, lookup: Lookup, opted_in: bool = False) -> Found:
        """The answer to the same request, or, for keys that asked for it, to a question that means the same.

        `opted_in`: the key has the semantic cache switched on, beside those that the settings name. A failing encoder
        is a miss, counted and logged.
        """
        answer = self._store.get(lookup.exact)
        if answer is not None:
            self._exact_hits += 1
            return Found(answer, "exact")
        vector = None
        if lookup.context is not None and (opted_in or lookup.key_id in self._semantic_keys):
            vector = await self._vector(lookup.question)
        found = Found() if vector is None or lookup.context is None else self._nearest(lookup.context, vector)
        if found.answer is None:
            self._misses += 1
        else:
            self._semantic_hits += 1
        return found

    def put(self, lookup: Lookup, answer: CachedAnswer | None, vector: Vector | None = None) -> bool:
        """Keep a generated answer; whether it was kept. Never hand in an answer that came from the cache."""
        if answer is None or (lookup.takes_default and self._may_sample(answer)):
            return False
        if not self._store.put(lookup.exact, answer):
            return False
        self._stored += 1
        if vector is not None and lookup.context is not None:
            self._neighbours.add(lookup.context, lookup.exact, vector)
        return True

    def _may_sample(self, answer: CachedAnswer) -> bool:
        """Whether an adapter behind the answer, be it that of one member of an ensemble, samples by default."""
        members = {one.adapter for one in answer.account.attempts if one.role == "member"}
        return not self.warm_adapters.isdisjoint(members | {answer.account.adapter})

    def report(self) -> CacheReport:
        """For metrics and the dashboard."""
        return CacheReport(
            exact_hits=self._exact_hits,
            semantic_hits=self._semantic_hits,
            misses=self._misses,
            stored=self._stored,
            evicted=self._store.num_evicted,
            expired=self._store.num_expired,
            vector_errors=self._vector_errors,
            entries=len(self._store),
            questions=len(self._neighbours),
            num_bytes=self._store.num_bytes,
        )

    async def _vector(self, question: str) -> Vector | None:
        if self._vectors is None:
            return None
        try:
            return await self._vectors.vector(question)
        except HeadraceError as error:
            self._vector_errors += 1
            _LOG.warning("The semantic cache cannot be asked: %s", error)
            return None

    def _nearest(self, context: str, vector: Vector) -> Found:
        """The nearest question whose answer still counts; those that do not are forgotten on the way."""
        assert self._policy is not None
        while (near := self._neighbours.nearest(context, vector)) is not None:
            key, similarity = near
            if not similarity > self._policy.threshold:
                return Found(similarity=similarity, vector=vector)
            answer = self._store.get(key)
            if answer is not None:
                return Found(answer, "semantic", similarity, vector)
            self._neighbours.discard(key)
        return Found(vector=vector)


def _policy(settings: CacheSettings, vectors: VectorSource | None) -> SemanticPolicy | None:
    if not settings.enabled or settings.semantic.policy is None:
        return None
    if vectors is None:
        raise ConfigError("cache.semantic.policy is set and there is no encoder to compare questions with: unset it.")
    try:
        policy = read(Path(settings.semantic.policy))
    except DataError as error:
        raise ConfigError(f"cache.semantic.policy: {error}") from error
    if policy.encoder_digest != vectors.digest:
        raise ConfigError(
            f"cache.semantic.policy was fitted with encoder {policy.encoder_digest[:12]}, and {vectors.digest[:12]} "
            "serves: fit it again with `headrace cache fit`."
        )
    return policy
