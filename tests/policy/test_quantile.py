"""The quantile sketch: 1 % of the true value, bounded, mergeable, and the same after a round trip."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.quantile import QuantileSketch

LATENCIES = st.floats(1e-6, 1e5)
COUNTS = st.integers(0, 10_000_000).map(float)


def sketch_of(values: list[float]) -> QuantileSketch:
    sketch = QuantileSketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(st.lists(LATENCIES | COUNTS, min_size=1, max_size=200), st.floats(0, 1))
def test_quantile_within_one_percent(values: list[float], q: float):
    """Every quantile is within 1 % of the value at its rank; the extremes, count and mean are exact."""
    sketch = sketch_of(values)
    true = sorted(values)[int(q * (len(values) - 1))]
    assert sketch.quantile(q) == pytest.approx(true, rel=0.01 + 1e-9)
    assert sketch.quantile(0.0) == sketch.min == min(values)
    assert sketch.quantile(1.0) == sketch.max == max(values)
    assert sketch.count == len(values)
    assert sketch.mean == pytest.approx(math.fsum(values) / len(values))


@given(st.lists(LATENCIES, max_size=50), st.lists(COUNTS, max_size=50), st.floats(0, 1))
def test_merge_is_adding_all(left: list[float], right: list[float], q: float):
    """Merging two sketches answers as one sketch of all values does."""
    merged, whole = sketch_of(left), sketch_of(left + right)
    merged.merge(sketch_of(right))
    assert merged.quantile(q) == whole.quantile(q)
    assert (merged.count, merged.min, merged.max) == (whole.count, whole.min, whole.max)


@given(st.lists(LATENCIES | COUNTS, max_size=50), st.floats(0, 1))
def test_round_trip_through_json(values: list[float], q: float):
    """A sketch survives JSON unchanged, and goes on counting."""
    sketch = sketch_of(values)
    again = QuantileSketch.from_dict(json.loads(json.dumps(sketch.to_dict())))
    assert again.to_dict() == sketch.to_dict()
    again.add(1.0)
    sketch.add(1.0)
    assert again.quantile(q) == sketch.quantile(q)


def test_memory_is_bounded():
    """However many values of whatever size come, there are at most 2,075 buckets."""
    rng = random.Random(1)
    sketch = sketch_of([10.0 ** rng.uniform(-320, 308) for _ in range(50_000)])
    assert len(sketch.to_dict()["buckets"]) <= 2_075


def test_empty_has_no_quantiles():
    """Without values there is no number, rather than a wrong one."""
    sketch = QuantileSketch()
    assert (sketch.quantile(0.5), sketch.mean, sketch.min, sketch.max, sketch.count) == (None,) * 4 + (0,)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_refuses_what_is_no_value(value: float):
    """A negative, infinite or undefined value is refused and leaves the sketch as it was."""
    sketch = sketch_of([1.0])
    with pytest.raises(ValueError, match="finite values"):
        sketch.add(value)
    assert sketch.to_dict() == sketch_of([1.0]).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"relative_error": 0.5},
        {"buckets": [[9_999_999, 2]]},
        {"buckets": None},
        {"zeros": -2, "count": 0},
    ],
)
def test_from_dict_refuses_what_does_not_add_up(change: dict[str, object]):
    """A damaged or foreign dict is refused, not half read."""
    with pytest.raises(ValueError, match="no quantile sketch"):
        QuantileSketch.from_dict({**sketch_of([1.0, 2.0]).to_dict(), **change})
