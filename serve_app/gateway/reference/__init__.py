"""docs/http.md, written from what /openapi.json says so that it cannot drift."""

from serve_app.gateway.reference.page import markdown

__all__ = ["markdown"]
