"""Queries run a second time in the background: to audit answers, to mirror traffic, and to compare a canary.

Nothing here delays or fails the query that the client waits for. Each shadow has an account of its own.
"""

from serve_app.patterns.shadow.audit import Auditor
from serve_app.patterns.shadow.background import in_background
from serve_app.patterns.shadow.canary import CanaryAnswer, CanaryShadow, OnCompared
from serve_app.patterns.shadow.mirror import Drafter, Mirror, Mirrored
from serve_app.patterns.shadow.report import OnShadow, Scorer, ShadowKind, ShadowReport
from serve_app.patterns.shadow.shadows import Shadows

__all__ = [
    "Auditor",
    "CanaryAnswer",
    "CanaryShadow",
    "Drafter",
    "Mirror",
    "Mirrored",
    "OnCompared",
    "OnShadow",
    "Scorer",
    "ShadowKind",
    "ShadowReport",
    "Shadows",
    "in_background",
]
