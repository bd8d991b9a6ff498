"""Whether somebody would notice."""

from __future__ import annotations

from serve_app.checklist.checks import CHECKS
from serve_app.checklist.facts import Facts
from serve_app.checklist.item import Finding

_SCRAPED_FIX = "Point Prometheus at /metrics of every node, and load deploy/prometheus and deploy/grafana."


@CHECKS.add("observability.metrics", "Figures are collected", in_demo="warn")
async def metrics(facts: Facts) -> Finding:
    """Series of ours in the Prometheus of `checklist.prometheus_url`."""
    return await facts.prometheus.scraped(_SCRAPED_FIX)


@CHECKS.add("observability.alerts", "Alerts are loaded", in_demo="skip")
async def alerts(facts: Facts) -> Finding:
    """Rules of that Prometheus that are about Headrace."""
    return await facts.prometheus.alerts("Load deploy/prometheus/headrace.rules.yml, and route them to somebody.")


@CHECKS.add("observability.dashboards", "Somebody can see how it goes", in_demo="skip")
async def dashboards(facts: Facts) -> Finding:
    """The dashboard of deploy/grafana in the Grafana of `checklist.grafana_url`."""
    return await facts.grafana.dashboard("Import deploy/grafana/headrace.json.")


@CHECKS.add("observability.query_log", "Each query leaves a line")
async def query_log(facts: Facts) -> Finding:
    """`telemetry.query_log`."""
    form = facts.settings.telemetry.query_log
    if form == "off":
        return Finding.warn("No query is logged.", "Set telemetry.query_log to json.")
    return Finding.good(f"A line for each query, as {form}, without its text.")


@CHECKS.add("observability.traces", "Queries can be traced through the nodes", in_demo="skip")
async def traces(facts: Facts) -> Finding:
    """`telemetry.traces`."""
    telemetry = facts.settings.telemetry
    if telemetry.traces == "off":
        return Finding.warn("There are no traces.", "Set telemetry.traces to otlp and telemetry.otlp_url.")
    return Finding.good(f"{telemetry.sample_share:.0%} of the queries are traced to {telemetry.otlp_url}.")
