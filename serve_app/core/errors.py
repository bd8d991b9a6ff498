"""Every error that a user may see, as a tree. Packages above add kinds of their own, such as `gateway.errors.NotFound`.

HeadraceError                 one sentence that says what to do; never shown as a traceback
├── ConfigError               a settings key or file is wrong; names the key
├── CatalogueError            a model is unknown, cannot be fetched, or is damaged
├── AdapterError              a folder is no adapter that this base can run
├── DataError                 a user's data file has a bad row; names file and line
├── LedgerError               the ledger cannot be read or written
│   └── JournalFull           no account can be written down before its query is answered
├── RetrieverError            documents cannot be searched, taken in or removed now
├── EngineError               the engine failed while answering
│   ├── DeadlineExceeded      the call was not finished in the time it was given
│   └── ReplicaLost           the replica died, or cannot be reached any more; another may answer
├── RetryLater                refused for now; `retry_after_s` says when to come back
│   ├── BudgetExceeded        a spending limit is reached, until its window ends
│   └── Overloaded            a queue is full
└── RequestError              the caller's mistake; `param` names the field
    ├── PromptTooLong         names both lengths, in tokens
    ├── ModelNotFound         no such model or adapter
    └── CollectionNotFound    no such collection of documents
"""

from collections.abc import Iterator
from contextlib import contextmanager


class HeadraceError(Exception):
    """Base of all errors a user may see; `str()` is one sentence that says what to do."""

    def __str__(self) -> str:  # subclasses hold more arguments, so that they survive pickling between replicas
        return str(self.args[0]) if self.args else ""


class ConfigError(HeadraceError):
    """A settings key or file is wrong."""


class CatalogueError(HeadraceError):
    """A model is unknown, cannot be fetched, or is damaged."""


class AdapterError(HeadraceError):
    """A folder is no adapter that this base can run."""


class DataError(HeadraceError):
    """A user's data file cannot be used; the message names the file and the line."""


class LedgerError(HeadraceError):
    """The ledger cannot be read or written."""


class JournalFull(LedgerError):
    """The local journal cannot grow: its disk is full, or its own bound is reached."""


class RetrieverError(HeadraceError):
    """Documents cannot be searched, taken in or removed now."""


class EngineError(HeadraceError):
    """An engine failed while answering."""


class DeadlineExceeded(EngineError):
    """A call was not finished within the time it was given."""


class ReplicaLost(EngineError):
    """The replica that answered died, or cannot be reached any more; another one may answer."""


class RetryLater(HeadraceError):
    """Refused for now. `retry_after_s`: seconds after which a retry may succeed."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s


class Overloaded(RetryLater):
    """A bounded queue is full."""


class BudgetExceeded(RetryLater):
    """A limit on money or tokens is reached, until its window ends."""


class RequestError(HeadraceError):
    """The caller's mistake. `param` names the request field at fault, `code` is OpenAI's error code."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param, code)
        self.param, self.code = param, code


class PromptTooLong(RequestError):
    """The prompt does not fit the context; the message names both lengths, in tokens."""


class ModelNotFound(RequestError):
    """No model or adapter has that name."""


class CollectionNotFound(RequestError):
    """There is no collection of documents of that name, or none that the caller may see."""


@contextmanager
def single_errors() -> Iterator[None]:
    """Around an asyncio.TaskGroup: the first HeadraceError or OSError of its tasks is raised as if it came alone."""
    try:
        yield
    except BaseExceptionGroup as group:
        told: BaseException | None = group.subgroup((HeadraceError, OSError))
        while isinstance(told, BaseExceptionGroup):
            told = told.exceptions[0]
        raise told or group from None
