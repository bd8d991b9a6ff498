"""The page at /dashboard: static files that read the gateway's JSON, in any browser, with nothing from elsewhere.

Knows HTTP only as far as serving files goes; the figures come from `/v1/ledger/stats`, `/v1/ledger/queries` and
`/v1/status`, which the browser asks with the viewer's key. See docs/dashboard.md.
"""

from serve_app.dashboard.pages import dashboard_routes

__all__ = ["dashboard_routes"]
