"""What the call log tells about calls like a job's: how long their answers were, and how fast they went."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

import msgspec

from headway.config import Settings, state_dir
from headway.errors import ConfigError
from headway.report.plan_figures import Interval
from headway.store.rows import LogRow

__all__ = ["History", "history_of", "read_history"]

_ROWS_MAX = 5_000
"""Of the log's youngest tries, so many are looked at: a tenth of a second."""
_SAMPLES_MIN = 20
_BATCH = "batch"
"""The step of answers that came in a batch, see `Engine.adopt`: their time says nothing about a call's."""
_MINUTE_S, _SPAN_MIN_S, _PAUSE_S = 60.0, 10.0, 5.0


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one model at one provider; with no calls, everything is None."""

    samples: int = 0
    like: str = ""
    """Which calls these are: of the same model and output bound, or of the same model."""
    output_mean: Interval | None = None
    """Output tokens an answer: the mean, give or take two standard errors and a tenth."""
    output_p50: float | None = None
    output_p99: float | None = None
    """From 100 answers on."""
    input_per_byte: Interval | None = None
    """Input tokens per byte of request body, likewise, give or take a thirtieth."""
    latency_s: Interval | None = None
    """p50 and p99 of the time from sending to the end."""
    requests_per_min: float | None = None
    """Of the fastest minute among these calls: what the provider let through at least."""
    throttled: int = 0


def read_history(settings: Settings, *, model: str, path: str, origin: str, bound: int | None) -> History:
    """Look through the call log of an engine with these settings; a log that is not there tells nothing."""
    import os

    from headway.store.call_reader import CallLogReader

    if settings.log == "off":
        return History()
    file = state_dir(os.environ) / "calls.sqlite" if settings.log == "on" else settings.log
    try:
        with CallLogReader(file) as reader:
            rows = reader.attempts(limit=_ROWS_MAX)
    except ConfigError:
        return History()
    rows = [row for row in rows if (row.model, row.path, row.upstream) == (model, path, origin)]
    return history_of(rows, bound)


def history_of(rows: Sequence[LogRow], bound: int | None) -> History:
    """The same, out of tries that are like the job's in model, path and provider."""
    answered = [row for row in rows if row.outcome == "ok" and row.output_tokens and not row.usage_estimated]
    alike = [row for row in answered if row.output_tokens_max == bound]
    like = "this model and output bound"
    if len(alike) < _SAMPLES_MIN:
        alike, like = answered, "this model"
    if len(alike) < _SAMPLES_MIN:
        return History()
    outputs = sorted(float(row.output_tokens or 0) for row in alike)
    ratios = [row.input_tokens / row.body_bytes for row in alike if row.input_tokens and row.body_bytes]
    online = [row for row in alike if row.step != _BATCH]
    times = sorted(row.end_s - row.sent_s for row in online if row.end_s is not None and row.sent_s is not None)
    return History(
        samples=len(alike),
        like=like,
        output_mean=_mean(outputs, 0.1),
        output_p50=_at(outputs, 0.5),
        output_p99=_at(outputs, 0.99) if len(outputs) >= 100 else None,
        input_per_byte=_mean(ratios, 1 / 30) if len(ratios) >= _SAMPLES_MIN else None,
        latency_s=Interval(_at(times, 0.5), _at(times, 0.99)) if times else None,
        requests_per_min=_fastest_minute(rows),
        throttled=sum(row.outcome == "throttled" for row in rows),
    )


def _mean(values: Sequence[float], margin: float) -> Interval:
    """The mean, give or take two standard errors, and at least a share of it: these rows are not those."""
    mean = fmean(values)
    half = max(2.0 * stdev(values) / sqrt(len(values)), margin * mean)
    return Interval(round(max(0.0, mean - half), 6), round(mean + half, 6))


def _at(ordered: Sequence[float], q: float) -> float:
    return ordered[int(q * (len(ordered) - 1))]


def _fastest_minute(rows: Sequence[LogRow]) -> float | None:
    """Requests a minute that were let through in the fastest minute of a run; None without a run of 10 s.

    Of a run shorter than a minute all of it counts. Runs are told apart by pauses.
    """
    online = [row for row in rows if row.outcome == "ok" and row.sent_s is not None and row.step != _BATCH]
    sent = sorted(row.start_wall_s + (row.sent_s or 0.0) for row in online)
    starts = [0, *(i for i in range(1, len(sent)) if sent[i] - sent[i - 1] > _PAUSE_S)]
    fastest = None
    for start, end in zip(starts, [*starts[1:], len(sent)], strict=True):
        run = sent[start:end]
        span_s = min(_MINUTE_S, run[-1] - run[0]) if run else 0.0
        if span_s >= _SPAN_MIN_S:
            most = max(bisect_left(run, at_s + span_s) - place for place, at_s in enumerate(run))
            fastest = max(fastest or 0.0, most * _MINUTE_S / span_s)
    return fastest
