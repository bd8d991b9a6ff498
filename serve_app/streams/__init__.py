"""Streams of anything, read at once. Knows neither deltas nor choices."""

from serve_app.streams.merge import merged

__all__ = ["merged"]
