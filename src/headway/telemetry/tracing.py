"""OpenTelemetry: a span for every call of a model, with its tries below it, by the conventions for generative AI.

A call's span begins where the call comes in, below the `traceparent` that its request bears, else below the current
span; it ends when the answer has been read. Its tries become spans when they have ended, with the times they had. What
is sent to the provider is not touched: a `traceparent` goes on as the client sent it, and none is added, for a
provider has no use for our spans' ids. Prompts and answers are never told, keys only where that was asked for.

Only the API of OpenTelemetry is needed; spans go where the program's own SDK sends them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from headway.attempt.route import target_of
from headway.errors import ConfigError
from headway.types import Call, Trace
from headway.types.steps import StepRow
from headway.wire.endpoints import endpoint_of
from headway.wire.semconv import operation_of, provider_of

try:
    from opentelemetry import propagate
    from opentelemetry import trace as api
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TracerProvider

    from headway.telemetry.instruments import Instruments
except ImportError:
    raise ConfigError("OpenTelemetry is not installed; run: pip install 'headway[otel]'") from None

__all__ = ["Tracing", "shared"]

_OPEN_MAX: Final = 20_000
"""Calls that are remembered for their tries and for those that join them."""
_GOOD: Final = frozenset(("ok", "abandoned"))
"""That nobody waited any more is no error of the call's."""


class Tracing:
    """An observer that makes spans and metrics: ``engine.observe(headway.telemetry.Tracing())``.

    Args:
        tracer_provider: None: the global one.
        meter_provider: Likewise.
        upstreams: Base URLs by upstream's name, as configured.
        keys: Tell the id of the gateway's key as `headway.key`, too.

    Raises:
        ConfigError: The extra `otel` is not installed (on import).
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        upstreams: Mapping[str, str] | None = None,
        keys: bool = False,
    ) -> None:
        from headway import __version__

        self._tracer = api.get_tracer("headway", __version__, tracer_provider)
        self._instruments = Instruments(meter_provider, __version__)
        self._upstreams = upstreams or {}
        self._keys = keys
        self._calls: OrderedDict[str, _Known] = OrderedDict()

    def began(self, call: Call) -> None:
        """A call has begun; this runs in the context of whoever makes it."""
        trace = call.trace
        operation = operation_of(trace.path or call.path)
        if not operation:
            return
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider_of(call.origin, call.path),
            "gen_ai.request.model": trace.model,
            **_server(call.origin),
        }
        span = self._tracer.start_span(
            f"{operation} {trace.model}" if trace.model else operation,
            _parent(call.headers),
            SpanKind.CLIENT,
            attributes,
            start_time=_ns(trace.start_wall_s),
        )
        context = span.get_span_context()
        if context.is_valid:
            trace.trace_id = api.format_trace_id(context.trace_id)
        trace.parent = span
        self._calls[trace.id] = _Known(call.method, attributes, context)
        if len(self._calls) > _OPEN_MAX:
            self._calls.popitem(last=False)

    def finished(self, trace: Trace) -> None:
        """A call or a try has ended."""
        if trace.kind == "attempt":
            self._attempt(trace)
        elif isinstance(trace.parent, Span):
            self._call(trace, trace.parent)

    def stepped(self, rows: Sequence[StepRow]) -> None:
        """A pipeline's run has ended: its calls have told what there is to tell."""

    def _call(self, trace: Trace, span: Span) -> None:
        known = self._calls.get(trace.id)
        trace.parent = None
        end_s = trace.ended_at_s if trace.ended_at_s is not None else trace.started_at_s
        if known is not None:
            told = dict(known.attributes)
            if known.model:
                told["gen_ai.response.model"] = known.model
            if trace.outcome not in _GOOD:
                told["error.type"] = trace.outcome
            self._instruments.ended(trace, end_s - trace.started_at_s, told)
            if known.attempts == 0:
                del self._calls[trace.id]  # nobody can have joined it
        if span.is_recording():
            if known is not None and known.model:
                span.set_attribute("gen_ai.response.model", known.model)
            span.set_attributes(self._of_call(trace))
            for name, at_s in (
                ("headway.sent", trace.sent_at_s),
                ("headway.first_byte", trace.first_byte_at_s),
                ("headway.first_content", trace.first_content_at_s),
            ):
                if trace.stream and at_s is not None:
                    span.add_event(name, timestamp=_at(trace, at_s))
            flight = self._calls.get(trace.flight_id) if trace.flight_id != trace.id else None
            if flight is not None:
                span.add_link(flight.context, {"headway.link": "flight"})
            if trace.outcome not in _GOOD:
                span.set_status(Status(StatusCode.ERROR, trace.error_code or trace.outcome))
        span.end(_at(trace, end_s))

    def _of_call(self, trace: Trace) -> dict[str, Any]:
        usage, tags = trace.usage, trace.tags
        found: dict[str, Any] = {
            "headway.id": trace.id,
            "headway.outcome": trace.outcome,
            "headway.cache": trace.cache,
            "headway.attempts": trace.attempts,
            "headway.wait_s": trace.wait_s,
            "headway.cost_usd": trace.dollars,
            "headway.saved_usd": trace.saved_dollars,
            "headway.upstream": trace.upstream,
            "headway.run": tags.run,
            "headway.step": tags.step,
            "headway.pipeline": tags.parent,
            "headway.key": trace.tenant if self._keys else "",
            "gen_ai.request.max_tokens": trace.output_tokens_max,
            "gen_ai.request.stream": trace.stream or None,
            "gen_ai.response.finish_reasons": [trace.finish] if trace.finish else None,
            "http.response.status_code": trace.status,
            "error.type": trace.outcome if trace.outcome not in _GOOD else None,
        }
        if usage is not None:
            found |= {
                "gen_ai.usage.input_tokens": usage.input_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
                "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
            }
        if trace.stream and trace.first_content_at_s is not None:
            found["gen_ai.response.time_to_first_chunk"] = trace.first_content_at_s - trace.started_at_s
        return {name: value for name, value in found.items() if value not in ("", None)}

    def _attempt(self, trace: Trace) -> None:
        """A try, as a client's HTTP span; one that was never sent has none."""
        known = self._calls.get(trace.flight_id)
        if known is None:
            return
        known.attempts += 1
        known.model = trace.model
        if trace.sent_at_s is None or not known.context.trace_flags.sampled:
            return
        origin, path = self._place(trace)
        attributes: dict[str, Any] = {
            "http.request.method": known.method,
            "url.full": f"{origin}{path}",
            **_server(origin),
            "headway.upstream": trace.upstream,
            "headway.outcome": trace.outcome,
        }
        if trace.attempt_index:
            attributes["http.request.resend_count"] = trace.attempt_index
        if trace.status is not None:
            attributes["http.response.status_code"] = trace.status
        if trace.dollars is not None:
            attributes["headway.cost_usd"] = trace.dollars
        bad = trace.outcome not in _GOOD
        if bad:
            attributes["error.type"] = str(trace.status) if trace.status is not None else trace.outcome
        below = api.set_span_in_context(api.NonRecordingSpan(known.context), Context())
        span = self._tracer.start_span(
            known.method, below, SpanKind.CLIENT, attributes, start_time=_at(trace, trace.sent_at_s)
        )
        if trace.first_byte_at_s is not None:
            span.add_event("headway.first_byte", timestamp=_at(trace, trace.first_byte_at_s))
        if bad:
            span.set_status(Status(StatusCode.ERROR, trace.error_code or None))
        span.end(_at(trace, trace.ended_at_s if trace.ended_at_s is not None else trace.sent_at_s))

    def _place(self, trace: Trace) -> tuple[str, str]:
        """Where a try was sent to: origin and path."""
        base_url = self._upstreams.get(trace.upstream)
        if base_url is None:
            return trace.upstream, trace.path
        return target_of(base_url, endpoint_of(trace.path).removeprefix("/v1") or trace.path)


class _Known:
    """What tries, and who joins, need to know of a call."""

    __slots__ = ("attempts", "attributes", "context", "method", "model")

    def __init__(self, method: str, attributes: dict[str, Any], context: SpanContext) -> None:
        self.method = method
        self.attributes = attributes
        self.context = context
        self.model = ""
        self.attempts = 0


def _parent(headers: Sequence[tuple[str, str]]) -> Context | None:
    """What the request says it belongs to; None: whatever is current."""
    for name, _ in headers:
        if name == "traceparent":
            return propagate.extract(dict(headers), Context())
    return None


@lru_cache(maxsize=256)
def _split(origin: str) -> tuple[str, int | None]:
    parts = urlsplit(origin)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname or origin, port or {"https": 443, "http": 80}.get(parts.scheme)


def _server(origin: str) -> dict[str, Any]:
    host, port = _split(origin)
    return {"server.address": host, "server.port": port} if port is not None else {"server.address": host}


def _ns(wall_s: float) -> int:
    return int(wall_s * 1e9)


def _at(trace: Trace, at_s: float) -> int:
    """A moment of a trace, in nanoseconds of calendar time."""
    return _ns(trace.start_wall_s + at_s - trace.started_at_s)


@cache
def shared() -> Tracing:
    """The process's own, for engines whose setting `otel` is "on": to the program's global providers."""
    return Tracing()
