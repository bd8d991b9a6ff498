"""How nodes are combined into an answer: plain async classes over the protocols of `core`.

    table, models                   the names that a gateway serves, and what stands behind each
    answerers, cascade, ensemble    what produces one answer
    rag, documents, prerouter       what is asked before: documents, and what the large model would gain
    looks, patience, failover       how a node is asked, how long it may take, and what is done when it fails
    guard, warmth                   who may stop an escalation, and a large model that may have no replica
    versions                        which version of an adapter answers a conversation
    trace                           what happened to a query, for its account
    control, observer, shadow       the watch over a cascade: audits, mirrored queries, comparisons of canaries

Knows no Ray, no HTTP, no prices, no tensors.
"""

from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.cascade import Cascade, WhenFailed
from serve_app.patterns.control import CascadeControl
from serve_app.patterns.documents import DocumentSearch
from serve_app.patterns.guard import Guard
from serve_app.patterns.models import Fixed, Pattern, Routed
from serve_app.patterns.patience import Patience
from serve_app.patterns.table import PatternTable
from serve_app.patterns.trace import Trace
from serve_app.patterns.versions import AdapterVersions, Configured, Misversioned, takes_canary

__all__ = [
    "AdapterVersions",
    "Cascade",
    "CascadeControl",
    "Configured",
    "DocumentSearch",
    "Fixed",
    "Guard",
    "Misversioned",
    "Node",
    "Patience",
    "Pattern",
    "PatternTable",
    "Routed",
    "Single",
    "Trace",
    "WhenFailed",
    "takes_canary",
]
