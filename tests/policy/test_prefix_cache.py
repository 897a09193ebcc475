"""When a write pays, what caching came to, and who goes first."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.prefix_cache import Reuse, break_even, fan_pays, fan_saved_usd, net_dollars, rules_for
from headway.types import Usage

MARKED = rules_for("anthropic_messages", "claude-sonnet-5")
ROUTED = rules_for("openai_responses", "gpt-5.4-mini")


class Rates:
    """A dollar a million tokens; writes and reads as told."""

    def __init__(self, write: float = 1.25, read: float = 0.1) -> None:
        self.write, self.read = write, read

    def dollars(self, usage: Usage) -> float:
        fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        return (fresh + self.read * usage.cached_tokens + self.write * usage.cache_write_tokens) / 1e6


@pytest.mark.parametrize(
    ("write", "read", "expected"),
    [(1.25, 0.1, 0.2174), (2.0, 0.1, 0.5263), (1.0, 0.1, 0.0), (1.25, 1.0, 1.0), (1.0, 1.0, 1.0)],
)
def test_break_even_of_published_prices(write, read, expected):
    """21.7 % at five minutes' writes, 52.6 % at an hour's, 0 where writes are free, never where reads are not cheaper."""
    assert break_even(write, read) == pytest.approx(expected, abs=5e-5)


@given(st.floats(1.01, 3.0), st.floats(0.0, 0.99), st.floats(0.0, 1.0))
def test_break_even_is_where_marking_starts_to_pay(write, read, hit_rate):
    """Above it a marked prefix costs less than an unmarked one, below it more: the formula's own derivation."""
    cost = hit_rate * read + (1 - hit_rate) * write
    if abs(hit_rate - break_even(write, read)) > 1e-9:
        assert (cost < 1.0) == (hit_rate > break_even(write, read))


def test_net_dollars_are_savings_less_premiums():
    """Reads save nine tenths, writes cost a quarter more, and a loss is a loss."""
    read, write = Usage(input_tokens=10_000, cached_tokens=8_000), Usage(input_tokens=10_000, cache_write_tokens=8_000)
    assert net_dollars(read, Rates()) == pytest.approx(0.9 * 8_000 / 1e6)
    assert net_dollars(write, Rates()) == pytest.approx(-0.25 * 8_000 / 1e6)
    assert net_dollars(Usage(input_tokens=10_000, output_tokens=5), Rates()) == 0.0


def test_one_ahead_costs_what_the_formula_says():
    """N * 1.25 against 1.25 + 0.1 (N - 1), per prefix."""
    n, tokens = 50, 4_000
    side_by_side, ahead = n * 1.25, 1.25 + 0.1 * (n - 1)
    assert fan_saved_usd(n, tokens, Rates()) == pytest.approx((side_by_side - ahead) * tokens / 1e6)


@pytest.mark.parametrize(
    ("rows", "tokens", "wait_s", "pays"),
    [
        (500, 4_000, 2.0, True),
        (1, 4_000, 2.0, False),  # nobody to read it
        (500, 1_000, 2.0, False),  # too short to be kept
        (3, 1_100, 2.0, False),  # a third of a cent: not worth two seconds
        (3, 1_100, 0.2, True),
    ],
)
def test_one_goes_ahead_where_the_dollars_are_worth_the_wait(rows, tokens, wait_s, pays):
    """Dollars saved against the price of time."""
    assert fan_pays(rows, tokens, MARKED, Rates(), wait_s=wait_s) is pays


@pytest.mark.parametrize(
    ("format_", "model", "tokens"),
    [
        ("openai_chat", "gpt-5.4", 1_024),
        ("openai_responses", "anything", 1_024),
        ("anthropic_messages", "claude-sonnet-5", 1_024),
        ("anthropic_messages", "claude-haiku-4-5-20251001", 4_096),
        ("anthropic_messages", "claude-opus-5", 512),
    ],
)
def test_the_shortest_prefix_is_the_formats_and_the_models(format_, model, tokens):
    """What is shorter is silently not kept, so it is not marked."""
    assert rules_for(format_, model).tokens_min == tokens


def test_embeddings_have_no_prompt_cache():
    """None: leave such requests alone."""
    assert rules_for("openai_embeddings", "text-embedding-3-small") is None


def drive(gaps_s: list[float], threshold: float = 0.2174) -> tuple[int, int, int]:
    """Requests with one prefix at those gaps, answered after a second: unmarked, written, read."""
    reuse, now_s, cached_until_s, counts = Reuse(), 0.0, -1.0, [0, 0, 0]
    for gap_s in gaps_s:
        now_s += gap_s
        if not reuse.mark(now_s, MARKED, threshold):
            counts[0] += 1
            continue
        read = now_s <= cached_until_s
        counts[2 if read else 1] += 1
        usage = Usage(input_tokens=2_000, **({"cached_tokens": 1_900} if read else {"cache_write_tokens": 1_900}))
        reuse.ended(now_s + 1.0, MARKED, usage)
        cached_until_s = now_s + 1.0 + MARKED.ttl_s
    return tuple(counts)


def test_a_busy_prefix_is_written_once_and_read_ever_after():
    """Two requests to learn, one write, the rest reads."""
    assert drive([10.0] * 100) == (2, 1, 97)


def test_a_rare_prefix_is_never_written():
    """Once every ten minutes it would always have expired."""
    assert drive([600.0] * 100) == (100, 0, 0)


def test_pairs_are_not_worth_a_write():
    """One repeat is no evidence: a prefix that comes twice and is gone is left alone."""
    assert drive([0.0, 5.0]) == (2, 0, 0)


@given(st.integers(0, 10_000), st.floats(0.0, 0.12))
def test_low_reuse_stays_off(seed, again):
    """Where fewer than 12 % come in time, writes never come to lose more than 3 % of the prefixes."""
    dice = Random(seed)
    _, written, read = drive([10.0 if dice.random() < again else 1_000.0 for _ in range(300)])
    assert 0.25 * written - 0.9 * read <= 0.03 * 300


def test_what_is_sent_beside_the_writer_is_not_marked():
    """It would write as well: it could not read what is not there yet."""
    reuse = Reuse()
    assert [reuse.mark(t, MARKED, 0.2174) for t in (0.0, 1.0, 2.0, 2.0, 2.5)] == [False, False, True, False, False]
    reuse.ended(3.0, MARKED, Usage(input_tokens=2_000, cache_write_tokens=1_900))
    assert reuse.mark(3.0, MARKED, 0.2174)


def test_a_writer_that_failed_leaves_the_place_to_the_next():
    """No usage: nothing was written, and the next one may."""
    reuse = Reuse()
    assert [reuse.mark(float(t), MARKED, 0.2174) for t in range(3)] == [False, False, True]
    reuse.ended(3.0, MARKED, None)
    assert reuse.mark(4.0, MARKED, 0.2174)


def test_a_mark_that_is_ignored_is_not_made_again():
    """The provider neither wrote nor read: the prefix is too short for this model after all."""
    reuse = Reuse()
    assert [reuse.mark(float(t), MARKED, 0.2174) for t in range(3)] == [False, False, True]
    reuse.ended(3.0, MARKED, Usage(input_tokens=2_000))
    assert not reuse.mark(4.0, MARKED, 0.2174)


def test_routed_formats_need_no_marks():
    """Their writes are free and made by themselves."""
    assert not ROUTED.marked
    assert break_even(ROUTED.write_ratio, ROUTED.read_ratio) == 0.0
