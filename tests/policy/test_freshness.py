"""Freshness: lifetimes within their jitter, and one verdict for every age."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.policy.freshness import Freshness


def judge(freshness: Freshness, now: float, *, fetch_s: float = 0.0, rng: Random | None = None) -> str:
    """The verdict at `now` on an answer that is fresh until 100 and stale until 200."""
    return freshness.judge(
        fresh_until_wall_s=100.0,
        stale_until_wall_s=200.0,
        fetch_s=fetch_s,
        now_wall_s=now,
        rng=rng or Random(0),
    )


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (0.0, "fresh"),
        (99.9, "fresh"),
        (100.0, "revalidate"),
        (109.9, "revalidate"),
        (110.0, "stale"),
        (199.9, "stale"),
        (200.0, "gone"),
        (1e9, "gone"),
    ],
)
def test_verdict_by_age(now: float, verdict: str):
    """Fresh, then served while revalidated, then only if the provider fails, then gone."""
    assert judge(Freshness(ttl_s=50, stale_while_revalidate_s=10), now) == verdict


def test_without_stale_while_revalidate():
    """By default a stale answer is only ever a stand-in for a failure."""
    assert judge(Freshness(ttl_s=50), 100.0) == "stale"


@given(st.floats(0, 1e6), st.floats(0, 0.99), st.floats(0, 1e6), st.floats(0, 1e6), st.integers())
def test_lifetime_within_jitter(ttl_s: float, jitter: float, error_s: float, revalidate_s: float, seed: int):
    """Fresh for ttl +- jitter; stale for the longer of the two stale spans after that."""
    freshness = Freshness(
        ttl_s=ttl_s, jitter_ratio=jitter, stale_if_error_s=error_s, stale_while_revalidate_s=revalidate_s
    )
    fresh_until, stale_until = freshness.lifetime(1e9, Random(seed))
    assert abs(fresh_until - 1e9 - ttl_s) <= ttl_s * jitter + 1e-6
    assert stale_until == fresh_until + max(error_s, revalidate_s)


def test_jitter_spreads():
    """What is stored at one moment does not expire at one moment."""
    rng = Random(1)
    ends = [Freshness(ttl_s=100).lifetime(0.0, rng)[0] for _ in range(200)]
    assert min(ends) < 92 < 108 < max(ends)


def test_xfetch_rate():
    """Early refreshes come with probability e^(-remaining / (beta * delta)), and never with beta = 0."""
    rng = Random(7)
    eager = Freshness(ttl_s=50, xfetch_beta=2.0)
    hits = sum(judge(eager, 94.0, fetch_s=3.0, rng=rng) == "refresh" for _ in range(20_000))
    assert hits / 20_000 == pytest.approx(math.exp(-6.0 / (2.0 * 3.0)), abs=0.015)
    assert {judge(Freshness(ttl_s=50), 99.99, fetch_s=3.0, rng=rng) for _ in range(100)} == {"fresh"}
    assert {judge(eager, 99.99, fetch_s=0.0, rng=rng) for _ in range(100)} == {"fresh"}


@pytest.mark.parametrize(
    "setting", [{"ttl_s": -1.0}, {"ttl_s": math.nan}, {"jitter_ratio": 1.0}, {"stale_if_error_s": -1.0}]
)
def test_refuses_bad_settings(setting: dict[str, float]):
    """A setting out of range is refused by its name."""
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Freshness(**setting)
