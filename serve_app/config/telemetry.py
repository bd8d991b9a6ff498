"""Traces and logs."""

from typing import Literal

from pydantic import Field

from serve_app.config.section import Section


class TelemetrySettings(Section):
    """What a replica tells of single queries. Neither prompts nor answers are ever part of it."""

    traces: Literal["off", "otlp"] = Field(
        "off", description="`otlp` sends OpenTelemetry spans over HTTP (extra `telemetry`)."
    )
    otlp_url: str = Field(
        "http://127.0.0.1:4318/v1/traces", description="Where spans go; an OpenTelemetry collector listens there."
    )
    sample_share: float = Field(
        0.05, ge=0, le=1, description="Share of the queries that are traced; an incoming traceparent decides by itself."
    )
    service_name: str = Field("headrace", min_length=1, description="`service.name` of the spans.")
    query_log: Literal["off", "text", "json"] = Field(
        "text", description="One line per query in the replica's log, with its id, route, outcome, tokens and cost."
    )
