"""The counting: an observer that folds every ended call, try and run into sums and buckets.

It runs on the event loop for each of them, so it is lean: one look-up finds the line that a call belongs to, one
bisection its bucket, some of them at a time, which costs half. No library for metrics is touched here;
`headway.telemetry.collector` shows it as one does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

from headway.telemetry.families import FAMILIES, LABELS_MAX, OTHER, SECONDS, SECONDS_SHORT
from headway.telemetry.lines import AttemptLine, CallLine, Histogram, Pair
from headway.telemetry.models import Models, fits
from headway.telemetry.routes import route_of
from headway.telemetry.states import State, add_to, nanos, packed
from headway.types import Trace
from headway.types.steps import StepRow

if TYPE_CHECKING:
    from headway.telemetry.collector import MetersCollector

__all__ = ["Meters"]

_KEPT: Final = frozenset(("memory", "sqlite", "redis", "stale", "joined"))
"""Answers that no provider wrote for this call."""
_IN_NANOS: Final = frozenset(family.name for family in FAMILIES if family.in_nanos)
_PENDING_MAX: Final = 256
_KEYS_MAX: Final = 500
_KNOWN_MAX: Final = 1024
_ENDED_MAX: Final = 32
"""How many traces are counted together."""
_HELD_BYTES_MAX: Final = 64 * 1024
"""A trace may hold its call's texts: none with larger ones waits to be counted."""
_Line = TypeVar("_Line", CallLine, AttemptLine)


class Meters:
    """Counts what engines do. See `headway.telemetry` for how it is used.

    One may observe several engines, one after the other or at once, on several threads: it belongs to the process.

    Args:
        tagged_steps: A call that was tagged with a step counts as that step: for a gateway, which never sees the
            pipeline itself. Where pipelines run in this process, their own rows say it.
        keys: Count by `Trace.tenant`, too: the id of the gateway's key. Off by default, as keys stand for people.
        extra: More figures of this process, asked for when the state is taken: family to value, in its unit.
    """

    def __init__(
        self, *, tagged_steps: bool = False, keys: bool = False, extra: Callable[[], Mapping[str, float]] | None = None
    ) -> None:
        self._tagged_steps = tagged_steps
        self._keys = keys
        self._extra = extra
        self._lock = Lock()
        self._calls: dict[tuple[str, str], CallLine] = {}
        self._call_lines: dict[tuple[str, str], CallLine] = {}
        self._attempts: dict[tuple[str, str], AttemptLine] = {}
        self._attempt_lines: dict[tuple[str, str], AttemptLine] = {}
        self._models = Models()
        self._tiers: dict[str, Pair] = {}
        self._wasted: dict[str, float] = {}
        self._pending: dict[str, float] = {}
        self._steps: dict[tuple[str, str], Histogram] = {}
        self._step_ends: dict[tuple[str, str, str], int] = {}
        self._by_key: dict[tuple[str, str], Pair] = {}
        self._refused: dict[str, int] = {}
        self._ended: deque[Trace] = deque()  # not counted yet

    # -- what happens ------------------------------------------------------------------------------------------------

    def finished(self, trace: Trace) -> None:
        """A call or a try has ended; see `headway.engine.record.Observer`."""
        self._ended.append(trace)
        if len(self._ended) >= _ENDED_MAX or trace.body_bytes + trace.reply_bytes > _HELD_BYTES_MAX:
            with self._lock:
                self._count()

    def stepped(self, rows: Sequence[StepRow]) -> None:
        """A pipeline's run has ended."""
        with self._lock:
            for row in rows:
                if row.end_s is not None:
                    began_s = 0.0 if row.index < 0 else (row.started_s if row.started_s is not None else row.end_s)
                    self._step(row.pipeline, row.step, row.outcome, row.end_s - began_s)

    def refused(self, code: str) -> None:
        """The gateway has turned somebody away."""
        with self._lock:
            code = code if code in self._refused or len(self._refused) < LABELS_MAX else OTHER
            self._refused[code] = self._refused.get(code, 0) + 1

    # -- what is told of it ------------------------------------------------------------------------------------------

    def state(self) -> State:
        """All that was counted so far: numbers by family and labels; see `headway.telemetry.states`."""
        state: State = {}
        with self._lock:
            self._count()
            for call_line in self._call_lines.values():
                call_line.tell(state)
            for attempt_line in self._attempt_lines.values():
                attempt_line.tell(state)
            for tier, pair in self._tiers.items():
                add_to(state, "headway_cache_results_total", (tier,), (pair.count,))
                if pair.amount:
                    add_to(state, "headway_saved_dollars_total", (tier,), (nanos(pair.amount),))
            for layer, dollars in self._wasted.items():
                add_to(state, "headway_wasted_dollars_total", (layer,), (nanos(dollars),))
            for (pipeline, step), histogram in self._steps.items():
                if step:
                    add_to(state, "headway_pipeline_step_duration_seconds", (pipeline, step), histogram.values())
                else:
                    add_to(state, "headway_pipeline_run_duration_seconds", (pipeline,), histogram.values())
            for (pipeline, step, outcome), count in self._step_ends.items():
                if step:
                    add_to(state, "headway_pipeline_steps_total", (pipeline, step, outcome), (count,))
                else:
                    add_to(state, "headway_pipeline_runs_total", (pipeline, outcome), (count,))
            for code, count in self._refused.items():
                add_to(state, "headway_refused_total", (code,), (count,))
            for (key, outcome), pair in self._by_key.items():
                add_to(state, "headway_key_requests_total", (key, outcome), (pair.count,))
                add_to(state, "headway_key_dollars_total", (key,), (nanos(pair.amount),))
        for name, value in (self._extra() if self._extra is not None else {}).items():
            add_to(state, name, (), (nanos(value) if name in _IN_NANOS else value,))
        return state

    def packed(self) -> bytes:
        """The same in bytes, to be added to other processes'."""
        return packed(self.state())

    def collector(self, snapshot: Callable[[], Mapping[str, object]] | None = None) -> MetersCollector:
        """What a registry of prometheus-client takes.

        Args:
            snapshot: `engine.snapshot`, for what is in flight and queued, limits and breakers. It is called on the
                thread that collects; where that matters, as for an engine on another loop, leave it out.

        Raises:
            ConfigError: The extra `prometheus` is not installed.
        """
        from headway.telemetry.collector import MetersCollector

        return MetersCollector(self, snapshot)

    def _count(self) -> None:
        """Fold in what has ended, in order. With the lock."""
        while self._ended:
            trace = self._ended.popleft()
            (self._call if trace.kind == "call" else self._attempt)(trace)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _call(self, trace: Trace) -> None:
        outcome, cache, started_s, ended_s = trace.outcome, trace.cache, trace.started_at_s, trace.ended_at_s
        took_s = ended_s - started_s if ended_s is not None else 0.0
        wait_s, first_at_s, ended = trace.wait_s, trace.first_content_at_s, (outcome, trace.status)
        line = self._calls.get((trace.path, trace.model)) or self._call_line(trace)
        ends = line.ends
        ends[ended] = ends.get(ended, 0) + 1
        line.took_s += took_s
        line.duration[bisect_left(SECONDS, took_s)] += 1
        if wait_s:
            line.wait_s += wait_s
            line.wait[bisect_left(SECONDS, wait_s)] += 1
        if first_at_s is not None and trace.stream:
            self._streamed(trace, line, first_at_s - started_s, took_s)
        if outcome == "ok":  # a call that failed with the one that it had joined was answered by nobody
            tier = self._tiers.get(cache) or self._tier(cache)
            tier.count += 1
            if trace.saved_dollars:
                tier.amount += trace.saved_dollars
        if self._pending:
            self._judge(trace)
        if self._keys and trace.tenant:
            self._key(trace)
        if self._tagged_steps and trace.tags.step:
            self._tagged(trace, took_s)

    @staticmethod
    def _streamed(trace: Trace, line: CallLine, first_s: float, took_s: float) -> None:
        """The times that only streams have."""
        line.first_s += first_s
        line.first[bisect_left(SECONDS, first_s)] += 1
        usage = trace.usage
        if usage is not None and usage.output_tokens > 1 and trace.cache not in _KEPT:
            each_s = (took_s - first_s) / (usage.output_tokens - 1)
            line.each_s += each_s
            line.each[bisect_left(SECONDS_SHORT, each_s)] += 1

    def _call_line(self, trace: Trace) -> CallLine:
        """The line for a path and a model, found for the first time."""
        model = self._models.label(trace.model, proven=trace.outcome == "ok")
        labels = route_of(trace.path, trace.format), model
        line = self._call_lines.get(labels)
        if line is None:
            if len(self._call_lines) >= LABELS_MAX:
                labels = OTHER, OTHER
            line = self._call_lines.setdefault(labels, CallLine(labels))
        self._know(self._calls, (trace.path, trace.model), line, settled=OTHER not in labels)
        return line

    def _tier(self, cache: str) -> Pair:
        """`Trace.cache` has a fixed set of values; "" is a call for which no cache was asked."""
        return self._tiers.setdefault(cache or "off", Pair())

    def _tagged(self, trace: Trace, took_s: float) -> None:
        tags = trace.tags
        outcome = "ok" if trace.outcome == "ok" else "cancelled" if trace.outcome == "abandoned" else "failed"
        self._step(tags.parent, tags.step.partition("#")[0], outcome, took_s)

    def _key(self, trace: Trace) -> None:
        by_key, labels = self._by_key, (trace.tenant, trace.outcome or "")
        if labels not in by_key and len(by_key) >= _KEYS_MAX:
            labels = (OTHER, labels[1])
        pair = by_key.setdefault(labels, Pair())
        pair.count += 1
        pair.amount += trace.dollars or 0.0

    # -- tries -------------------------------------------------------------------------------------------------------

    def _attempt(self, trace: Trace) -> None:
        outcome, usage, dollars, sent_at_s = trace.outcome, trace.usage, trace.dollars, trace.sent_at_s
        line = self._attempts.get((trace.upstream, trace.model)) or self._attempt_line(trace)
        if tried := sent_at_s is not None or outcome == "connect_failed":  # else it never left us
            ends = line.ends
            ends[outcome] = ends.get(outcome, 0) + 1
        if sent_at_s is not None and trace.ended_at_s is not None:
            took_s = trace.ended_at_s - sent_at_s
            line.took_s += took_s
            line.duration[bisect_left(SECONDS, took_s)] += 1
        if usage is not None:
            if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
                line.used(usage)
            else:
                line.input += usage.input_tokens
                line.output += usage.output_tokens
        if dollars is None:
            line.unpriced += tried
        elif dollars:
            line.dollars += dollars
            if outcome != "ok":
                self._waste(trace, dollars)

    def _attempt_line(self, trace: Trace) -> AttemptLine:
        model = self._models.label(trace.model, proven=trace.outcome == "ok")
        labels = trace.upstream, model
        line = self._attempt_lines.get(labels)
        if line is None:
            if len(self._attempt_lines) >= LABELS_MAX:
                labels = OTHER, OTHER
            line = self._attempt_lines.setdefault(labels, AttemptLine(labels))
        self._know(self._attempts, (trace.upstream, trace.model), line, settled=OTHER not in labels)
        return line

    def _waste(self, trace: Trace, dollars: float) -> None:
        """Paid for nothing. Whether a try that was let go of lost to another shows when its call ends."""
        if trace.outcome != "abandoned":
            self._wasted["retry"] = self._wasted.get("retry", 0.0) + dollars
            return
        pending = self._pending
        pending[trace.flight_id] = pending.get(trace.flight_id, 0.0) + dollars
        if len(pending) > _PENDING_MAX:
            self._lose(pending.pop(next(iter(pending))), "abandoned")

    def _judge(self, trace: Trace) -> None:
        if (dollars := self._pending.pop(trace.flight_id, None)) is not None:
            self._lose(dollars, "hedge" if trace.outcome == "ok" else "abandoned")

    def _lose(self, dollars: float, layer: str) -> None:
        self._wasted[layer] = self._wasted.get(layer, 0.0) + dollars

    # -- names -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _know(known: dict[tuple[str, str], _Line], key: tuple[str, str], line: _Line, *, settled: bool) -> None:
        """Find it at once from now on. What counts as "other" is looked at again: it may prove itself."""
        if settled:
            if len(known) >= _KNOWN_MAX:
                known.clear()  # paths with ids in them: start over rather than grow
            known[key] = line

    def _step(self, pipeline: str, step: str, outcome: str, took_s: float) -> None:
        labels = pipeline, step
        histogram = self._steps.get(labels)
        if histogram is None:
            if len(self._steps) >= LABELS_MAX or not (fits(pipeline) and fits(step)):
                labels = (OTHER, OTHER) if step else (OTHER, "")
            histogram = self._steps.setdefault(labels, Histogram(SECONDS))
        histogram.counts[bisect_left(SECONDS, took_s)] += 1
        histogram.sum += took_s
        ended = (*labels, outcome)
        self._step_ends[ended] = self._step_ends.get(ended, 0) + 1
