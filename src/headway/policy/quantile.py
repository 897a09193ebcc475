"""Quantiles of a stream of values in bounded memory, with a bounded relative error.

Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees" (VLDB 2019), with fixed bounds in place of collapsing: buckets grow by gamma = (1 + e) / (1 - e),
and value v falls into bucket ceil(log_gamma v), whose middle is off by at most e. Between 1e-9 and 1e9 that
is at most 2,075 buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, inf, isfinite, log
from typing import Any

__all__ = ["QuantileSketch"]

_ERROR = 0.01
_GAMMA = (1.0 + _ERROR) / (1.0 - _ERROR)
_PER_LOG = 1.0 / log(_GAMMA)
_SMALLEST, _LARGEST = 1e-9, 1e9
_INDEX_MIN, _INDEX_MAX = ceil(log(_SMALLEST) * _PER_LOG), ceil(log(_LARGEST) * _PER_LOG)


class QuantileSketch:
    """Values >= 0 (seconds, tokens, bytes): quantiles to 1 %, count, mean and extremes exactly.

    The 1 % holds between 1e-9 and 1e9; what is smaller counts as zero, what is larger as 1e9.
    """

    __slots__ = ("_buckets", "_max", "_min", "_sum", "_zeros", "count")

    def __init__(self) -> None:
        self.count = 0
        self._zeros = 0
        self._sum = 0.0
        self._min = inf
        self._max = -inf
        self._buckets: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Count one value. Raises `ValueError` for a negative or infinite one, and for NaN."""
        if not 0.0 <= value < inf:
            raise ValueError(f"A sketch takes finite values >= 0, not {value!r}.")
        self.count += 1
        self._sum += value
        if value < self._min:
            self._min = value
        if value > self._max:
            self._max = value
        if value < _SMALLEST:
            self._zeros += 1
            return
        index = ceil(log(value) * _PER_LOG) if value < _LARGEST else _INDEX_MAX
        self._buckets[index] = self._buckets.get(index, 0) + 1

    def quantile(self, q: float) -> float | None:
        """The value at rank floor(q * (count - 1)) of the sorted values, `q` in 0..1; None without values."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"A quantile lies in 0..1, not at {q!r}.")
        if not self.count:
            return None
        rank = int(q * (self.count - 1))
        if rank == self.count - 1:
            return self._max
        if rank < self._zeros or rank == 0:
            return self._min
        seen = self._zeros
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen > rank:
                break
        middle = float(2.0 * _GAMMA**index / (_GAMMA + 1.0))
        return min(max(middle, self._min), self._max)

    @property
    def mean(self) -> float | None:
        """The arithmetic mean; None when there are no values."""
        return self._sum / self.count if self.count else None

    @property
    def min(self) -> float | None:
        """The smallest value; None when there are none."""
        return self._min if self.count else None

    @property
    def max(self) -> float | None:
        """The largest value; None when there are none."""
        return self._max if self.count else None

    def merge(self, other: QuantileSketch) -> None:
        """Add all of another sketch's values; the result is the same as if they had been added here."""
        self.count += other.count
        self._zeros += other._zeros
        self._sum += other._sum
        self._min = min(self._min, other._min)
        self._max = max(self._max, other._max)
        for index, count in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + count

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, ready for JSON; `from_dict` is its inverse."""
        return {
            "relative_error": _ERROR,
            "count": self.count,
            "sum": self._sum,
            "min": self.min,
            "max": self.max,
            "zeros": self._zeros,
            "buckets": [[index, self._buckets[index]] for index in sorted(self._buckets)],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> QuantileSketch:
        """Rebuild a sketch. Raises `ValueError` when `data` is not what `to_dict` gives."""
        sketch = cls()
        try:
            sketch.count, sketch._zeros, sketch._sum = (
                int(data["count"]),
                int(data["zeros"]),
                float(data["sum"]),
            )
            sketch._buckets = {int(index): int(count) for index, count in data["buckets"]}
            if sketch.count:
                sketch._min, sketch._max = float(data["min"]), float(data["max"])
            whole = sketch.count == sketch._zeros + sum(sketch._buckets.values()) and data["relative_error"] == _ERROR
        except (KeyError, TypeError, OverflowError) as problem:
            raise ValueError(f"This is no quantile sketch: {problem!r}.") from problem
        bounded = all(_INDEX_MIN <= index <= _INDEX_MAX and n > 0 for index, n in sketch._buckets.items())
        if not (whole and bounded and sketch._zeros >= 0 and isfinite(sketch._sum)):
            raise ValueError("This is no quantile sketch of this version: its counts do not add up.")
        return sketch
