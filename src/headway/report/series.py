"""What a report draws, in bounded memory: requests in flight over time, and latencies in log bins."""

from __future__ import annotations

from array import array
from math import floor, inf, log2

from headway.policy.quantile import QuantileSketch

__all__ = ["EXACT_MAX", "LogHistogram", "Quantiles", "Timeline"]

EXACT_MAX = 100_000
"""Values kept one by one, for exact percentiles; beyond, a sketch that is right to 1 % takes over."""


class Quantiles:
    """Mean and quantiles of values >= 0: exact up to `exact_max` values, then right to 1 %."""

    __slots__ = ("_exact", "_exact_max", "_max", "_sketch", "_sum", "count")

    def __init__(self, exact_max: int = EXACT_MAX) -> None:
        self.count = 0
        self._exact_max = exact_max
        self._sum = 0.0
        self._max = 0.0
        self._exact = array("d")
        self._sketch: QuantileSketch | None = None

    def add(self, value: float) -> None:
        """Count one value >= 0."""
        self.count += 1
        self._sum += value
        if value > self._max:
            self._max = value
        if self._sketch is not None:
            self._sketch.add(value)
            return
        self._exact.append(value)
        if len(self._exact) > self._exact_max:
            self._sketch = QuantileSketch()
            for kept in self._exact:
                self._sketch.add(kept)
            self._exact = array("d")

    @property
    def mean(self) -> float | None:
        """The arithmetic mean, exact; None when there are no values."""
        return self._sum / self.count if self.count else None

    @property
    def max(self) -> float | None:
        """The largest value; None when there are none."""
        return self._max if self.count else None

    def quantiles(self, *qs: float) -> tuple[float | None, ...]:
        """The values at those quantiles, each 0..1; None for all when there are no values.

        Source: linear interpolation between the two nearest ranks, type 7 of Hyndman and Fan, "Sample
        quantiles in statistical packages" (1996): what NumPy, pandas and spreadsheets give.
        """
        if self._sketch is not None:
            return tuple(self._sketch.quantile(q) for q in qs)
        ranked = sorted(self._exact)
        return tuple(_interpolated(ranked, q) if ranked else None for q in qs)


def _interpolated(ranked: list[float], q: float) -> float:
    at = q * (len(ranked) - 1)
    low = floor(at)
    if low + 1 >= len(ranked):
        return ranked[-1]
    return ranked[low] + (ranked[low + 1] - ranked[low]) * (at - low)


class Timeline:
    """How many intervals of each lane were open: the exact mean in each of `points_max` equal slots or fewer.

    An event costs O(1): each slot keeps how many intervals opened in it (less those that closed), and what
    they add to the slot's open seconds. Slots that become too many are merged two by two, which loses nothing
    but resolution.

    Args:
        lanes: How many kinds of intervals there are.
        points_max: Slots kept, >= 2.
        step_s: The slots' length to begin with, in seconds.
    """

    __slots__ = ("_first_s", "_lanes", "_last_s", "_points_max", "_slots", "_step_s")

    def __init__(self, lanes: int = 1, points_max: int = 300, step_s: float = 0.01) -> None:
        self._lanes = lanes
        self._points_max = points_max
        self._step_s = step_s
        self._slots: dict[int, list[float]] = {}  # slot -> [opened, open seconds] of each lane
        self._first_s, self._last_s = inf, -inf

    def add(self, lane: int, from_s: float, to_s: float) -> None:
        """Count an interval of the loop's clock; one without length is left out."""
        if to_s <= from_s:
            return
        self._first_s, self._last_s = min(self._first_s, from_s), max(self._last_s, to_s)
        while floor(self._last_s / self._step_s) - floor(self._first_s / self._step_s) >= self._points_max:
            self._merge()
        self._event(lane, from_s, 1.0)
        self._event(lane, to_s, -1.0)

    def means(self) -> tuple[float, tuple[tuple[float, ...], ...]]:
        """The slots' length in seconds; and for each lane the mean number open in each, first to last."""
        if not self._slots:
            return self._step_s, tuple(() for _ in range(self._lanes))
        nothing = [0.0] * (2 * self._lanes)
        slots = [self._slots.get(at, nothing) for at in range(min(self._slots), max(self._slots) + 1)]
        return self._step_s, tuple(self._lane_means(slots, 2 * lane) for lane in range(self._lanes))

    def _lane_means(self, slots: list[list[float]], at: int) -> tuple[float, ...]:
        still_open, means = 0.0, []
        for slot in slots:
            means.append(max(0.0, still_open + slot[at + 1] / self._step_s))
            still_open += slot[at]
        return tuple(means)

    def _event(self, lane: int, at_s: float, sign: float) -> None:
        at = floor(at_s / self._step_s)
        slot = self._slots.get(at)
        if slot is None:
            slot = self._slots[at] = [0.0] * (2 * self._lanes)
        slot[2 * lane] += sign
        slot[2 * lane + 1] += sign * ((at + 1) * self._step_s - at_s)

    def _merge(self) -> None:
        merged: dict[int, list[float]] = {}
        for at, old in self._slots.items():
            slot = merged.setdefault(at // 2, [0.0] * (2 * self._lanes))
            for i in range(0, 2 * self._lanes, 2):
                slot[i] += old[i]
                # What opened in the earlier half stays open all through the later one.
                slot[i + 1] += old[i + 1] + (old[i] * self._step_s if at % 2 == 0 else 0.0)
        self._slots = merged
        self._step_s *= 2


class LogHistogram:
    """Counts of two kinds of values in bins that grow by 2^(1/4) (19 %), from 10 us to a day: at most 133."""

    __slots__ = ("_bins",)

    _PER_OCTAVE = 4
    _SMALLEST_S, _LARGEST_S = 1e-5, 1e5

    def __init__(self) -> None:
        self._bins: dict[int, list[int]] = {}

    def add(self, value_s: float, kind: int) -> None:
        """Count a value in seconds; `kind` is 0 or 1."""
        value_s = min(max(value_s, self._SMALLEST_S), self._LARGEST_S)
        at = floor(log2(value_s) * self._PER_OCTAVE)
        counts = self._bins.get(at)
        if counts is None:
            counts = self._bins[at] = [0, 0]
        counts[kind] += 1

    def bins(self) -> tuple[tuple[float, float, int, int], ...]:
        """(from_s, to_s, count of kind 0, count of kind 1) of every bin, from the first used to the last."""
        if not self._bins:
            return ()
        edges = range(min(self._bins), max(self._bins) + 1)
        counts = ((at, *self._bins.get(at, [0, 0])) for at in edges)
        return tuple((2 ** (at / self._PER_OCTAVE), 2 ** ((at + 1) / self._PER_OCTAVE), a, b) for at, a, b in counts)
