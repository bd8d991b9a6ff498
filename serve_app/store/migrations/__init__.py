"""Numbered schema revisions, applied once each; `serve_app.store.migrate` runs them."""
