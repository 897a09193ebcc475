"""What the doctor makes of a provider's answers."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest

from headway.attempt.upstreams import Upstream, UpstreamPrices
from headway.config import Secret, load_settings
from headway.errors import ConnectFailed
from headway.measure.doctor.address import Address, addresses_of
from headway.measure.doctor.provider import (
    Heard,
    call_usd,
    clock,
    key_missing,
    limits_of,
    listen_to,
    price,
    try_call,
)
from headway.testing import FakeProvider, Step

OPENAI = Address(name="base_url", base_url="https://api.openai.com/v1", key=Secret("sk-1"), key_env="OPENAI_API_KEY")
CLAUDE = Address(
    name="claude",
    base_url="https://api.anthropic.com/v1",
    key=Secret("sk-2"),
    key_env="ANTHROPIC_API_KEY",
    endpoints=("/v1/messages",),
)
LISTED = b'{"object":"list","data":[{"id":"gpt-5.4-mini"},{"id":"own-model"},{"id":3},null]}'
WALL_S = 1_800_000_000.0


def heard(address: Address, step: Step | int, wall_s: float = WALL_S) -> tuple[Heard, FakeProvider]:
    """The answer to the question for models."""
    provider = FakeProvider([step])

    async def main() -> Heard:
        return await listen_to(address, provider, "environment variable X_API_KEY", lambda: wall_s)

    return asyncio.run(main()), provider


def test_a_key_that_lists_models_is_good():
    """One GET, the key where the API wants it; nothing but ids is taken from the list."""
    found, provider = heard(OPENAI, Step(body=LISTED))
    assert found.finding.level == "ok"
    assert "accepted, from environment variable X_API_KEY; 2 models" in found.finding.text
    assert found.models == ("gpt-5.4-mini", "own-model")
    (call,) = provider.seen
    assert (call.method, call.origin, call.path) == ("GET", "https://api.openai.com", "/v1/models")
    assert ("authorization", "Bearer sk-1") in call.headers


def test_the_messages_apis_key_goes_in_its_own_header():
    """Anthropic's list of models knows no bearer token."""
    _, provider = heard(CLAUDE, Step(body=LISTED))
    (call,) = provider.seen
    assert call.path == "/v1/models"
    assert ("x-api-key", "sk-2") in call.headers
    assert "authorization" not in dict(call.headers)
    assert "anthropic-version" in dict(call.headers)


@pytest.mark.parametrize(
    ("step", "level", "says", "remedy"),
    [
        (Step(status=401), "failure", "refused", "OPENAI_API_KEY"),
        (Step(status=403), "failure", "refused", "OPENAI_API_KEY"),
        (Step(status=404), "warning", "no list of models", "base_url"),
        (Step(status=500), "warning", "not certain", "again"),
        (Step(error=ConnectFailed("nobody there")), "skipped", "nobody there", ""),
        (Step(body=b"<html>"), "ok", "0 models", ""),
    ],
)
def test_other_answers_are_told_apart(step, level, says, remedy):
    """Refused, absent, broken: each with what to do, and never with the key."""
    finding = heard(OPENAI, step)[0].finding
    assert finding.level == level
    assert says in finding.text
    assert remedy in finding.remedy
    assert "sk-1" not in finding.text + finding.remedy


@pytest.mark.parametrize(
    ("theirs_s", "took_s", "level", "says"),
    [
        (WALL_S, 0.0, "ok", "no more than 5 s"),
        (WALL_S - 6.0, 6.0, "ok", "no more than"),  # it may have been written before the answer's long way
        (WALL_S - 90.0, 0.1, "warning", "1 min 29 s ahead"),
        (WALL_S + 90.0, 0.1, "warning", "1 min 30 s behind"),
    ],
)
def test_the_clock_is_held_against_the_date(theirs_s, took_s, level, says):
    """Whole seconds and the way of the answer are no difference."""
    date = formatdate(theirs_s, usegmt=True)
    finding = clock(OPENAI, Heard(heard(OPENAI, 200)[0].finding, (), (("date", date),), WALL_S, took_s))
    assert finding.level == level
    assert says in finding.text


@pytest.mark.parametrize("headers", [(), (("date", "yesterday"),)])
def test_no_date_is_no_verdict(headers):
    """A server that says no time, or none that can be read."""
    assert clock(OPENAI, Heard(heard(OPENAI, 200)[0].finding, (), headers, WALL_S)).level == "skipped"


def test_a_price_is_known_or_to_be_set():
    """Of one model, or of those that are listed; one that is not listed is probably misspelt."""
    prices = UpstreamPrices(())
    listed = heard(OPENAI, Step(body=LISTED))[0]
    nothing = Heard(listed.finding)
    assert price(OPENAI, listed, "", prices).text.endswith("known for 1 of 2 models")
    assert price(OPENAI, nothing, "", prices).level == "skipped"
    assert "costs $" in price(OPENAI, nothing, "gpt-5.4-mini", prices).text
    assert "does not list" in price(OPENAI, listed, "gpt-5.4-mimi", prices).text
    unknown = price(OPENAI, listed, "own-model", prices)
    assert (unknown.level, "input_usd" in unknown.remedy) == ("warning", True)
    own = UpstreamPrices((Upstream(name="a", base_url=OPENAI.base_url, input_usd=2.0, output_usd=4.0),))
    assert "$2 in, $4 out" in price(OPENAI, listed, "own-model", own).text
    assert call_usd(OPENAI, "own-model", own) == pytest.approx((16 * 2.0 + 16 * 4.0) / 1e6)
    assert call_usd(OPENAI, "own-model", prices) is None


def test_limits_are_what_the_headers_say():
    """Requests and tokens, and what is left of them; nothing is made up."""
    headers = (("x-ratelimit-limit-requests", "500"), ("x-ratelimit-remaining-requests", "499"))
    assert limits_of(OPENAI, headers, WALL_S).text == "base_url: 500 requests, 499 left"
    assert limits_of(OPENAI, (("x-request-id", "r"),), WALL_S).level == "skipped"
    assert limits_of(OPENAI, (), WALL_S).level == "skipped"


def calls(address: Address, *script: Step | int):
    """What a tiny call finds, and what was sent."""
    provider = FakeProvider(script)
    found = asyncio.run(try_call(address, provider, "some-model", lambda: WALL_S))
    return found, provider.seen


def test_a_tiny_call_asks_for_little():
    """Sixteen tokens at the most; in the API's own path and words."""
    (call, _), seen = calls(OPENAI, 200)
    assert call.level == "ok"
    assert [one.path for one in seen] == ["/v1/chat/completions"]
    assert b'"max_completion_tokens":16' in seen[0].body
    (call, _), seen = calls(CLAUDE, 200)
    assert call.level == "ok"
    assert [one.path for one in seen] == ["/v1/messages"]
    assert b'"max_tokens":16' in seen[0].body


def test_an_older_server_is_asked_in_older_words():
    """`max_completion_tokens` is not known everywhere."""
    (call, _), seen = calls(OPENAI, 400, 200)
    assert call.level == "ok"
    assert b'"max_tokens":16' in seen[1].body


def test_a_call_that_fails_says_what_the_provider_says_without_the_key():
    """Some providers repeat the key that they refuse."""
    body = b'{"error":{"message":"Incorrect API key provided: sk-1 is none","type":"x","code":"invalid_api_key"}}'
    (call, _), _ = calls(OPENAI, Step(status=401, body=body))
    assert call.level == "failure"
    assert "Incorrect API key provided: ... is none" in call.text
    (call,), _ = calls(OPENAI, Step(error=ConnectFailed("nobody there")))
    assert (call.level, "nobody there" in call.text) == ("failure", True)


def test_a_missing_key_names_its_variable():
    """A failure, except on this machine, whose servers may need none."""
    settings = load_settings({"base_url": "https://api.anthropic.com/v1"}, environ={})
    (address,) = addresses_of(settings)
    missing = key_missing(address)
    assert (missing.level, "ANTHROPIC_API_KEY" in missing.remedy) == ("failure", True)
    (address,) = addresses_of(load_settings({"base_url": "http://127.0.0.1:8000/v1"}, environ={}))
    assert key_missing(address).level == "warning"
    (address,) = addresses_of(load_settings({}, environ={"OPENAI_API_KEY": "sk-1"}))
    assert key_missing(address) is None


@pytest.mark.parametrize(
    ("url", "key_env", "status", "level", "says"),
    [
        ("http://10.0.0.5:8000/v1", "", 200, "ok", "none needed"),
        ("http://127.0.0.1:8000/v1", "OPENAI_API_KEY", 200, "ok", "none needed"),
        ("http://127.0.0.1:8000/v1", "OPENAI_API_KEY", 401, "failure", "none, and GET"),
        ("https://a.example/v1", "A_API_KEY", 200, "failure", "none for https://a.example/v1"),  # a public list
        ("https://a.example/v1", "", 404, "warning", "none"),
    ],
)
def test_without_a_key_the_answer_tells_whether_one_is_needed(url, key_env, status, level, says):
    """Servers of one's own need none; a list that is public says nothing about answers. No credential is sent."""
    bare = Address(name="bare", base_url=url, key=None, key_env=key_env)
    found, provider = heard(bare, Step(status=status, body=LISTED))
    assert (found.finding.level, says in found.finding.text) == (level, True)
    assert not {"authorization", "x-api-key"} & dict(provider.seen[0].headers).keys()


def test_every_address_is_looked_at_once_with_its_own_key():
    """No upstream is asked with the key of another; one address with one key is asked once."""
    entries = [
        {
            "name": "eu",
            "base_url": "https://eu.example/v1",
            "key_env": "EU_API_KEY",
            "stands_in_for": "https://api.openai.com",
        },
        {"name": "eu-2", "base_url": "https://eu.example/v1", "key_env": "EU_API_KEY", "models": ["a"]},
        {"name": "bare", "base_url": "http://127.0.0.1:8000/v1"},
        {"name": "flex", "base_url": "https://api.openai.com/v1", "flex": True},
    ]
    env = {"OPENAI_API_KEY": "sk-own", "EU_API_KEY": "sk-eu"}
    found = {one.name: one.key for one in addresses_of(load_settings({"upstreams": entries}, environ=env))}
    assert found == {"base_url": Secret("sk-own"), "eu": Secret("sk-eu"), "bare": None}
    only = addresses_of(load_settings({"upstreams": entries[:1]}, environ={"EU_API_KEY": "sk-eu"}))
    assert [one.name for one in only] == ["eu"]
