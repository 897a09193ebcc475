"""When requests are due: schedules as plain numbers, made ahead, in seconds from the first one.

Pure, but for `read_trace`. A schedule offers exactly the rate that was asked for; only its gaps are left to chance.
Poisson arrivals are drawn given their number: gaps are exponential and scaled so that together they take as long as so
many should. (A Poisson process of n arrivals in a known time is n independent uniform moments in it, whose gaps are
just that; D. Cox and P. Lewis, "The statistical analysis of series of events", 1966, section 3.) Left free, 5,000
arrivals would miss the rate by more than 2 % one time in six.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from math import inf, isfinite
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from headway.errors import ConfigError, InputError
from headway.measure.bench.run_types import COUNT_MAX, Load

__all__ = ["Schedule", "constant_offsets", "poisson_offsets", "read_trace", "schedule_of", "trace_offsets"]

SPAN_MIN_S = 1e-6
"""A trace that is over sooner has no rate that could be changed."""
_COLUMNS = ("timestamp", "offset_s", "arrived_at", "time")
"""What a trace calls its moments, whatever the case; the first that is there."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When every request of an open loop is due, the warm-up's first."""

    offsets_s: array[float]
    warmup: int = 0
    """How many of them are warm-up."""
    counting_from_s: float = 0.0
    """Where the part that counts begins."""
    ends_s: float = inf
    """Where starting ends, whatever still waits; without a duration it does not."""


def constant_offsets(rate_per_s: float, count: int) -> array[float]:
    """`count` moments, evenly spaced."""
    return array("d", (index / rate_per_s for index in range(count)))


def poisson_offsets(rate_per_s: float, count: int, rng: Random) -> array[float]:
    """`count` moments with exponential gaps, the first at 0, in `count / rate_per_s` seconds."""
    gaps = [rng.expovariate(1.0) for _ in range(count)]
    scale = count / rate_per_s / (sum(gaps) or 1.0)
    offsets, at_s = array("d"), 0.0
    for gap in gaps:
        offsets.append(at_s)
        at_s += gap * scale
    return offsets


def trace_offsets(offsets_s: Iterable[float], rate_per_s: float | None = None) -> array[float]:
    """A recorded trace's moments, from 0; stretched or squeezed to a mean rate where one is given."""
    moments = array("d", offsets_s)
    first_s = moments[0]
    factor = 1.0
    if rate_per_s is not None and moments[-1] - first_s > SPAN_MIN_S:
        factor = (len(moments) - 1) / rate_per_s / (moments[-1] - first_s)
    return array("d", ((at_s - first_s) * factor for at_s in moments))


def schedule_of(load: Load, rng: Random) -> Schedule:
    """An open load's schedule.

    A trace's warm-up comes ahead of it, evenly spaced at its mean rate.

    Raises:
        ConfigError: It would hold more than 200,000 requests.
    """
    if load.arrivals == "trace":
        counted = trace_offsets(load.offsets_s, load.rate_per_s)
        within = sum(at_s < (load.duration_s or inf) for at_s in counted)
        counted = counted[: min(within, load.count or within)]
        rate_per_s = load.rate_per_s or ((len(counted) - 1) / counted[-1] if counted[-1] > 0 else 1.0)
    else:
        assert load.rate_per_s is not None  # that is what makes it an open load
        rate_per_s = load.rate_per_s
        count = _count(load, rate_per_s)
        _check(count)
        counted = (
            poisson_offsets(rate_per_s, count, rng)
            if load.arrivals == "poisson"
            else constant_offsets(rate_per_s, count)
        )
    warmup = max(load.warmup_count, round(load.warmup_s * rate_per_s))
    _check(warmup + len(counted))
    ahead = poisson_offsets(rate_per_s, warmup, rng) if load.arrivals == "poisson" else array("d")
    ahead = ahead or constant_offsets(rate_per_s, warmup)
    from_s = warmup / rate_per_s
    return Schedule(
        offsets_s=ahead + array("d", (from_s + at_s for at_s in counted)),
        warmup=warmup,
        counting_from_s=from_s,
        ends_s=inf if load.duration_s is None else from_s + load.duration_s,
    )


def _count(load: Load, rate_per_s: float) -> int:
    """The lesser of what was asked for and what the time holds; one of the two is given."""
    within = inf if load.duration_s is None else max(1, round(load.duration_s * rate_per_s))
    return int(min(inf if load.count is None else load.count, within))


def _check(count: int) -> None:
    if count > COUNT_MAX:
        raise ConfigError(f"{count:,} requests are more than one run holds ({COUNT_MAX:,}); lower the rate or the time")


def read_trace(path: Path, *, column: str = "", rows_max: int = COUNT_MAX) -> tuple[float, ...]:
    """The moments of a recorded trace, ascending, in seconds from its first.

    CSV: a column of dates or of seconds. JSON lines: a field of milliseconds, as in the Mooncake traces, or of dates.
    Without a name it is "timestamp" (whatever the case), "offset_s", "arrived_at" or "time"; one that is called
    "offset_s" is in seconds in either format.

    Args:
        path: Ends in .jsonl or .json for JSON lines; CSV otherwise.
        column: Its name.
        rows_max: What is behind that many rows is left out.

    Raises:
        InputError: It cannot be read, has no such column, or a moment is none; the message names the line.
    """
    lines = path.suffix.lower() in (".jsonl", ".json")
    found = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = _json_rows(file, path) if lines else _csv_rows(file)
            for number, row in islice(rows, rows_max):
                found.append(_moment(row, column, path, number, scale=0.001 if lines else 1.0))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the arrivals in {path} cannot be read ({error}); give a CSV or JSON lines file") from None
    if not found:
        raise InputError(f"{path} holds no arrivals; give a file with a row for each")
    found.sort()
    return tuple(at_s - found[0] for at_s in found)


def _csv_rows(file: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each with the number of its (last) line: blank ones and line breaks in a cell count."""
    reader = csv.DictReader(file)
    for row in reader:
        yield reader.line_num, row


def _json_rows(file: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield number, decode(line)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is no JSON object ({error}); mend or remove it") from None


def _moment(row: dict[str, Any], column: str, path: Path, number: int, *, scale: float) -> float:
    names = {str(name).lower(): name for name in row}
    wanted = (column.lower(),) if column else _COLUMNS
    name = next((names[one] for one in wanted if one in names), None)
    if name is None:
        raise InputError(
            f"{path} has no column {' or '.join(repr(one) for one in wanted)}; name the one with the moments"
        )
    value = row[name]
    try:
        at_s = float(value) * (1.0 if str(name).lower() == "offset_s" else scale)
    except (TypeError, ValueError):
        try:
            at_s = datetime.fromisoformat(str(value)).timestamp()
        except (ValueError, OverflowError, OSError):
            at_s = inf
    if not isfinite(at_s):
        raise InputError(f"{path}, line {number}: {str(value)[:60]!r} is neither a number nor a date; mend the line")
    return at_s
