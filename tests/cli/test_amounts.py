"""Times and money as people write them."""

import pytest

from headway.cli.amounts import dollars_of, seconds_of
from headway.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("30min", 1800), ("6h", 21600), ("1d", 86400), ("1H 30m", 5400)]
)
def test_times(text, seconds):
    assert seconds_of(text, "--deadline") == seconds


@pytest.mark.parametrize("text", ["", "6", "h", "0s", "-1h", "6 hours", "1h30", "\u0661h"])
def test_what_is_no_time_names_the_option_and_an_example(text):
    with pytest.raises(ConfigError, match="--deadline must be a time such as"):
        seconds_of(text, "--deadline")


@pytest.mark.parametrize(("text", "dollars"), [("20usd", 20), ("$20", 20), ("0.5", 0.5), ("20 USD", 20), ("0", 0)])
def test_money(text, dollars):
    assert dollars_of(text, "--budget") == dollars


@pytest.mark.parametrize("text", ["", "usd", "-1", "20eur", "1e3", "nan"])
def test_what_is_no_money_names_the_option(text):
    with pytest.raises(ConfigError, match="--budget must be an amount"):
        dollars_of(text, "--budget")
