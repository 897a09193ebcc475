"""The figures of a run, against brute force; and what must not be mixed up."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.report.figures import wilson
from headway.report.html import write_report
from headway.report.money import kind_of
from headway.report.summary import SummaryBuilder
from headway.report.terminal import cost_note
from headway.types import Usage
from tests.report.results import Flat, result

CACHES = ("miss", "memory", "sqlite", "stale", "joined", "off")
OUTCOMES = ("ok", "ok", "ok", "throttled", "invalid_output", "input")


@st.composite
def rows(draw):
    """A run's results, of every kind."""
    found = []
    for index in range(draw(st.integers(0, 30))):
        cached = draw(st.integers(0, 50))
        usage = Usage(
            input_tokens=cached + draw(st.integers(1, 2000)),
            cached_tokens=cached,
            output_tokens=draw(st.integers(0, 50)),
        )
        cache = draw(st.sampled_from(CACHES))
        asked = cache in ("miss", "off")
        cost = Flat().dollars(usage)
        found.append(
            result(
                index,
                outcome=draw(st.sampled_from(OUTCOMES)),
                value=draw(st.sampled_from(["a", "b", "c"])),
                text="x" * draw(st.integers(1, 9)),
                row={"expected": draw(st.sampled_from(["a", "B", ""]))},
                cache=cache,
                attempts=int(asked),
                usage=usage,
                dollars=cost if asked else 0.0,
                saved_dollars=None if asked else cost,
                latency_s=draw(st.floats(0.001, 20)),
                wait_s=0.0005,
                started_at_s=draw(st.floats(0, 100)),
            )
        )
    return found


@given(rows())
@settings(max_examples=60)
def test_summary_is_what_brute_force_gives(results):
    """Every count, sum and mean equals the one taken over the list of all results."""
    builder = SummaryBuilder(model="m", expected_column="expected", rates=Flat())
    for one in results:
        builder.add(one)
    s = builder.build(wall_s=10.0, throttled=2, allowed_rpm=60)
    ok = [r for r in results if r.outcome == "ok"]
    sent = [r for r in results if r.outcome != "input"]
    asked = [r for r in sent if r.cache in ("miss", "off")]
    assert (s.rows, s.ok, s.attempts) == (len(results), len(ok), len(asked))
    assert s.failed == dict(Counter(r.outcome for r in results if r.outcome != "ok"))
    assert sum(f.count for f in s.failures) == len(results) - len(ok)
    assert s.requests_per_s == pytest.approx(len(results) / 10)
    assert s.allowed_used == pytest.approx(len(asked) / 10)
    assert s.latency.count == len(ok)
    assert s.call_latency.count == sum(r in asked for r in ok)
    assert s.call_latency.count + s.hit_latency.count + s.join_latency.count == s.latency.count
    if ok:
        assert s.latency.mean_s == pytest.approx(sum(r.latency_s for r in ok) / len(ok))
        assert s.output_chars_mean == pytest.approx(sum(len(r.text) for r in ok) / len(ok))
        assert s.output_tokens_mean == pytest.approx(sum(r.usage.output_tokens for r in ok) / len(ok))
    assert s.tokens.input == sum(r.usage.input_tokens for r in asked)
    assert s.tokens.output == sum(r.usage.output_tokens for r in asked)
    assert s.cost.total == pytest.approx(sum(r.dollars for r in sent))
    parts = (s.cost.input, s.cost.cached, s.cost.cache_write, s.cost.output, s.cost.retries)
    assert sum(parts) == pytest.approx(s.cost.total)
    assert s.cost.saved_join == pytest.approx(sum(r.saved_dollars for r in sent if r.cache == "joined"))
    assert s.cost.saved_cache == pytest.approx(
        sum(r.saved_dollars for r in sent if r.cache in ("memory", "sqlite", "stale"))
    )
    assert s.reuse.joins == sum(r.cache == "joined" for r in sent)
    assert s.reuse.off == sum(r.cache == "off" for r in sent)
    assert s.categories == dict(Counter(r.value for r in ok).most_common())
    judged = [r for r in results if r.row["expected"] and r.outcome in ("ok", "invalid_output")]
    assert (s.accuracy.count if s.accuracy else 0) == len(judged)
    if judged:
        right = sum(r.outcome == "ok" and r.value == r.row["expected"].lower() for r in judged)
        assert s.accuracy.right == right
    assert json.loads(json.dumps(s.to_dict()))["rows"] == len(results)


def test_a_hit_does_not_flatter_a_call():
    """A cached answer counts in the latency of rows, never in that of calls."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(latency_s=2.0))
    builder.add(result(latency_s=0.0, cache="memory", attempts=0, dollars=0.0, saved_dollars=1.0))
    s = builder.build(wall_s=2.0)
    assert (s.latency.mean_s, s.call_latency.mean_s, s.hit_latency.mean_s) == (1.0, 2.0, 0.0)
    assert [bin_[2:] for bin_ in (s.histogram[0], s.histogram[-1])] == [(0, 1), (1, 0)]


def test_a_repaired_hit_is_a_call():
    """A row whose cached answer was malformed asked the provider after all."""
    assert kind_of(result(cache="memory", repairs=1)) == "call"
    assert kind_of(result(cache="stale", repairs=0)) == "hit"


@pytest.mark.parametrize(
    ("n", "p95", "p99"), [(19, False, False), (20, True, False), (99, True, False), (100, True, True)]
)
def test_percentiles_need_enough_values(n, p95, p99):
    """p95 from 20 values and p99 from 100: fewer values have no such percentile."""
    builder = SummaryBuilder(rates=Flat())
    for i in range(n):
        builder.add(result(i))
    figures = builder.build(wall_s=1.0).latency
    assert ((figures.p95_s is not None), (figures.p99_s is not None)) == (p95, p99)


def test_one_unknown_cost_makes_the_sum_unknown():
    """Unknown is never zero; what is known is told apart."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(0))
    builder.add(result(1, dollars=None))
    cost = builder.build(wall_s=1.0).cost
    assert (cost.total, cost.per_1000_rows, cost.rows_unknown) == (None, None, 1)
    assert cost.known == pytest.approx(120.0)


def test_cost_is_split_at_the_price_of_the_whole_prompt():
    """Long prompts cost double here: each part is priced so, and no part pays for another."""
    builder = SummaryBuilder(rates=Flat())
    usage = Usage(input_tokens=2000, cached_tokens=500, cache_write_tokens=400, output_tokens=10)
    builder.add(result(usage=usage))
    cost = builder.build(wall_s=1.0).cost
    assert (cost.input, cost.cached, cost.cache_write, cost.output) == pytest.approx((2200.0, 100.0, 1000.0, 80.0))


def test_money_beyond_the_answers_own_tokens_is_told_apart():
    """A row that cost more than its answer's tokens paid for a try that failed."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(0, dollars=150.0, attempts=2))
    cost = builder.build(wall_s=1.0).cost
    assert (cost.input, cost.output, cost.retries) == (100.0, 20.0, pytest.approx(30.0))


def test_resumed_rows_count_in_what_came_out_only():
    """What an earlier run paid and waited for is not this run's."""
    builder = SummaryBuilder(expected_column="e", rates=Flat())
    builder.add(result(0, row={"e": "billing"}), resumed=True)
    builder.add(result(1, row={"e": "billing"}))
    s = builder.build(wall_s=2.0)
    assert (s.rows, s.ok, s.resumed, s.attempts) == (2, 2, 1, 1)
    assert (s.accuracy.count, s.categories, s.latency.count) == (2, {"billing": 2}, 1)
    assert (s.cost.total, s.cost.per_1000_rows, s.requests_per_s) == (120.0, 120_000.0, 0.5)


def test_an_answer_that_broke_its_form_is_wrong_and_a_missing_one_does_not_count():
    """Accuracy is over answers: malformed ones are wrong, provider failures say nothing about the prompt."""
    builder = SummaryBuilder(expected_column="e", rates=Flat())
    builder.add(result(0, row={"e": "billing"}))
    builder.add(result(1, row={"e": "billing"}, outcome="invalid_output"))
    builder.add(result(2, row={"e": "billing"}, outcome="server_error"))
    accuracy = builder.build(wall_s=1.0).accuracy
    assert (accuracy.right, accuracy.count) == (1, 2)


def test_free_text_has_no_categories():
    """Where nearly every answer is one of a kind, counting them says nothing."""
    builder = SummaryBuilder(rates=Flat())
    for i in range(100):
        builder.add(result(i, value=f"an answer of its own, number {i}"))
    s = builder.build(wall_s=1.0)
    assert (s.categories, s.categories_other) == ({}, 0)


def test_many_labels_are_bounded_and_none_is_lost():
    """Fifty are named; the others are one number, and together they are all rows."""
    builder = SummaryBuilder(rates=Flat())
    for i in range(6000):
        builder.add(result(i, value=f"label {i % 1500}"))
    s = builder.build(wall_s=1.0)
    assert len(s.categories) == 50
    assert sum(s.categories.values()) + s.categories_other == 6000


def test_failures_are_grouped_with_the_first_row_of_each():
    """One line a kind, with the lowest row's message; kinds are bounded, rows all counted by outcome."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(7, outcome="server_error", error="later", error_code="x"))
    builder.add(result(3, outcome="server_error", error="first", error_code="x"))
    (one,) = builder.build(wall_s=1.0).failures
    assert (one.outcome, one.code, one.count, one.row, one.message) == ("server_error", "x", 2, 3, "first")
    for i in range(200):
        builder.add(result(i, outcome="client_error", error="e" * 5000, error_code=f"code {i}"))
    s = builder.build(wall_s=1.0)
    assert len(s.failures) <= 50
    assert max(len(one.message) for one in s.failures) <= 300
    assert s.failed["client_error"] == 200


@given(st.integers(1, 400), st.data())
def test_wilson_interval_solves_its_equation(count, data):
    """The ends are where a share p would put the one seen 1.96 standard errors off; and they stay inside 0..1."""
    right = data.draw(st.integers(0, count))
    a = wilson(right, count)
    assert 0.0 <= a.low <= a.ratio <= a.high <= 1.0
    assert a.low < a.high
    for end in {a.low, a.high} - {0.0, 1.0}:
        assert (a.ratio - end) ** 2 == pytest.approx(
            1.959963984540054**2 * end * (1 - end) / count, rel=1e-6, abs=1e-12
        )


def test_wilson_known_value():
    """18 of 20: 69.9 % to 97.2 %, as published tables have it."""
    a = wilson(18, 20)
    assert (round(a.low, 3), round(a.high, 3)) == (0.699, 0.972)


@pytest.mark.parametrize(
    ("usage", "net", "told"),
    [
        (Usage(input_tokens=100, cached_tokens=80), 72.0, "prompt caching saved $72.00"),
        (Usage(input_tokens=100, cache_write_tokens=80), -20.0, "prompt caching lost $20.00"),
        (Usage(input_tokens=100), 0.0, ""),
    ],
)
def test_prompt_caching_is_told_net(usage, net, told, tmp_path):
    """What reads saved less what writes cost more; a loss is called one, in the table and on the page."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(usage=usage))
    summary = builder.build(wall_s=1.0)
    assert summary.cost.saved_prefix == pytest.approx(net)
    assert told in cost_note(summary.cost)
    assert ("prompt caching" in cost_note(summary.cost)) == bool(told)
    write_report(tmp_path / "r.html", summary)
    page = (tmp_path / "r.html").read_text("utf-8")
    assert ("not spent: prompt caching, net" in page, "Prompt caching lost $20.00" in page) == (net > 0, net < 0)


def test_what_caching_came_to_is_unknown_with_the_split():
    """Where a row's tokens are not known, no part of the sum is told."""
    builder = SummaryBuilder(rates=Flat())
    builder.add(result(usage=Usage(input_tokens=100, cached_tokens=80)))
    builder.add(result(1, usage=None, dollars=5.0))
    assert builder.build(wall_s=1.0).cost.saved_prefix is None
