"""What was folded bit by bit is what counting all rows anew gives, for any window and filters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.insight import fold
from headway.insight.documents import Filters
from headway.insight.fold import OTHERS, TIERS_S, Rollup, tier_for
from headway.insight.histogram import bin_of
from headway.insight.view import View
from headway.store.rows import Taken, Tried
from tests.insight.rows import NOW_S, row, row_of_trace, trace_of

AGES_S = st.one_of(st.floats(0, 200), st.floats(0, 10_000), st.floats(0, 700_000))
FIELDS = ("age_s", "took_s", "tenant", "model", "outcome", "cache", "dollars")
CALLS = st.lists(
    st.builds(
        lambda *values: dict(zip(FIELDS, values, strict=True)),
        AGES_S,
        st.floats(0.001, 100),
        st.sampled_from(["a", "b", ""]),
        st.sampled_from(["m", "n"]),
        st.sampled_from(["ok", "ok", "throttled", "abandoned", "server_error"]),
        st.sampled_from(["off", "memory", "joined", "miss"]),
        st.sampled_from([None, 0.5, 0.25]),
    ),
    max_size=40,
)


def counted(rows: list[Taken], filters: Filters, now_s: float) -> dict[str, Any]:
    """The same by brute force."""
    width_s = TIERS_S[tier_for(filters.window_s)]
    points = -int(-filters.window_s // width_s)
    first = int(now_s // width_s) - points + 1
    series = [0] * points
    found = [0, 0, 0.0, 0, 0]
    bins: dict[int, int] = {}
    for one in rows:
        took_s = (one.ended_at_s or 0.0) - one.started_at_s
        place = int(min(one.start_wall_s + took_s, now_s) // width_s) - first
        named = (filters.key in ("", one.tenant)) and (filters.model in ("", one.model))
        if not 0 <= place < points or not named:
            continue
        series[place] += 1
        found[0] += 1
        found[1] += one.outcome not in ("ok", "abandoned")
        found[2] += one.dollars or 0.0
        found[3] += one.dollars is None
        found[4] += one.cache in ("memory", "joined") and one.outcome == "ok"
        if one.outcome == "ok":
            bins[bin_of(took_s)] = bins.get(bin_of(took_s), 0) + 1
    return {"series": series, "sums": found, "total": bins}


@settings(max_examples=150, deadline=None)
@given(
    CALLS,
    st.sampled_from([60.0, 61.5, 300.0, 900.0, 3_600.0, 20_000.0, 86_400.0, 604_800.0]),
    st.sampled_from(["", "a"]),
    st.sampled_from(["", "n"]),
    st.lists(st.floats(0, 5_000), max_size=3),
)
def test_a_view_is_what_counting_anew_gives(
    calls: list[dict[str, Any]], window_s: float, key: str, model: str, later: list[float]
) -> None:
    """In any order of rows, with time going on in between, and looked at before as well as after."""
    rollup, now_s, rows = Rollup(NOW_S), NOW_S, []
    view = View(Filters(window_s=window_s, key=key, model=model))
    pauses = iter(later)
    for nth, fields in enumerate(calls):
        one = row(f"{nth}", now_s - fields.pop("age_s"), **fields)
        rows.append(one)
        rollup.call(one, now_s)
        if nth % 7 == 3:
            view.figures(rollup, now_s)
            now_s += next(pauses, 0.0)
            rollup.age(now_s)
    slots, whole = view.figures(rollup, now_s)
    told = counted(rows, view.filters, now_s)
    assert [slot.figures.sum.calls for slot in slots] == told["series"]
    cell = whole.sum
    assert [cell.calls, cell.failed, cell.unknown, cell.hits] == [told["sums"][nth] for nth in (0, 1, 3, 4)]
    assert cell.dollars == pytest.approx(told["sums"][2])
    assert cell.total == told["total"]


def test_a_clock_that_is_ahead_does_not_hide_calls() -> None:
    """Another process's call from the future counts now."""
    rollup = Rollup(NOW_S)
    rollup.call(row("c", NOW_S + 500.0), NOW_S)
    slots, whole = View(Filters()).figures(rollup, NOW_S)
    assert whole.sum.calls == 1
    assert slots[-1].figures.sum.calls == 1


def test_a_try_in_its_calls_row_counts_like_one_of_its_own() -> None:
    """The log keeps them in either way."""
    together, apart = Rollup(NOW_S), Rollup(NOW_S)
    call = trace_of("c", outcome="throttled", status=429)
    attempt = trace_of("c.0", kind="attempt", took_s=0.9, outcome="throttled", status=429)
    tried = msgspec.json.decode(msgspec.json.encode([NOW_S - 0.9, 1_000.0, 1_000.9, [], 0, 0]), type=Tried)
    together.call(row_of_trace(call, tried), NOW_S)
    apart.call(row_of_trace(call), NOW_S)
    apart.attempt(row_of_trace(attempt), NOW_S)
    for rollup in (together, apart):
        whole = View(Filters()).figures(rollup, NOW_S)[1]
        assert (whole.sum.attempts, whole.sum.throttled, whole.sum.attempts_failed) == (1, 1, 1)
        assert whole.sum.wasted == {"retry": [1, 0.01]}
        assert whole.upstreams["https://u.example"].throttled == 1


def test_tries_are_those_that_went_out() -> None:
    """One that could not connect is a try that failed; one that our own limits refused is none."""
    rollup = Rollup(NOW_S)
    for outcome in ("connect_failed", "budget", "queue_full", "deadline", "abandoned"):
        rollup.attempt(row("c.0", kind="attempt", outcome=outcome, sent_at_s=None, dollars=None), NOW_S)
    whole = View(Filters()).figures(rollup, NOW_S)[1]
    assert (whole.sum.attempts, whole.sum.attempts_failed) == (1, 1)
    assert whole.sum.wasted == {"retry": [1, 0.0]}
    assert whole.upstreams["https://u.example"].failed == 1


@pytest.mark.parametrize("call_first", [True, False])
def test_a_losing_hedge_is_no_abandoned_call(call_first: bool) -> None:
    """Whichever row comes first; the call's says that another try answered."""
    rollup = Rollup(NOW_S)
    view = View(Filters())
    steps = [
        lambda: rollup.call(row("c", attempts=2), NOW_S),
        lambda: rollup.attempt(row("c.0", kind="attempt", outcome="abandoned", dollars=0.25), NOW_S),
    ]
    for step in steps if call_first else reversed(steps):
        step()
        view.figures(rollup, NOW_S)
    rollup.attempt(row("d.0", kind="attempt", outcome="abandoned", dollars=0.5), NOW_S)
    wasted = view.figures(rollup, NOW_S)[1].sum.wasted
    assert wasted["hedge"] == [1, 0.25]
    assert wasted["abandoned"] == [1, 0.5]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are the clients' own: more of them than there is room for are counted as others, and none is long."""
    monkeypatch.setattr(fold, "CELLS_MAX", 2_000)
    rollup = Rollup(NOW_S)
    for nth in range(9_000):
        rollup.call(row(f"{nth}", NOW_S - nth / 3, model=f"model {nth} {'x' * 10_000}"), NOW_S)
    rollup.age(NOW_S)
    assert rollup.cells <= 2_000
    assert rollup.cells == sum(len(bucket.cells) for tier in rollup.tiers for bucket in tier.buckets.values())
    whole = View(Filters(window_s=20_000.0)).figures(rollup, NOW_S)[1]
    assert whole.sum.calls == 9_000
    assert OTHERS in whole.by_model
    assert all(len(name) <= fold.NAME_CHARS_MAX for name in whole.by_model)


def test_what_is_older_than_all_windows_is_forgotten() -> None:
    """After eight days nothing of a call is left."""
    rollup = Rollup(NOW_S)
    rollup.call(row("c"), NOW_S)
    for nth in range(1, 9 * 24):
        rollup.age(NOW_S + nth * 3_600.0)
    assert rollup.cells == 0
    assert not any(tier.buckets for tier in rollup.tiers)


@pytest.mark.parametrize("window_s", [60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0])
def test_charts_have_about_as_many_points(window_s: float) -> None:
    """Whatever the window."""
    assert 120 <= View(Filters(window_s=window_s)).points <= 180
