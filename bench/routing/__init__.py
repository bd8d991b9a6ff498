"""Routing on public data, `python -m bench.routing`: RouteLLM's outcomes (strong against weak) and intent data sets."""
