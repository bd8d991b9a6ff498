"""The tracer that settings ask for. OpenTelemetry is imported only where traces are on."""

from importlib.util import find_spec

from serve_app.config.telemetry import TelemetrySettings
from serve_app.core import ConfigError
from serve_app.telemetry.tracing import NullTracer, Tracer

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def make_tracer(settings: TelemetrySettings, component: str = "gateway") -> Tracer:
    """`component` names the deployment whose replica this is.

    Raises ConfigError where traces are asked for and cannot be sent: the extra `telemetry` is missing, or the address
    is none.
    """
    if settings.traces == "off":
        return NullTracer()
    if not settings.otlp_url.startswith(("http://", "https://")):
        raise ConfigError(f"telemetry.otlp_url is {settings.otlp_url!r}; it begins with http:// or https://.")
    if not _installed():
        raise ConfigError(
            "telemetry.traces is 'otlp', which needs the extra `telemetry`: pip install 'headrace[telemetry]'."
        )
    from serve_app.telemetry.otel import OtelTracer

    return OtelTracer(settings, component)


def _installed() -> bool:
    try:
        return find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False
