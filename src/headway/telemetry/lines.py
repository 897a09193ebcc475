"""What is counted together: the calls of one route and model, the tries at one upstream with one model."""

from __future__ import annotations

from headway.telemetry.families import SECONDS, SECONDS_SHORT
from headway.telemetry.states import State, add_to, nanos
from headway.types import Usage

__all__ = ["AttemptLine", "CallLine", "Histogram", "Pair"]


def _buckets(bounds: tuple[float, ...]) -> list[int]:
    return [0] * (len(bounds) + 1)


class Histogram:
    """Counts by bucket, and the sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.counts = _buckets(bounds)
        self.sum = 0.0

    def values(self) -> list[int]:
        """As a state has it."""
        return [*self.counts, nanos(self.sum)]


class Pair:
    """How often, and how much."""

    __slots__ = ("amount", "count")

    def __init__(self) -> None:
        self.count = 0
        self.amount = 0.0


class CallLine:
    """Calls of one route and one model: counts by bucket, and sums of seconds."""

    __slots__ = (
        "duration", "each", "each_s", "ends", "first", "first_s", "labels", "took_s", "wait", "wait_s",
    )  # fmt: skip

    def __init__(self, labels: tuple[str, str]) -> None:
        self.labels = labels
        self.ends: dict[tuple[str | None, int | None], int] = {}
        self.duration, self.wait, self.first = _buckets(SECONDS), _buckets(SECONDS), _buckets(SECONDS)
        """Of `wait`, without the calls that did not wait."""
        self.each = _buckets(SECONDS_SHORT)
        self.took_s = self.wait_s = self.first_s = self.each_s = 0.0

    def tell(self, state: State) -> None:
        """Add it to a state."""
        labels, calls = self.labels, 0
        for (outcome, status), count in self.ends.items():
            calls += count
            status_class = f"{status // 100}xx" if status is not None else "none"
            add_to(state, "headway_requests_total", (*labels, outcome or "", status_class), (count,))
        add_to(state, "headway_request_duration_seconds", labels, (*self.duration, nanos(self.took_s)))
        at_once = calls - sum(self.wait)
        waits = (self.wait[0] + at_once, *self.wait[1:], nanos(self.wait_s))
        add_to(state, "headway_wait_seconds", labels[1:], waits)
        if any(self.first):
            add_to(state, "headway_time_to_first_token_seconds", labels, (*self.first, nanos(self.first_s)))
        if any(self.each):
            add_to(state, "headway_time_per_output_token_seconds", labels, (*self.each, nanos(self.each_s)))


class AttemptLine:
    """Tries at one upstream with one model."""

    __slots__ = (
        "cache_write", "cached", "dollars", "duration", "ends", "input", "labels", "output", "reasoning", "took_s",
        "unpriced",
    )  # fmt: skip

    def __init__(self, labels: tuple[str, str]) -> None:
        self.labels = labels
        self.ends: dict[str | None, int] = {}
        self.duration = _buckets(SECONDS)
        self.dollars = self.took_s = 0.0
        self.input = self.cached = self.cache_write = self.output = self.reasoning = self.unpriced = 0

    def used(self, usage: Usage) -> None:
        """Count tokens, each in one kind only. No kind ever shrinks, whatever a provider says."""
        inputs, outputs, reasoning = usage.input_tokens, usage.output_tokens, usage.reasoning_tokens
        if usage.cached_tokens or usage.cache_write_tokens:
            self.cached += usage.cached_tokens
            self.cache_write += usage.cache_write_tokens
            inputs = max(0, inputs - usage.cached_tokens - usage.cache_write_tokens)
        if reasoning:
            self.reasoning += reasoning
            outputs = max(0, outputs - reasoning)
        self.input += inputs
        self.output += outputs

    def tell(self, state: State) -> None:
        """Add it to a state."""
        upstream, model = self.labels
        for outcome, count in self.ends.items():
            add_to(state, "headway_attempts_total", (upstream, outcome or ""), (count,))
        add_to(state, "headway_throttled_total", (upstream,), (self.ends.get("throttled", 0),))
        add_to(state, "headway_attempt_duration_seconds", (upstream,), (*self.duration, nanos(self.took_s)))
        for kind, count in (
            ("input", self.input),
            ("input_cached", self.cached),
            ("input_cache_write", self.cache_write),
            ("output", self.output),
            ("output_reasoning", self.reasoning),
        ):
            if count > 0:
                add_to(state, "headway_tokens_total", (model, kind), (count,))
        add_to(state, "headway_dollars_total", (model,), (nanos(self.dollars),))
        if self.unpriced:
            add_to(state, "headway_unpriced_attempts_total", (model,), (self.unpriced,))
