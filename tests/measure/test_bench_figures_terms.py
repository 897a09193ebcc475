"""Other tools' terms, worked out by hand from their definitions; and verdicts on who is the fastest."""

from __future__ import annotations

import pytest

from headway.measure.bench.definitions import in_terms_of, tools
from headway.measure.bench.figures import figures_of
from headway.measure.bench.run_types import Lag, OwnError, Slo
from headway.measure.bench.schema import Settings, bench_of
from headway.measure.bench.verdict import verdict_of
from headway.measure.stats.resample import paired_ratio
from tests.measure.bench_probes import failed, probe, run

PROBES = [
    probe(0, at_s=0.0, started_s=0.1, ttft_s=0.5, tokens=11, gap_s=0.01, closing_s=0.05),
    probe(1, at_s=1.0, started_s=1.0, ttft_s=0.4, tokens=21, gap_s=0.02, closing_s=0.05),
    failed(2),
]
"""Started 0.1 s late: TTFT 0.4 and 0.4 s from there; 100 and 400 ms of generation; ends 0.65 and 0.85 s after due."""


def values(tool, probes=PROBES, **more):
    found = in_terms_of(tool, probes, duration_s=more.pop("duration_s", 4.0), **more)
    return {term.name: term.values.get("", term.values) for term in found.terms}


def test_vllm():
    """TPOT runs to the end of the stream, ITL pools all gaps, rates are over the benchmark."""
    found = values("vllm", slo=Slo(ttft_s=1.0, e2e_s=0.6))
    assert (found["completed"], found["failed"]) == (2, 1)
    assert found["ttft_ms"]["mean"] == pytest.approx(400.0)
    assert found["tpot_ms"]["mean"] == pytest.approx((150 / 10 + 450 / 20) / 2)
    assert found["itl_ms"]["mean"] == pytest.approx((10 * 10 + 20 * 20) / 30)
    assert found["itl_ms"]["median"] == pytest.approx(20.0)
    assert found["e2el_ms"]["median"] == pytest.approx((550 + 850) / 2)
    assert found["e2el_ms"]["p99"] == pytest.approx(550 + 0.99 * 300)
    assert found["request_throughput"] == pytest.approx(0.5)
    assert found["request_goodput"] == pytest.approx(0.25)
    assert found["total_token_throughput"] == pytest.approx((40 + 32) / 4)


def test_aiperf():
    """Latency ends with the last content; ITL is a mean an answer; the duration ends with the last response."""
    found = values("aiperf")
    assert found["time_to_first_token"]["avg"] == pytest.approx(400.0)
    assert found["request_latency"]["max"] == pytest.approx(800.0)
    assert found["inter_token_latency"]["avg"] == pytest.approx((10 + 20) / 2)
    assert found["inter_token_latency"]["std"] == pytest.approx(5.0)
    assert found["inter_chunk_latency"]["p50"] == pytest.approx(20.0)
    assert found["output_token_throughput_per_user"]["avg"] == pytest.approx((100 + 50) / 2)
    assert found["request_throughput"] == pytest.approx(2 / (1.85 - 0.1))
    assert found["error_request_count"] == 1
    assert "goodput" not in found


def test_guidellm():
    """Time per output token has the first one in it, and means are over tokens, not over requests."""
    found = values("guidellm")
    assert found["time_per_output_token_ms"]["mean"] == pytest.approx((500 + 800) / (11 + 21))
    assert found["inter_token_latency_ms"]["mean"] == pytest.approx((100 + 400) / 30)
    assert found["inter_token_latency_ms"]["median"] == pytest.approx(20.0)
    assert found["request_latency"]["mean"] == pytest.approx((0.55 + 0.85) / 2)
    assert found["requests_per_second"] == pytest.approx(0.5)


def test_a_reasoning_token_is_a_first_token_to_all_of_them():
    """TTFT ends at it; AIPerf's TTFO and our own TTFT do not."""
    thinking = [probe(0, first_reasoning_s=0.2, reasoning=9)]
    for tool, name, stat in (
        ("vllm", "ttft_ms", "mean"),
        ("aiperf", "time_to_first_token", "avg"),
        ("guidellm", "time_to_first_token_ms", "mean"),
    ):
        assert values(tool, thinking)[name][stat] == pytest.approx(200.0)
    assert values("aiperf", thinking)["time_to_first_output_token"]["avg"] == pytest.approx(500.0)
    assert values("aiperf", thinking)["inter_token_latency"]["avg"] == pytest.approx(400 / 19)
    assert figures_of(run(thinking)).ttft.p50 == pytest.approx(0.5)


def test_without_usage_guidellm_counts_events_and_the_others_have_nothing():
    """As their sources do."""
    bare = [probe(0, usage=None)]
    assert values("guidellm", bare)["inter_token_latency_ms"]["mean"] == pytest.approx(10.0)
    assert values("vllm", bare)["tpot_ms"]["mean"] is None
    assert values("aiperf", bare)["inter_token_latency"]["avg"] is None


@pytest.mark.parametrize("tool", tools())
@pytest.mark.parametrize("probes", [[], [failed(0)], [probe(0, streamed=False, first_answer_s=None, gaps_s=())]])
def test_nothing_to_count_is_no_crash(tool, probes):
    """Blank figures, and a word on what differs."""
    found = in_terms_of(tool, probes, duration_s=0.0)
    assert found.terms
    assert all(sentence.endswith(".") for sentence in found.differs)


def rounds(ttft_s, count=30, target="m", **more):
    """Answers that share their moments' noise, as rounds do."""
    noise = [((i * 7919) % 97) / 970 for i in range(count)]
    return run([probe(i, ttft_s=ttft_s + extra) for i, extra in enumerate(noise)], target=target, **more)


def verdict(*runs):
    return verdict_of(runs, [figures_of(one) for one in runs])


def test_the_fastest_is_named_where_pairs_say_so():
    """20 % apart with the same noise: clear, though the two distributions overlap."""
    found = verdict(rounds(0.50, target="a"), rounds(0.40, target="b"))
    assert found.fastest == "b"
    assert found.ratio.high < 1
    assert "b is the fastest to its first token" in found.sentence


def test_a_verdict_on_very_many_requests_takes_no_longer(monkeypatch):
    """The bootstrap draws from 2,000 pairs at the most."""
    drawn = []

    def counted(a, b, *more, **named):
        drawn.append(len(a))
        return paired_ratio(a, b, *more, **named | {"resamples": 100})

    monkeypatch.setattr("headway.measure.bench.verdict.paired_ratio", counted)
    assert verdict(rounds(0.50, 3_000, target="a"), rounds(0.40, 3_000, target="b")).fastest == "b"
    assert drawn == [2_000]


def test_no_fastest_where_it_may_be_chance():
    """The same noise in another order, and next to no difference."""
    a, b = rounds(0.5, target="a"), rounds(0.501, target="b")
    b = run([probe(i, ttft_s=p.ttft_s) for i, p in enumerate(reversed(b.probes))], target="b")
    found = verdict(a, b)
    assert found.fastest == ""
    assert "no more than chance" in found.sentence


def test_no_verdict_where_the_measurement_itself_is_as_far_off():
    """60 ms of own error against a lead of 100 ms."""
    own = OwnError(latency_p50_s=0.06, ttft_p50_s=0.06)
    found = verdict(rounds(0.50, target="a", own_error=own), rounds(0.40, target="b", own_error=own))
    assert (found.refused, found.fastest) == (True, "")
    assert "no verdict" in found.sentence


def test_a_winner_that_fails_more_often_is_told_as_such():
    """Quick refusals are no speed."""
    quick = rounds(0.2, target="quick")
    quick = run([*quick.probes[:20], *(failed(i) for i in range(20, 30))], target="quick")
    found = verdict(rounds(0.5, target="sure"), quick)
    assert found.fastest == "quick"
    assert "But 33 % of its requests failed, and 0 % of sure's." in found.sentence


def test_one_target_has_no_verdict_and_too_few_pairs_none_either():
    """Nothing is said of two answers."""
    assert verdict(rounds(0.5)) is None
    found = verdict(rounds(0.5, count=3, target="a"), rounds(0.1, count=3, target="b"))
    assert found.fastest == ""
    assert "too few" in found.sentence


def test_a_run_that_was_late_by_its_own_doing_says_so():
    """Loop lag and arrivals that were not kept are notes of the row."""
    late = rounds(0.5, loop_lag=Lag(p99_s=0.02), asked_rate_per_s=20.0, achieved_rate_per_s=15.0)
    [row] = bench_of([[late]], Settings()).rows
    assert any("late by 20" in note for note in row.notes)
    assert any("15 requests a second were started where 20 were asked for" in note for note in row.notes)
