"""Whether outputs are asked for in one call: the estimate, and the case that is judged as it goes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError
from headway.policy.merging import EARLY, PROBE_EVERY, WINDOW, MergeCase, MergeSettings, merge_estimate


def run(case: MergeCase, rows: int, fails, *, in_flight: int = 1) -> list[str]:
    """The ways of so many rows; `fails(n)` says whether row n, if merged, needs a second question."""
    ways, under_way = [], []
    for n in range(rows):
        turn = case.choose()
        ways.append(turn.way)
        under_way.append((turn, fails(n)))
        if len(under_way) >= in_flight:
            ended, fell_back = under_way.pop(0)
            case.ended(ended, fell_back=fell_back)
    return ways


def test_the_estimate_is_that_of_the_facts():
    """Parallel is the longest, merged is the sum behind one first token, sequential is all of it."""
    found = merge_estimate({"a": 10, "b": 50, "c": 30}, ttft_s=0.5, tpot_s=0.01, source_tokens=900, ask_tokens=100)
    assert found.parallel_s == pytest.approx(0.5 + 0.5)
    assert found.merged_s == pytest.approx(0.5 + 0.9)
    assert found.sequential_s == pytest.approx(1.5 + 0.9)
    assert (found.merged_input_tokens, found.separate_input_tokens, found.calls_saved) == (1200, 3000, 2)
    assert found.input_saved == pytest.approx(0.6)
    assert found.advice.startswith("Merge only for requests and dollars: 1.40 s instead of 1.00 s side by side")
    now = {"ttft_s": 0.5, "tpot_s": 0.01, "order": "sequential"}
    assert merge_estimate({"a": 10, "b": 50}, **now).advice.startswith("Merge: 1.10 s instead of 1.60 s")
    assert merge_estimate({str(n): 5 for n in range(7)}, **now).advice.startswith("Do not merge 7")
    assert "one call already" in merge_estimate({"a": 5}, **now).advice


@given(st.dictionaries(st.text(), st.floats(0, 1e6), min_size=1, max_size=6), st.floats(0, 100), st.floats(0, 1))
def test_merged_lies_between_parallel_and_sequential(outputs, ttft_s, tpot_s):
    """Whatever the lengths: never quicker than side by side, never slower than one after the other."""
    found = merge_estimate(outputs, ttft_s=ttft_s, tpot_s=tpot_s)
    assert found.parallel_s <= found.merged_s * (1 + 1e-9)
    assert found.merged_s <= found.sequential_s * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [{"output_tokens": {}}, {"output_tokens": {"a": -1}}, {"ttft_s": -1}])
def test_an_estimate_of_nothing_is_refused(wrong):
    """No output, and numbers below 0."""
    with pytest.raises(ConfigError, match="at least one output"):
        merge_estimate(**({"output_tokens": {"a": 1}, "ttft_s": 1, "tpot_s": 0} | wrong))


def test_modes_that_are_set_stay():
    """Whatever comes back."""
    assert set(run(MergeCase(MergeSettings(mode="merged")), 200, lambda n: True)) == {"merged"}
    assert set(run(MergeCase(MergeSettings(mode="separate")), 200, lambda n: True)) == {"separate"}


def test_a_model_that_drops_keys_is_soon_asked_separately():
    """After a dozen failures; then one row in twenty looks whether it works by now."""
    case = MergeCase(MergeSettings())
    ways = run(case, 1_000, lambda n: True)
    assert ways[:EARLY] == ["merged"] * EARLY
    assert "merged" not in ways[EARLY:]
    assert ways.count("probe") == (1_000 - EARLY) // PROBE_EVERY
    assert case.separate
    assert case.fallback_share == 1.0
    assert case.reverts == 1


def test_a_share_just_under_the_threshold_stays_merged():
    """And one just above it does not, once the window is full."""
    assert set(run(MergeCase(MergeSettings()), 500, lambda n: n % 5 == 0)) == {"merged"}
    ways = run(MergeCase(MergeSettings()), 500, lambda n: n % 4 == 0)
    assert ways.index("separate") == 4 * (WINDOW // 5) + 1  # as soon as no rest of the window can mend it


def test_rows_that_ask_again_end_later_and_in_clusters():
    """A tenth of the rows, whose ends all fall among the next ones': judged by when they began, that is a tenth."""
    case = MergeCase(MergeSettings())
    late = []
    for start in range(0, 1_000, 50):
        turns = [case.choose() for _ in range(50)]
        assert {turn.way for turn in turns} == {"merged"}, start
        for turn in turns[5:]:
            case.ended(turn, fell_back=False)
        late += turns[:5]
        if len(late) >= 15:
            assert {case.ended(turn, fell_back=True) for turn in late} == {""}
            late.clear()


def test_it_comes_back_when_probes_are_whole_and_looks_less_often_after_a_relapse():
    """Hysteresis: half the allowed share among ten probes; each relapse doubles the distance of probes."""
    case = MergeCase(MergeSettings())
    ways = run(case, 3_000, lambda n: n < 500 or n > 1_500)
    back = ways.index("merged", EARLY)
    assert 500 < back < 500 + 11 * PROBE_EVERY
    last = ways[1_600:]
    assert last.count("probe") == pytest.approx(len(last) / (2 * PROBE_EVERY), abs=1)
    assert case.reverts == 2


def test_rows_under_way_at_the_change_count_for_nothing():
    """A hundred in flight when it reverts are no probes, however they end."""
    case = MergeCase(MergeSettings())
    turns = [case.choose() for _ in range(100)]
    assert {turn.way for turn in turns} == {"merged"}
    changes = [case.ended(turn, fell_back=n < 20) for n, turn in enumerate(turns)]
    assert changes.count("reverted") == 1
    assert case.separate
    assert "returned" not in changes


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_the_loss_is_bounded(seed, share, in_flight):
    """However often keys are dropped: what is paid in vain stays near the allowed share, or near what looking costs."""
    rng = Random(seed)
    fails = [rng.random() < share for _ in range(2_000)]
    case = MergeCase(MergeSettings())
    ways = run(case, len(fails), lambda n: fails[n], in_flight=in_flight)
    in_vain = sum(way != "separate" and failed for way, failed in zip(ways, fails, strict=True))
    assert in_vain <= 0.4 * len(fails)
    if share > 0.45:
        assert in_vain <= 0.05 * len(fails) + 2 * WINDOW + 2 * in_flight


def test_waiting_for_the_first_answers_ends():
    """After a full window, or as soon as it has reverted; never where the mode is set."""
    case = MergeCase(MergeSettings())
    assert case.learning
    run(case, WINDOW, lambda n: False)
    assert not case.learning
    assert not MergeCase(MergeSettings(mode="merged")).learning
    case = MergeCase(MergeSettings())
    run(case, EARLY, lambda n: True)
    assert not case.learning
