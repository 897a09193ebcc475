"""A comparison as rows come in: looks, verdicts, what is left out, and when it is decided."""

from __future__ import annotations

from math import exp, inf, isfinite, nan
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.measure.stats import Findings, Interval, Pair, Side, TrialSettings
from headway.measure.stats.parts import Taken, apart
from headway.measure.stats.sentences import sentence
from headway.measure.stats.trial import Trial


def answer(rng: Random, tokens_mean: float, *, scale: float = 1.0, right: float = 0.9) -> Side:
    """One answer whose first token takes 0.5 s and every token 10 ms, with noise of 15 % on everything."""
    tokens = max(1, round(tokens_mean * exp(rng.gauss(0, 0.15))))
    first_s = 0.5 * scale * exp(rng.gauss(0, 0.15))
    return Side(
        ok=True,
        latency_s=first_s + 0.01 * scale * tokens * exp(rng.gauss(0, 0.15)),
        ttft_s=first_s,
        output_tokens=tokens,
        dollars=1e-5 * tokens + 1e-4,
        score=float(rng.random() < right),
    )


def rows_of(
    count: int, *, seed: int = 1, scale: float = 1.0, share: float = 1.0, right: tuple[float, float] = (1.0, 1.0)
) -> list[Pair]:
    """Rows of different lengths; B takes `scale` of the time for as much, and writes `share` as much."""
    rng, pairs = Random(seed), []
    for row in range(count):
        tokens = exp(rng.gauss(4.5, 0.6))
        a = answer(rng, tokens, right=right[0])
        pairs.append(Pair(row=row, a=a, b=answer(rng, tokens * share, scale=scale, right=right[1])))
    return pairs


def looked(pairs: list[Pair], *, described: bool = False, **changes: object) -> Findings:
    """One last look at all of them."""
    trial = Trial(TrialSettings(**{"rows_max": max(len(pairs), 1), "resamples": 300, **changes}))  # type: ignore[arg-type]
    for pair in pairs:
        trial.add(pair)
    return trial.look(final=True, described=described)


def word(findings: Findings, name: str) -> str | None:
    metric = findings.metric(name)
    return None if metric is None else metric.verdict


def test_faster_shorter_cheaper():
    """B at 85 % of the time for 60 % of the text: better, each in its own figure, and speed apart from length."""
    found = looked(rows_of(200, scale=0.85, share=0.6), described=True)
    assert (found.verdict, found.decided, found.rows_more) == ("better", True, 0)
    assert [word(found, name) for name in ("latency", "ttft", "output_tokens", "dollars")] == ["better"] * 4
    assert word(found, "failures") == "same"
    for name, true in (("output_tokens", 0.6), ("ttft", 0.85), ("speed_part", 0.85)):
        ratio = found.metric(name).ratio
        assert ratio.low < true < ratio.high, name
    parts = found.metric("length_part").ratio.estimate * found.metric("speed_part").ratio.estimate
    assert parts == pytest.approx(found.metric("latency").ratio.estimate, rel=0.02)
    assert found.quality.not_inferior is True
    assert found.metric("latency_p95").ratio.high < 1
    assert found.metric("latency_p95").verdict is None


def test_speed_apart_from_length_without_a_first_token():
    """Whole answers tell it, too: by what a token takes over all rows."""
    rng = Random(8)
    sides: list[list[Taken]] = [[], []]
    for _ in range(150):
        tokens = exp(rng.gauss(4.5, 0.6))
        for taken, scale, share in zip(sides, (1.0, 0.85), (1.0, 0.6), strict=True):
            one = answer(rng, tokens * share, scale=scale)
            taken.append(Taken(one.latency_s, None, one.output_tokens))
    length, speed, method = apart(*sides, rng=Random(1), resamples=200)
    assert speed.low < 0.85 < speed.high
    assert length.high < 0.9
    assert "slope" in method
    alike = [one._replace(tokens=50.0) for one in sides[0]]
    assert apart(alike, alike, rng=Random(1), resamples=200) is None, "lengths that do not differ tell nothing"


def test_the_parts_are_seen_from_both_sides():
    """Swapping A and B gives the inverse of either part."""
    pairs = rows_of(40, scale=0.8, share=0.5)
    there = looked(pairs, described=True)
    back = looked([Pair(row=one.row, a=one.b, b=one.a) for one in pairs], described=True)
    for name in ("latency", "ttft", "dollars", "latency_p50", "length_part", "speed_part"):
        assert back.metric(name).ratio.inverse.low == pytest.approx(there.metric(name).ratio.low, rel=1e-3), name
    assert back.quality.difference.low == pytest.approx(-there.quality.difference.high)


def test_a_against_a_seldom_claims_anything():
    """Twenty-four A/As with an early look: at most two say better or worse (5 % is what they may)."""
    false = 0
    for seed in range(24):
        trial = Trial(TrialSettings(rows_max=100, looks=(60,), seed=seed))
        for pair in rows_of(100, seed=100 + seed, right=(0.9, 0.9)):
            trial.add(pair)
            if trial.due():
                found = trial.look(described=False)
        words = {one.verdict for one in found.metrics} | {found.quality.verdict, found.verdict}
        false += bool(words & {"better", "worse", "mixed"})
    assert false <= 2


def test_fifteen_percent_at_a_hundred_rows():
    """A true 15 % is found with 100 rows, in ten of ten."""
    for seed in range(10):
        assert word(looked(rows_of(100, seed=seed, scale=0.85)), "latency") == "better"


def test_constants_are_the_same():
    """What never varies and never differs is the same; there is nothing to divide by."""
    side = Side(ok=True, latency_s=1.0, ttft_s=0.2, output_tokens=20, dollars=0.001, score=1.0)
    found = looked([Pair(row=i, a=side, b=side) for i in range(20)], described=True)
    assert {word(found, name) for name in ("latency", "ttft", "output_tokens", "dollars", "failures")} == {"same"}
    assert found.metric("dollars").ratio == Interval(estimate=1.0, low=1.0, high=1.0)
    assert found.quality.verdict == "unclear"
    assert found.quality.not_inferior is None, "twenty rows that agree do not exclude two points"
    assert found.rows_more == 200
    many = looked([Pair(row=i, a=side, b=side) for i in range(250)])
    assert (many.verdict, many.decided, many.quality.verdict) == ("same", True, "same")


def test_free_answers():
    """Free on both sides is the same; free on one side is a word without a ratio."""
    free, paid = Side(ok=True, latency_s=1.0, dollars=0.0), Side(ok=True, latency_s=1.0, dollars=0.01)
    both = looked([Pair(row=i, a=free, b=free) for i in range(30)])
    assert word(both, "dollars") == "same"
    one = looked([Pair(row=i, a=paid, b=free) for i in range(30)])
    assert one.metric("dollars").ratio is None
    assert word(one, "dollars") == "better"
    assert sentence(one) == "B costs nothing and takes as long; quality was not checked"


def test_smallest_is_the_same():
    """One percent is there beyond doubt, and makes no difference in practice."""
    pairs = [
        Pair(row=i, a=Side(ok=True, latency_s=1 + i / 100), b=Side(ok=True, latency_s=1.01 * (1 + i / 100)))
        for i in range(60)
    ]
    assert word(looked(pairs), "latency") == "same"
    assert word(looked(pairs, smallest=0.005), "latency") == "worse"


def test_one_document_is_no_interval():
    """Forty rows of one cluster are one value: no ratio that looks exact comes of it, in latency or in dollars."""
    trial = Trial(TrialSettings(rows_max=40))
    for n in range(40):
        a = Side(ok=True, latency_s=1.0 + n / 10, dollars=1.0 + n)
        trial.add(Pair(row=n, cluster="one", a=a, b=Side(ok=True, latency_s=2.0 + n / 7, dollars=2.0 + n)))
    findings = trial.look()
    assert [findings.metric(name).ratio for name in ("latency", "dollars")] == [None, None]
    assert [findings.metric(name).verdict for name in ("latency", "dollars")] == ["unclear", "unclear"]
    assert "%" not in sentence(findings)


def test_few_rows_say_nothing():
    """Below the minimum it is inconclusive, however large the difference; then it is not."""
    pairs = [Pair(row=i, a=Side(ok=True, latency_s=2.0 + i), b=Side(ok=True, latency_s=1.0 + i / 2)) for i in range(20)]
    few = looked(pairs[:19])
    assert (few.verdict, few.rows_more, word(few, "latency")) == ("inconclusive", 1, "unclear")
    assert looked(pairs).verdict == "better"
    assert looked([]).verdict == "inconclusive"


def test_failures_do_not_count_as_fast():
    """A row that failed on either side is left out of latency on both; the failures are their own metric."""
    good, failed = Side(ok=True, latency_s=2.0, output_tokens=5), Side(ok=False, latency_s=0.01, output_tokens=0)
    pairs = [Pair(row=i, a=good, b=failed if i % 4 == 0 else good) for i in range(60)]
    found = looked(pairs)
    latency, failures = found.metric("latency"), found.metric("failures")
    assert (latency.rows, latency.left_out, latency.verdict) == (45, 15, "same")
    assert (failures.verdict, failures.a, failures.b, failures.p) == ("worse", 0.0, 0.25, 2 / 2**15)
    assert found.verdict == "worse"
    assert "15 rows failed (A 0, B 15) and are left out of latency and length on both sides." in found.notes
    assert sentence(found) == "B fails more often (15 of 60 rows, not 0)"


def test_everything_failed():
    """Nothing was answered: nothing is said, and nothing breaks."""
    side = Side(ok=False, dollars=0.0)
    found = looked([Pair(row=i, a=side, b=side) for i in range(40)], described=True)
    assert (found.verdict, found.decided) == ("inconclusive", False)
    assert sentence(found) == "inconclusive: no row was answered on both sides"
    answered = Side(ok=True, latency_s=1.0)
    found = looked([Pair(row=i, a=answered, b=side) for i in range(40)])
    assert (found.verdict, found.decided) == ("worse", True)


def test_unknown_values_are_left_out_and_counted():
    """None, NaN and infinity are no values, a score outside 0..1 is no score."""
    good = Side(ok=True, latency_s=1.0, output_tokens=10, dollars=0.1, score=1.0)
    odd = [
        msgspec.structs.replace(good, latency_s=nan),
        msgspec.structs.replace(good, output_tokens=None),
        msgspec.structs.replace(good, dollars=nan),
        msgspec.structs.replace(good, score=None),
        msgspec.structs.replace(good, score=85.0),
        msgspec.structs.replace(good, latency_s=inf),
    ]
    pairs = [Pair(row=i, a=good, b=odd[i] if i < len(odd) else good) for i in range(60)]
    found = looked(pairs)
    assert [found.metric(name).left_out for name in ("latency", "output_tokens", "dollars")] == [2, 1, 1]
    assert (found.quality.rows, found.quality.unscored) == (58, 2)
    assert found.metric("ttft") is None
    assert "The cost of 1 row is unknown." in found.notes
    assert "2 rows could not be scored and are left out of quality." in found.notes


def test_quality_that_is_not_inferior_or_is():
    """A margin is reached, missed, or open; without scores there is no quality, and the sentence says so."""
    held = looked(rows_of(200, scale=0.7, right=(0.9, 0.99)), margin=0.05)
    assert (held.quality.not_inferior, held.verdict) == (True, "better")
    lost = looked(rows_of(200, scale=0.7, right=(0.95, 0.6)), margin=0.05)
    assert (lost.quality.not_inferior, lost.quality.verdict, lost.verdict) == (False, "worse", "worse")
    still = looked(rows_of(60, scale=0.7, right=(0.9, 0.9)))
    assert (still.quality.not_inferior, still.verdict, still.decided) == (None, "inconclusive", False)
    assert still.rows_more > 0
    none = looked([Pair(row=one.row, a=unscored(one.a), b=unscored(one.b)) for one in rows_of(60, scale=0.7)])
    assert (none.quality.kind, none.verdict) == ("none", "better")
    assert sentence(none).endswith("; quality was not checked")


def unscored(side: Side) -> Side:
    return msgspec.structs.replace(side, score=None)


def test_no_interval_beyond_the_margin_is_called_open():
    """Inferior is claimed at a stricter level than non-inferiority: until it is, the interval is of that level."""
    side, seen = Side(ok=True, latency_s=1.0, output_tokens=20, dollars=0.001, score=1.0), set()
    worse = msgspec.structs.replace(side, score=0.0)
    for lost in range(1, 20):
        pairs = [Pair(row=i, a=side, b=worse if i < lost else side) for i in range(60)]
        found = looked(pairs).quality
        seen.add(found.not_inferior)
        assert (found.not_inferior is False) == (found.difference.high < -0.02), lost
    assert seen == {None, False}


def test_quality_that_can_only_be_chance_is_waited_for_by_nobody():
    """The same is asked: faster is better, though the marks leave the margin open; but what is inferior is told."""
    pairs = rows_of(60, scale=0.7, share=0.6, right=(0.9, 0.9))
    apart, alike = looked(pairs), looked(pairs, same_asked=True)
    assert (apart.verdict, apart.decided, apart.quality.is_open) == ("inconclusive", False, True)
    assert (alike.verdict, alike.decided, alike.quality.is_open) == ("better", True, False)
    assert alike.rows_more == 0
    assert looked(rows_of(60, right=(1.0, 0.4)), same_asked=True).verdict == "worse"


def test_grades_and_documents():
    """Grades get a clustered bootstrap; four rows of a document that agree are one piece of evidence."""
    rng, loose = Random(4), []
    for document in range(30):
        gap = rng.gauss(-0.03, 0.04)
        for row in range(4):
            a, b = Side(ok=True, score=0.7), Side(ok=True, score=0.7 + gap)
            loose.append(Pair(row=document * 4 + row, a=a, b=b))
    tied = [Pair(row=one.row, cluster=str(one.row // 4), a=one.a, b=one.b) for one in loose]
    as_rows, as_documents = looked(loose).quality, looked(tied).quality
    assert as_rows.kind == as_documents.kind == "graded"
    width_rows = as_rows.difference.high - as_rows.difference.low
    assert as_documents.difference.high - as_documents.difference.low > 1.5 * width_rows
    assert as_rows.verdict == "worse"


def test_looks_are_due_as_scheduled():
    """Once each, at the row or after it; a second look at the same rows costs nothing."""
    trial, due = Trial(TrialSettings(rows_max=120)), []
    for pair in rows_of(120):
        trial.add(pair)
        if trial.due():
            due.append(trial.rows)
            first = trial.look(described=False)
            assert trial.look(described=False) == first
            assert not trial.due()
    assert due == [20, 30, 50, 70, 100, 120]
    assert (first.looks, first.final) == (6, True)
    own = Trial(TrialSettings(rows_max=100, looks=(40, 400)))
    for pair in rows_of(40):
        own.add(pair)
    assert own.due()


def test_early_looks_ask_for_more():
    """The same rows are less sure at an early look than at the last one, which may spend the rest."""
    pairs = rows_of(60, scale=0.88)
    early, late = Trial(TrialSettings(rows_max=400)), Trial(TrialSettings(rows_max=400))
    for pair in pairs:
        early.add(pair)
        late.add(pair)
    assert early.look(described=False).metric("latency").verdict == "unclear"
    ended = late.look(final=True, described=False)
    assert ended.metric("latency").verdict == "better"
    assert ended.final


def test_rows_under_way_at_the_last_look():
    """Rows that come in after the last look are part of it, and do not take its claims away."""
    trial = Trial(TrialSettings(rows_max=100))
    for pair in rows_of(110, scale=0.8):
        trial.add(pair)
        if trial.rows in (100, 110):
            assert trial.look(described=False).metric("latency").verdict == "better"


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"margin": 0.0}, {"rows_max": 0}, {"resamples": 10}, {"smallest": nan}]
)
def test_settings_out_of_range(wrong: dict[str, float]):
    """Are refused, not worked with."""
    with pytest.raises(ValueError, match=r"has to|have to|at least"):
        Trial(TrialSettings(**wrong))  # type: ignore[arg-type]


NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e300])
SIDES = st.builds(
    Side, ok=st.booleans(), latency_s=NUMBERS, ttft_s=NUMBERS, output_tokens=NUMBERS, dollars=NUMBERS, score=NUMBERS
)
PAIRS = st.lists(
    st.builds(Pair, row=st.integers(0, 9), cluster=st.sampled_from(["", "", "x", "y"]), a=SIDES, b=SIDES), max_size=30
)


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.booleans(), st.randoms(use_true_random=False))
def test_anything_goes_in(pairs: list[Pair], final: bool, rng: Random):
    """No values, odd values, any order: no exception, only finite figures, and the same findings."""
    found = []
    for order in (pairs, rng.sample(pairs, len(pairs))):
        trial = Trial(TrialSettings(rows_min=4, rows_max=20, resamples=100))
        for pair in order:
            trial.add(pair)
        found.append(trial.look(final=final))
    first, second = found
    assert first == second
    assert sentence(first) == sentence(second)
    for metric in (*first.metrics, *first.described):
        for interval in (metric.ratio, metric.difference):
            if interval is not None:
                assert all(isfinite(value) for value in (interval.estimate, interval.low, interval.high))
                assert interval.low <= interval.estimate <= interval.high
    assert msgspec.json.decode(msgspec.json.encode(first), type=Findings) == first
