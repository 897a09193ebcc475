"""What a report draws, gathered in bounded memory: requests in flight over time, and latencies in log bins."""

from __future__ import annotations

from array import array
from math import floor, log2

from headway.policy.quantile import QuantileSketch

__all__ = ["EXACT_MAX", "InFlight", "LogHistogram", "Quantiles"]

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
        self._max = max(self._max, value)
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

        Source: linear interpolation between the two nearest ranks, type 7 of Hyndman and Fan, "Sample quantiles in
        statistical packages" (1996): what NumPy, pandas and spreadsheets give.
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


class InFlight:
    """How many intervals were open, as the exact mean over each of at most `points_max` equal slots of time.

    An event costs O(1): each slot keeps how many intervals opened and closed in it, and for how much of the slot they
    did. Slots that become too many are merged two by two, which loses nothing but resolution.
    """

    __slots__ = ("_points_max", "_slots", "_step_s", "first_s", "last_s")

    def __init__(self, points_max: int = 300, step_s: float = 0.01) -> None:
        self._points_max = points_max
        self._step_s = step_s
        self._slots: dict[int, list[float]] = {}  # slot -> [net opened, open seconds they add within the slot]
        self.first_s: float | None = None
        self.last_s: float | None = None

    def add(self, from_s: float, to_s: float) -> None:
        """Count an interval of the loop's clock; one without length is left out."""
        if to_s <= from_s:
            return
        self.first_s = from_s if self.first_s is None else min(self.first_s, from_s)
        self.last_s = to_s if self.last_s is None else max(self.last_s, to_s)
        while floor(self.last_s / self._step_s) - floor(self.first_s / self._step_s) >= self._points_max:
            self._merge()
        self._event(from_s, 1.0)
        self._event(to_s, -1.0)

    def means(self, from_s: float, to_s: float) -> tuple[float, tuple[float, ...]]:
        """The slots' length in seconds, and the mean number open in each slot that [from_s, to_s] touches."""
        step_s = self._step_s
        while floor(to_s / step_s) - floor(from_s / step_s) >= self._points_max:
            step_s *= 2
        while self._step_s < step_s:
            self._merge()
        first = floor(from_s / step_s)
        open_, out = sum(slot[0] for at, slot in self._slots.items() if at < first), []
        for at in range(first, floor(to_s / step_s) + 1):
            opened, area = self._slots.get(at, (0.0, 0.0))
            out.append(max(0.0, open_ + area / step_s))
            open_ += opened
        return step_s, tuple(out)

    @property
    def step_s(self) -> float:
        """How long a slot is now, in seconds."""
        return self._step_s

    def _event(self, at_s: float, sign: float) -> None:
        at = floor(at_s / self._step_s)
        slot = self._slots.setdefault(at, [0.0, 0.0])
        slot[0] += sign
        slot[1] += sign * ((at + 1) * self._step_s - at_s)

    def _merge(self) -> None:
        merged: dict[int, list[float]] = {}
        for at, (opened, area) in self._slots.items():
            slot = merged.setdefault(at // 2, [0.0, 0.0])
            slot[0] += opened
            # What opened in the earlier half stays open all through the later one.
            slot[1] += area + (opened * self._step_s if at % 2 == 0 else 0.0)
        self._slots = merged
        self._step_s *= 2


class LogHistogram:
    """Counts of two kinds of values in bins that grow by 2^(1/4) (19 %), from 10 us to about a day: at most 133 bins."""

    __slots__ = ("_bins",)

    _PER_OCTAVE = 4
    _SMALLEST_S, _LARGEST_S = 1e-5, 1e5

    def __init__(self) -> None:
        self._bins: dict[int, list[int]] = {}

    def add(self, value_s: float, kind: int) -> None:
        """Count a value in seconds; `kind` is 0 or 1."""
        value_s = min(max(value_s, self._SMALLEST_S), self._LARGEST_S)
        at = floor(log2(value_s) * self._PER_OCTAVE)
        self._bins.setdefault(at, [0, 0])[kind] += 1

    def bins(self) -> tuple[tuple[float, float, int, int], ...]:
        """(from_s, to_s, count of kind 0, count of kind 1) for every bin between the first and the last that count."""
        if not self._bins:
            return ()
        edges = range(min(self._bins), max(self._bins) + 1)
        counts = ((at, *self._bins.get(at, [0, 0])) for at in edges)
        return tuple((2 ** (at / self._PER_OCTAVE), 2 ** ((at + 1) / self._PER_OCTAVE), a, b) for at, a, b in counts)
