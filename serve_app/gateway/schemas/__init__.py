"""What the gateway answers, for /openapi.json and docs/http.md. Nothing is checked against these while it serves.

tests/unit/gateway/described.py holds the answers of all tests against them.
"""

from serve_app.gateway.schemas.shown import Schema, Shown, at_times, shown

__all__ = ["Schema", "Shown", "at_times", "shown"]
