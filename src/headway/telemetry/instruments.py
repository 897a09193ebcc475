"""OpenTelemetry's metrics of ended calls: the conventions' own, and ours where there are none."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.util.types import Attributes

from headway.telemetry.models import Models
from headway.types import Trace

__all__ = ["Instruments"]

_SECONDS: Final = [round(0.01 * 2**n, 2) for n in range(14)]
"""0.01 to 81.92. Source: FACTS section 8."""
_TOKENS: Final = [4**n for n in range(14)]
"""1 to 67,108,864. Source: the conventions' advice for `gen_ai.client.token.usage`."""
_KEPT: Final = frozenset(("memory", "sqlite", "redis", "stale", "joined"))


class Instruments:
    """Counts calls.

    Args:
        provider: Of meters; None: the global one.
        version: Of the instrumentation.
    """

    def __init__(self, provider: MeterProvider | None, version: str) -> None:
        meter = get_meter("headway", version, meter_provider=provider)

        def seconds(name: str, said: str) -> Any:
            return meter.create_histogram(name, "s", said, explicit_bucket_boundaries_advisory=_SECONDS)

        operation = "gen_ai.client.operation"
        self._duration = seconds(f"{operation}.duration", "GenAI operation duration.")
        self._first = seconds(f"{operation}.time_to_first_chunk", "Time to the first content of a stream.")
        self._each = seconds(f"{operation}.time_per_output_chunk", "Mean time between a stream's output tokens.")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._wait = seconds("headway.wait", "What calls waited on our side: queue, pacing, budgets and back-off.")
        self._cost = meter.create_counter("headway.cost", "{USD}", "What calls cost, where prices are known.")
        self._saved = meter.create_counter("headway.saved", "{USD}", "What calls would have cost that were not sent.")
        self._models = Models()

    def ended(self, trace: Trace, took_s: float, attributes: dict[str, Any]) -> None:
        """A call of a model has ended.

        Args:
            trace: Its.
            took_s: From its start.
            attributes: The conventions' own of its span; models' names are bounded here.
        """
        proven = trace.outcome == "ok"
        for name in ("gen_ai.request.model", "gen_ai.response.model"):
            if name in attributes:
                attributes[name] = self._models.label(attributes[name], proven=proven)
        self._duration.record(took_s, attributes)
        self._wait.record(trace.wait_s, attributes)
        usage = trace.usage
        if trace.stream and trace.first_content_at_s is not None:
            first_s = trace.first_content_at_s - trace.started_at_s
            self._first.record(first_s, attributes)
            if usage is not None and usage.output_tokens > 1 and trace.cache not in _KEPT:
                self._each.record((took_s - first_s) / (usage.output_tokens - 1), attributes)
        if usage is not None and trace.cache not in _KEPT:
            self._use(usage.input_tokens, "input", attributes)
            self._use(usage.output_tokens, "output", attributes)
        if trace.dollars:
            self._cost.add(trace.dollars, attributes)
        if trace.saved_dollars:
            self._saved.add(trace.saved_dollars, {**attributes, "headway.cache": trace.cache})

    def _use(self, tokens: int, kind: str, attributes: dict[str, Any]) -> None:
        told: Attributes = {**attributes, "gen_ai.token.type": kind}
        self._tokens.record(tokens, told)
