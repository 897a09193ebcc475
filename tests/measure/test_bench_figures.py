"""Figures of runs made by hand: every number can be worked out on paper, and what cannot be told is blank."""

from __future__ import annotations

import re
from math import isnan, nan

import msgspec
import pytest

from headway.measure.bench.figures import figures_of
from headway.measure.bench.page import bench_page
from headway.measure.bench.run_types import Load, Skipped, Slo
from headway.measure.bench.schema import Settings, bench_of
from headway.measure.bench.spread import gap_spread_of, spread_of
from headway.measure.bench.table import sentences_of
from headway.types import Usage
from tests.measure.bench_probes import failed, probe, run


def test_latencies_count_from_when_a_request_was_due():
    """TTFT 0.5 s, ten gaps of 10 ms: 0.6 s in all, though it was handed over 0.2 s late."""
    one = figures_of(run([probe(i, started_s=0.2) for i in range(3)]))
    assert (one.ttft.p50, one.e2e.p50) == (pytest.approx(0.5), pytest.approx(0.6))
    assert one.tpot.p50 == pytest.approx(0.01)
    assert one.itl.mean == pytest.approx(0.01)
    assert one.tokens_per_s.p50 == pytest.approx(100.0)


def test_throughput_is_over_the_whole_run():
    """Four answers of eleven tokens in ten seconds."""
    one = figures_of(run([probe(i) for i in range(4)], duration_s=10.0))
    assert one.requests_per_s == pytest.approx(0.4)
    assert one.output_tokens_per_s == pytest.approx(4.4)
    assert (one.input_tokens, one.output_tokens, one.reasoning_tokens) == (20, 11, 0)


def test_failures_are_counted_by_reason_and_stay_in_every_denominator():
    """Two kinds of failures and three that never started: half of ten were good."""
    probes = [probe(i) for i in range(5)] + [failed(5), failed(6, outcome="throttled", status=429)]
    skipped = (Skipped(reason="no place was free.", count=3),)
    one = figures_of(run(probes, skipped=skipped), slo=Slo(ttft_s=1.0))
    assert (one.due, one.ok, one.failed) == (10, 5, 2)
    assert one.good == pytest.approx(0.5)
    assert one.goodput_per_s == pytest.approx(0.5)
    assert {(f.outcome, f.code, f.count) for f in one.failures} == {("server_error", "500", 1), ("throttled", "429", 1)}
    assert one.e2e.count == 5


def test_goodput_wants_every_limit_kept():
    """One is too late to its first token, one to its end."""
    probes = [probe(0), probe(1, ttft_s=1.5), probe(2, closing_s=9.0)]
    assert figures_of(run(probes), slo=Slo(ttft_s=1.0, e2e_s=2.0)).good == pytest.approx(1 / 3)
    assert figures_of(run(probes)).good is None


def test_percentiles_are_blank_where_there_are_too_few_answers():
    """p95 from 20, p99 from 100: fewer do not reach so far."""
    for count, has_p95, has_p99 in ((19, False, False), (20, True, False), (99, True, False), (100, True, True)):
        one = figures_of(run([probe(i, ttft_s=0.5 + i / 1000) for i in range(count)]))
        assert (one.ttft.p95 is not None, one.ttft.p99 is not None) == (has_p95, has_p99)
        assert (one.ttft.p95_interval is not None) == has_p95


def test_intervals_hold_their_estimate_and_narrow_with_more_values():
    """By drawing below a hundred values, by ranks above: no jump between the two."""
    widths = []
    for count in (20, 100, 101, 1600):
        spread = spread_of([(i * 37 % count) / count for i in range(count)], tails=True)
        for value, interval in (
            (spread.mean, spread.mean_interval),
            (spread.p50, spread.p50_interval),
            (spread.p95, spread.p95_interval),
        ):
            assert interval is not None
            assert interval.low <= value <= interval.high
        widths.append(spread.p50_interval.high - spread.p50_interval.low)
    assert widths[0] > widths[1] > widths[3]
    assert widths[1] == pytest.approx(widths[2], rel=0.3)


def test_a_cached_answer_is_no_latency_of_the_provider():
    """Two hits of 1 ms beside two answers of 0.6 s: the median stays 0.6 s, and the hits have a figure of their own."""
    hits = [probe(i, ttft_s=0.001, gap_s=0.0, cache="memory", attempts=0, sent_s=None) for i in (2, 3)]
    one = figures_of(run([probe(0), probe(1), *hits]))
    assert one.cached == 2
    assert one.e2e.p50 == pytest.approx(0.6)
    assert one.cached_e2e.p50 == pytest.approx(0.001)
    assert one.requests_per_s == pytest.approx(0.4)
    assert any("2 answers came from a cache" in note for note in one.notes)


def test_answers_without_usage_make_no_figure_of_tokens():
    """Blank, not zero tokens a second."""
    one = figures_of(run([probe(i, usage=None) for i in range(4)]))
    assert (one.tpot.count, one.output_tokens, one.output_tokens_per_s) == (0, None, None)
    assert one.itl.count == 40


def test_a_cost_that_was_estimated_is_not_known():
    """Without usage the engine books what it counted itself: enough for a cap, not for a figure."""
    one = figures_of(run([probe(0), probe(1, usage=None), probe(2, usage=None, dollars=0.0)]))
    assert (one.dollars, one.dollars_known) == (None, pytest.approx(0.001))
    assert any("1 of 3 requests cost is unknown" in note for note in one.notes)


def test_a_price_that_is_not_known_makes_the_sum_unknown():
    """None or NaN: never a sum of the others that looks like all of it."""
    for cost in (None, nan):
        one = figures_of(run([probe(0), probe(1, dollars=cost)]))
        assert (one.dollars, one.dollars_per_success) == (None, None)
        assert one.dollars_known == pytest.approx(0.001)
        assert any("1 of 2 requests cost is unknown" in note for note in one.notes)


def test_the_cost_of_a_success_carries_the_failures():
    """Three answers for $0.004, one of which was worthless; a refused request is free."""
    probes = [probe(0), probe(1), probe(2, outcome="invalid_output", dollars=0.002), failed(3, status=429)]
    one = figures_of(run(probes))
    assert one.dollars == pytest.approx(0.004)
    assert one.dollars_per_success == pytest.approx(0.002)


def test_an_answer_that_is_worthless_still_took_its_time():
    """Three clocks, one success: validity is for goodput and for money alone, and no failure of the provider."""
    wrong = {"outcome": "invalid_output", "error": "'maybe' is no label"}
    one = figures_of(run([probe(0), probe(1, **wrong), probe(2, **wrong)]), slo=Slo(e2e_s=9.0))
    assert (one.ok, one.valid, one.failed, one.failures) == (3, 1, 0, ())
    assert (one.ttft.count, one.e2e.count, one.tpot.count, one.equation.answers) == (3, 3, 3, 3)
    assert (one.good, one.dollars_per_success) == (pytest.approx(1 / 3), pytest.approx(0.003))
    assert one.invalid == "'maybe' is no label"


def test_sentences_are_said_once_with_the_names_they_hold_for():
    """Of all rows: without names; of one target or load: with its name alone."""

    def bench(*runs):
        return sentences_of(bench_of([[one] for one in runs], Settings(use_case="chat")))

    few, down, load = [probe(0)], [failed(0)], {"load": Load(count=1, concurrency=2)}
    told = bench(run(few), run(few, **load), run(down, target="n"), run(down, target="n", **load))
    assert sum("too few to hold" in one for one in told) == 1
    assert "m: 1 answer is too few to hold against chat's budget of 1.00 s: it takes 5." in told
    assert sum(one.startswith("n: 1 of 1 requests failed") for one in told) == 1
    told = bench(run(few), run(few, **load), run(few, target="n"), run(down, target="n", **load))
    assert "m, 1 at once; m, 2 at once; n, 1 at once: 1 answer is too few" in next(o for o in told if "too few" in o)
    assert "There is no answer to hold" in bench(run(down), run(down, **load))[0]


def test_the_page_has_no_rows_of_dashes_and_limits_that_can_be_read():
    """Of a target that never answered there are its failures; a budget and an SLO at the same place have a line each."""

    def page(*runs):
        return bench_page(bench_of([runs], Settings(use_case="chat", slo=Slo(ttft_s=1.0))), [list(runs)])

    shown = page(run([probe(i, ttft_s=0.9) for i in range(5)]), run([failed(0)], target="down"))
    assert '<th scope="row" style="white-space:nowrap">m<br>' in shown
    assert '<th scope="row" style="white-space:nowrap">down<br>' not in shown
    places = re.findall(r'<text class="told \w+" x="([\d.]+)" y="(\d+)">(?:chat|SLO)<', shown)
    assert len(places) == 2
    assert places[0] != places[1]
    none = page(run([failed(0)]))
    assert "<h2>Figures" not in none
    assert "1 of 1 requests failed" in none


def test_an_answer_without_a_token_is_a_failure():
    """It is counted and told."""
    one = figures_of(run([probe(0), failed(1, outcome="empty", status=200)]))
    assert (one.ok, one.failed) == (1, 1)
    assert any("1 answers held no token" in note for note in one.notes)


def test_a_server_that_ignores_the_wish_for_a_stream_has_no_ttft():
    """The end of a whole answer is no first token."""
    whole = [probe(i, streamed=False, first_answer_s=None, gaps_s=()) for i in range(3)]
    one = figures_of(run(whole))
    assert (one.ttft.count, one.tpot.count, one.e2e.count) == (0, 0, 3)
    assert any("came whole" in note for note in one.notes)


def test_hidden_reasoning_is_told_and_its_tokens_are_in_no_pace():
    """200 reasoning tokens that nobody saw would make the stream look 20 times as fast."""
    one = figures_of(run([probe(i, reasoning=200) for i in range(3)]))
    assert one.tpot.p50 == pytest.approx(0.01)
    assert any("About 200 reasoning tokens" in note for note in one.notes)


def test_events_that_carry_several_tokens_are_told():
    """ITL is then no time per token."""
    one = figures_of(run([probe(i, usage=Usage(output_tokens=33)) for i in range(3)]))
    assert any("An event carries 3.0 tokens" in note for note in one.notes)
    assert one.tpot.p50 == pytest.approx(0.1 / 32)


def test_nothing_at_all_is_said():
    """No probes, and probes that all failed: blanks and a sentence."""
    for probes in ([], [failed(0)]):
        one = figures_of(run(probes), slo=Slo(e2e_s=1.0), use_case="chat")
        assert (one.ok, one.e2e.p50, one.ttft.p50) == (0, None, None)
        assert any("No answer came from the provider" in note for note in one.notes)
        assert one.budget.within is None


def test_gaps_are_drawn_by_answer():
    """Gaps of an answer are alike: its interval is wider than that of as many strangers."""
    slow, quick = (0.02,) * 50, (0.01,) * 50
    spread = gap_spread_of([slow, quick, slow, quick])
    assert spread.mean == pytest.approx(0.015)
    assert spread.mean_interval.high - spread.mean_interval.low > 0.005


def test_json_holds_everything_and_no_nan():
    """One object; the probes' own numbers are not in it."""
    loads = [[run([probe(i, dollars=nan) for i in range(20)])]]
    data = msgspec.json.encode(bench_of(loads, Settings(slo=Slo(ttft_s=1.0), use_case="chat", definitions="vllm")))
    found = msgspec.json.decode(data)
    assert found["version"] == 1
    assert found["rows"][0]["ttft"]["p50"] == pytest.approx(0.5)
    assert found["in_terms"][0]["tool"] == "vllm"
    assert not any(isinstance(value, float) and isnan(value) for value in found["rows"][0].values())
    assert b"NaN" not in data
