"""How nodes are combined into an answer: plain async classes over the protocols of `core`.

Knows no Ray, no HTTP, no prices, no tensors.
"""

from serve_app.patterns.answerers import Node, Single
from serve_app.patterns.cascade import Cascade
from serve_app.patterns.control import CascadeControl
from serve_app.patterns.guard import Guard
from serve_app.patterns.models import Fixed, Pattern, Routed
from serve_app.patterns.table import PatternTable
from serve_app.patterns.trace import Trace

__all__ = [
    "Cascade",
    "CascadeControl",
    "Fixed",
    "Guard",
    "Node",
    "Pattern",
    "PatternTable",
    "Routed",
    "Single",
    "Trace",
]
