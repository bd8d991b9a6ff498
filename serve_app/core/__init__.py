"""The nouns of Headrace and the protocols its nodes answer to. Standard library only.

Everything that crosses a process boundary is a frozen dataclass.

    errors      the tree of errors; each is one sentence that says what to do
    queries     what is asked of a gateway, and of an engine
    generation  what an engine yields
    passages    what is looked for in documents, and what is found
    accounts    what became of a query, and what it cost
    nodes       the protocols: Engine, GroupEngine, Router, Retriever, Ledger
"""

from serve_app.core.accounts import NANO_USD, Answer, Attempt, AttemptRole, CacheHit, Opening, Outcome
from serve_app.core.errors import (
    AdapterError,
    BudgetExceeded,
    CatalogueError,
    CollectionNotFound,
    ConfigError,
    DataError,
    DeadlineExceeded,
    EngineError,
    HeadraceError,
    JournalFull,
    LedgerError,
    ModelNotFound,
    Overloaded,
    PromptTooLong,
    ReplicaLost,
    RequestError,
    RetrieverError,
    RetryLater,
    single_errors,
)
from serve_app.core.generation import Delta, FinishReason, MemberDelta, TokenStat, Usage
from serve_app.core.nodes import Engine, EngineInfo, GroupEngine, Ledger, Retriever, Router, RouteScore
from serve_app.core.passages import Passage, Retrieval, Search, SearchMode
from serve_app.core.queries import RESERVED_MODELS, Call, Group, Message, Query, SamplingParams, Tier

__all__ = [
    "NANO_USD",
    "RESERVED_MODELS",
    "AdapterError",
    "Answer",
    "Attempt",
    "AttemptRole",
    "BudgetExceeded",
    "CacheHit",
    "Call",
    "CatalogueError",
    "CollectionNotFound",
    "ConfigError",
    "DataError",
    "DeadlineExceeded",
    "Delta",
    "Engine",
    "EngineError",
    "EngineInfo",
    "FinishReason",
    "Group",
    "GroupEngine",
    "HeadraceError",
    "JournalFull",
    "Ledger",
    "LedgerError",
    "MemberDelta",
    "Message",
    "ModelNotFound",
    "Opening",
    "Outcome",
    "Overloaded",
    "Passage",
    "PromptTooLong",
    "Query",
    "ReplicaLost",
    "RequestError",
    "Retrieval",
    "Retriever",
    "RetrieverError",
    "RetryLater",
    "RouteScore",
    "Router",
    "SamplingParams",
    "Search",
    "SearchMode",
    "Tier",
    "TokenStat",
    "Usage",
    "single_errors",
]
