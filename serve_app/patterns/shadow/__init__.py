"""Queries run a second time in the background: to audit accepted answers, and to mirror traffic before a switch.

Nothing here delays or fails the query that the client waits for. Each shadow has an account of its own.
"""

from serve_app.patterns.shadow.audit import Auditor
from serve_app.patterns.shadow.background import in_background
from serve_app.patterns.shadow.mirror import Drafter, Mirror, Mirrored
from serve_app.patterns.shadow.report import OnShadow, Scorer, ShadowKind, ShadowReport
from serve_app.patterns.shadow.shadows import Shadows

__all__ = [
    "Auditor",
    "Drafter",
    "Mirror",
    "Mirrored",
    "OnShadow",
    "Scorer",
    "ShadowKind",
    "ShadowReport",
    "Shadows",
    "in_background",
]
