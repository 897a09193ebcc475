"""The gateway's own OpenTelemetry SDK, told by the standard OTEL_* variables where to send what.

Read here: OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER ("otlp", the default, "console" or "none") and
OTEL_EXPORTER_OTLP_PROTOCOL (only "http/protobuf"). Read by the SDK itself: endpoints, headers, sampler, intervals,
OTEL_SERVICE_NAME ("headway" where it is not set), OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED and the rest.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from headway.errors import ConfigError

__all__ = ["exporting"]

STOP_S: Final = 3.0
"""How long the end waits for what is to be sent still."""
_HTTP: Final = "http/protobuf"


@asynccontextmanager
async def exporting(environ: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """Set the global providers up, unless the process has some already (`opentelemetry-instrument`); flush at the end.

    Args:
        environ: Instead of the process's environment, for what is read here.

    Raises:
        ConfigError: The extra `serve-otel` is not installed, or a variable names what there is not.
    """
    stops = _started(os.environ if environ is None else environ)
    try:
        yield
    finally:
        if stops:
            # A collector that does not answer holds up nothing but this thread.
            thread = threading.Thread(target=lambda: [stop() for stop in stops], daemon=True)
            thread.start()
            await asyncio.to_thread(thread.join, STOP_S)


def _started(environ: Mapping[str, str]) -> list[Callable[[], object]]:
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
    except ImportError:
        raise ConfigError("the SDK of OpenTelemetry is not installed; run: pip install 'headway[serve-otel]'") from None
    traces, measures = (_chosen(environ, f"OTEL_{kind}_EXPORTER") for kind in ("TRACES", "METRICS"))
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() or _HTTP
    if protocol != _HTTP and "otlp" in (traces, measures):
        raise ConfigError(f"OTEL_EXPORTER_OTLP_PROTOCOL must be {_HTTP!r} here, not {protocol[:40]!r}; unset it")
    resource = Resource.create(_resource(environ))
    stops: list[Callable[[], object]] = []
    if traces != "none" and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter() if traces == "otlp" else ConsoleSpanExporter()
        tracers.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(tracers)
        stops.append(tracers.shutdown)
    if measures != "none" and not isinstance(metrics.get_meter_provider(), MeterProvider):
        told = OTLPMetricExporter() if measures == "otlp" else ConsoleMetricExporter()
        meters = MeterProvider([PeriodicExportingMetricReader(told)], resource=resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        stops.append(meters.shutdown)
    return stops


def _chosen(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip() or "otlp"
    if value not in ("otlp", "console", "none"):
        raise ConfigError(f'{name} must be "otlp", "console" or "none" here, not {value[:40]!r}; change or unset it')
    return value


def _resource(environ: Mapping[str, str]) -> dict[str, str]:
    """What is said of this service; what is given here would win over the variables."""
    from headway import __version__

    found = {"service.version": __version__}
    named = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not environ.get("OTEL_SERVICE_NAME") and not named:
        found["service.name"] = "headway"
    return found
