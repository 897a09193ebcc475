"""Rates agree with the package that they are read from, and are unknown rather than zero."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.types import Usage
from headway.wire.anthropic_messages_body import usage_of
from headway.wire.prices import Prices

AT = datetime(2026, 11, 1, tzinfo=UTC)
PRICES = Prices(at=AT)
MODELS = ["gpt-5.4-mini", "gpt-5.6", "gpt-4o", "gpt-4-turbo", "gpt-3.5-turbo", "claude-sonnet-4-5"]
SERVED = [
    *((model, "") for model in MODELS),
    ("sonar", "https://api.perplexity.ai"),  # has a price per request
    ("qwen/qwen3-coder-flash", "https://openrouter.ai"),  # has two tiers
]


@given(
    served=st.sampled_from(SERVED),
    parts=st.tuples(*[st.integers(0, 400_000)] * 3),
    output=st.integers(0, 200_000),
)
def test_dollars_agree(served: tuple[str, str], parts: tuple[int, int, int], output: int) -> None:
    """Dollars equal the package's own sum for any usage, tiers and models without cache prices included."""
    _, cached, written = parts
    model, origin = served
    rates = PRICES.rates(model, origin)
    assert rates is not None
    usage = Usage(input_tokens=sum(parts), cached_tokens=cached, cache_write_tokens=written, output_tokens=output)
    theirs = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=sum(parts),
            cache_read_tokens=cached,
            cache_write_tokens=written,
            output_tokens=output,
        ),
        model,
        provider_api_url=origin or None,
        genai_request_timestamp=AT,
    )
    assert rates.dollars(usage) == pytest.approx(float(theirs.total_price), rel=1e-9, abs=1e-15)
    assert rates.worst_case(sum(parts), output) >= rates.dollars(usage) * (1 - 1e-9)


def test_a_cached_conversation_in_dollars() -> None:
    """12 fresh, 10,240 read, 2,048 written and 503 out of Claude Haiku 4.5: a tenth for reads, 1.25 for writes."""
    rates = PRICES.rates("claude-haiku-4-5-20251001", "https://api.anthropic.com")
    assert rates is not None
    usage = usage_of(
        {
            "input_tokens": 12,
            "cache_read_input_tokens": 10_240,
            "cache_creation_input_tokens": 2048,
            "output_tokens": 503,
        }
    )
    assert usage is not None
    assert rates.dollars(usage) == pytest.approx((12 * 1.00 + 10_240 * 0.10 + 2048 * 1.25 + 503 * 5.00) / 1e6)
    uncached = usage_of({"input_tokens": 12_300, "output_tokens": 503})
    assert uncached is not None
    assert rates.dollars(uncached) == pytest.approx((12_300 * 1.00 + 503 * 5.00) / 1e6)


@pytest.mark.parametrize(
    ("model", "input_", "read", "write", "output"),
    [
        ("claude-opus-4-5", 5.0, 0.5, 6.25, 25.0),
        ("claude-sonnet-4-6", 3.0, 0.3, 3.75, 15.0),
        ("claude-opus-4-1-20250805", 15.0, 1.5, 18.75, 75.0),
        ("claude-haiku-4-5", 1.0, 0.1, 1.25, 5.0),
    ],
)
@pytest.mark.parametrize("origin", ["", "https://api.anthropic.com", "http://127.0.0.1:8080"])
def test_anthropic_rates(model: str, input_: float, read: float, write: float, output: float, origin: str) -> None:
    """Dollars a million tokens, as published."""
    rates = PRICES.rates(model, origin)
    assert rates is not None
    tier = rates.base
    assert [tier.input, tier.cached, tier.cache_write, tier.output] == pytest.approx(
        [input_ / 1e6, read / 1e6, write / 1e6, output / 1e6]
    )


@pytest.mark.parametrize(
    "origin", ["", "https://api.openai.com", "http://127.0.0.1:8080", "https://x.openai.azure.com"]
)
def test_embeddings_have_a_price(origin: str) -> None:
    """Two cents a million tokens in, nothing out, wherever they are served."""
    rates = PRICES.rates("text-embedding-3-small", origin)
    assert rates is not None
    assert rates.dollars(Usage(input_tokens=1_000_000)) == pytest.approx(0.02)


@pytest.mark.parametrize("model", ["gpt-5.6", "claude-sonnet-4-5"])
def test_tiers_are_cliffs(model: str) -> None:
    """One token beyond a tier's threshold, and no sooner, the whole request pays the dearer rate."""
    rates = PRICES.rates(model)
    assert rates is not None
    (tier,) = rates.tiers
    at, beyond = (rates.dollars(Usage(input_tokens=tier.above_tokens + more)) for more in (0, 1))
    assert at == pytest.approx(tier.above_tokens * rates.base.input)
    assert beyond == pytest.approx((tier.above_tokens + 1) * 2 * rates.base.input)


def test_unknown_is_not_zero() -> None:
    """A model that nobody knows, or knows no price of, has no rates at all."""
    assert PRICES.rates("no-such-model-1") is None
    assert PRICES.rates("") is None
    assert PRICES.rates("gpt-4.1", "https://api.githubcopilot.com") is None


def test_origin_chooses_the_provider() -> None:
    """The origin's own price counts where it is known; elsewhere, as on loopback, the model's name."""
    by_name = PRICES.rates("gpt-4o-mini")
    assert by_name is not None
    assert by_name == PRICES.rates("gpt-4o-mini", "http://127.0.0.1:8080")
    assert by_name == PRICES.rates("gpt-4o-mini", "https://api.openai.com")
    assert (by_name.context_window, by_name.model) == (128_000, "gpt-4o-mini")
    assert PRICES.rates("llama-3.3-70b-versatile", "https://api.groq.com") is not None
    assert PRICES.rates("llama-3.3-70b-versatile") is None


def test_rates_are_kept_and_bounded() -> None:
    """A second look-up is the same object, and strange names do not pile up."""
    prices = Prices(at=AT)
    assert prices.rates("gpt-4o") is prices.rates("gpt-4o")
    for index in range(1100):
        prices.rates(f"no-such-model-{index}")
    assert len(prices._known) == 1024


def test_odd_usage_is_never_negative() -> None:
    """Parts that exceed the whole, as some providers report them, do not turn into a refund."""
    rates = PRICES.rates("gpt-4o")
    assert rates is not None
    assert rates.dollars(Usage(input_tokens=10, cached_tokens=100)) == pytest.approx(100 * rates.base.cached)


def test_what_is_loaded_ahead_is_all_that_a_first_look_up_needs() -> None:
    """The package imports its data late; a first request would wait for that."""
    code = (
        "import sys; from headway.wire.prices import Prices, load; load(); before = set(sys.modules); "
        "assert Prices().rates('gpt-4o') is not None; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
