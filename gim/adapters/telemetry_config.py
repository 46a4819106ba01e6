"""Who is told what a service does, besides Prometheus, which asks. Imports no client."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """Where traces go."""

    otlp_endpoint: str = ""  # http(s)://host:port of an OpenTelemetry collector (gRPC); empty: no traces
    trace_share: float = 1.0  # of the videos that are traced
