"""What sets of rows say: how long each variant takes for the same set, run in its own way."""

from __future__ import annotations

from collections.abc import Sequence

from headway.measure.compare.comparison import SetRuns
from headway.measure.stats import MetricFinding
from headway.measure.stats.findings import SMALLEST, Word
from headway.measure.stats.paired import total_ratio
from headway.measure.stats.spending import nominal, spending

__all__ = ["SETS_MIN", "SetTrial", "set_size"]

SETS_MIN = 5
"""Below it nothing is said."""


class SetTrial:
    """Times of sets as they come in, and what may be said of them; looked at after every five.

    Args:
        sets_max: How many there will be at most.
        rows_each: Rows in each.
        alpha: One-sided, over all looks.
    """

    def __init__(self, sets_max: int, rows_each: int, alpha: float) -> None:
        self._sets_max, self._rows_each, self._alpha = sets_max, rows_each, alpha
        self._times: list[tuple[float, float]] = []
        self._looks: list[tuple[float, float]] = []

    def add(self, a_s: float, b_s: float) -> None:
        """How long one set took under A and under B, in seconds."""
        self._times.append((a_s, b_s))

    @property
    def due(self) -> bool:
        """Whether now is the time to look."""
        return len(self._times) % SETS_MIN == 0 or len(self._times) == self._sets_max

    def look(self) -> SetRuns:
        """The ratio of the times, with the interval of this look."""
        a, b = [x for x, _ in self._times], [y for _, y in self._times]
        count = len(a)
        self._looks.append((float(count), spending(self._alpha, count / self._sets_max)))
        tail = nominal(tuple(self._looks)) if count >= SETS_MIN else 0.0
        ratio = total_ratio(a, b, tail=tail or self._alpha)
        finding = MetricFinding(
            name="set_time",
            ratio=ratio,
            a=sum(a) / count,
            b=sum(b) / count,
            verdict=_word(ratio.low, ratio.high) if ratio is not None and tail else "unclear",
            rows=count,
            method="ratio of the sums (Student's interval on the log scale)",
        )
        return SetRuns(sets=count, rows_each=self._rows_each, finding=finding)


def _word(low: float, high: float) -> Word:
    if low >= 1 / (1 + SMALLEST) and high <= 1 + SMALLEST:
        return "same"
    return "better" if high < 1 else "worse" if low > 1 else "unclear"


def set_size(rows: int, widths: Sequence[int]) -> int:
    """Rows in a set: as many as the wider variant has in flight, and few enough for `SETS_MIN` sets."""
    return max(1, min(max(widths), rows // SETS_MIN))
