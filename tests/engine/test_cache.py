"""What is reused, for how long, by whom; and what never is."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from headway import ConnectFailed
from headway.testing import FakeProvider, Step, virtual_run
from headway.wire import reader_for

from .helpers import BODY, CHAT, COMPLETIONS, RESPONSES, engine


def replies(provider, *bodies, gap_s=0.0, path=RESPONSES, **settings):
    """Send the bodies one after the other; [(status, cache state, body)]."""

    async def main():
        async with engine(provider, **{"cache": "memory"} | settings) as e:
            out = []
            for body in bodies:
                reply = await e.send(path, body)
                data = await reply.read()
                out.append((reply.status, reply.trace.cache, data, reply))
                await asyncio.sleep(gap_s)
            return out

    return virtual_run(main)


@pytest.mark.parametrize("tiers", ["memory", "disk"])
def test_a_second_time_is_free(tiers):
    """The same bytes again, at no cost, and the headers say so."""
    provider = FakeProvider()
    first, second = replies(provider, BODY, BODY, cache=tiers)
    assert provider.calls == 1
    assert second[1] == "memory"
    assert second[2] == first[2]
    assert second[3].trace.dollars == 0.0
    assert second[3].trace.saved_dollars == first[3].trace.dollars > 0
    assert second[3].header("age") == "0"
    assert second[3].header("cache-status").startswith("headway; hit; ttl=")


def test_the_disk_outlives_the_engine(tmp_path):
    """Another engine on the same file finds the answer, and keeps it in memory from then on."""
    provider = FakeProvider()
    path = str(tmp_path / "cache.sqlite")
    replies(provider, BODY, cache="disk", cache_path=path)
    again = replies(provider, BODY, BODY, cache="disk", cache_path=path)
    assert provider.calls == 1
    assert [state for _, state, _, _ in again] == ["sqlite", "memory"]


@pytest.mark.parametrize(
    "other",
    [
        BODY | {"input": "Hello "},
        BODY | {"temperature": 0},
        BODY | {"some_field_of_tomorrow": 1},
        BODY | {"model": "gpt-4o"},
    ],
)
def test_whatever_could_change_the_answer_is_in_the_key(other):
    """Unknown fields too: a wrong hit is worse than a miss."""
    provider = FakeProvider()
    replies(provider, BODY, other)
    assert provider.calls == 2


def test_what_cannot_change_the_answer_is_not_in_the_key():
    """Key order, metadata, user and tier make no difference."""
    provider = FakeProvider()
    replies(provider, {"input": "Hello", "user": "u1", "model": "gpt-5.4-mini", "metadata": {"a": "b"}}, BODY)
    assert provider.calls == 1


@pytest.mark.parametrize(
    "body",
    [
        BODY | {"store": True},
        BODY | {"previous_response_id": "resp_1"},
        BODY | {"background": True},
        BODY | {"tools": [{"type": "web_search"}]},
    ],
)
def test_stateful_requests_pass_by(body):
    """What depends on more than the body is never reused."""
    provider = FakeProvider()
    out = replies(provider, body, body)
    assert provider.calls == 2
    assert out[1][1] == "off"
    assert "fwd=bypass" in out[1][3].header("cache-status")


@pytest.mark.parametrize(
    "step",
    [
        Step(status=400),
        Step(body=b'{"choices":[{"message":{"content":"cut"},"finish_reason":"length"}]}'),
        Step(body=b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}'),
        Step(body=b'{"choices":[{"message":{"content":"x"},"finish_reason":"content_filter"}]}'),
    ],
)
def test_errors_and_cut_answers_are_not_kept(step):
    """One gateway found 13 of 1,483 cached answers truncated; here there are none."""
    provider = FakeProvider([step])
    replies(provider, CHAT, CHAT, path=COMPLETIONS)
    assert provider.calls == 2


def test_a_stored_stream_serves_both_kinds_of_caller():
    """Verbatim to a stream; as the aggregate, usage included, to a plain call."""
    provider = FakeProvider([Step(text="one two")])
    stream = CHAT | {"stream": True}
    with_usage = stream | {"stream_options": {"include_usage": True}}
    first, replay, whole, asked = replies(provider, stream, stream, CHAT, with_usage, path=COMPLETIONS)
    assert provider.calls == 1
    assert replay[2] == first[2]
    assert b'"usage"' not in first[2]
    assert b'"content":"one two"' in whole[2]
    assert b'"prompt_tokens":10' in whole[2]
    assert asked[2].count(b'"usage"') == 1
    assert asked[2].endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("path", "body"), [(COMPLETIONS, CHAT), (RESPONSES, BODY)])
def test_a_stored_whole_answer_serves_a_stream_where_the_format_says_how(path, body):
    """One request for both; the stream, put together again, is the stored answer, and its usage comes if asked for."""
    provider = FakeProvider()
    stream = body | {"stream": True}
    asked = stream | ({"stream_options": {"include_usage": True}} if path == COMPLETIONS else {})
    whole, streamed, with_usage = replies(provider, body, stream, asked, path=path)
    assert provider.calls == 1
    assert [streamed[1], with_usage[1]] == ["memory", "memory"]
    assert streamed[3].header("content-type").startswith("text/event-stream")
    assert (b'"usage":{' in streamed[2]) == (path == RESPONSES)
    again = reader_for(path).aggregate(with_usage[2])
    assert msgspec.json.decode(again) == msgspec.json.decode(whole[2]) | (
        {} if path == RESPONSES else again_only(again)
    )


def again_only(merged):
    """A merged message says explicitly that there was no refusal."""
    return {"choices": msgspec.json.decode(merged)["choices"]}


def test_what_is_old_is_fetched_again():
    """After the TTL and its jitter the provider is asked."""
    provider = FakeProvider()
    replies(provider, BODY, BODY, gap_s=120, cache_ttl_s=100)
    assert provider.calls == 2


def test_stale_answers_serve_when_the_provider_fails():
    """One short try, then the old answer, marked as stale; no error reaches the caller."""
    for failure in (Step(status=500), Step(error=ConnectFailed("down")), Step(delay_s=1000), ValueError("a bug")):
        provider = FakeProvider([200, failure])
        out = replies(provider, BODY, BODY, gap_s=120, cache_ttl_s=100)
        assert out[1][0] == 200
        assert out[1][1] == "stale"
        assert provider.calls == 2


def test_a_stale_answer_is_not_served_past_its_bound():
    """Gone is gone: then the error is the caller's."""
    provider = FakeProvider([200, 500])
    out = replies(provider, BODY, BODY, gap_s=120, cache_ttl_s=100, cache_stale_if_error_s=1)
    assert out[1][0] == 500


def test_stale_while_revalidate_serves_at_once_and_refreshes_behind():
    """The caller waits for nothing; the next one finds the new answer."""
    provider = FakeProvider([Step(text="old"), Step(text="new", delay_s=5)])
    out = replies(provider, BODY, BODY, BODY, gap_s=150, cache_ttl_s=100, cache_stale_while_revalidate_s=1000)
    assert b"old" in out[1][2]
    assert b"new" in out[2][2]


def test_refresh_and_off_are_per_call():
    """`cache="refresh"` asks and keeps, `cache="off"` asks and forgets."""
    provider = FakeProvider([Step(text="one"), Step(text="two"), Step(text="three")])

    async def main():
        async with engine(provider, cache="memory") as e:
            modes = [None, "refresh", None, "off", None]
            return [await (await e.send(RESPONSES, BODY, cache=mode)).read() for mode in modes]

    texts = virtual_run(main)
    for text, expected in zip(texts, [b"one", b"two", b"two", b"three", b"two"], strict=True):
        assert expected in text
    assert provider.calls == 3


def test_a_declared_normalisation_keys_the_call():
    """`key_body` stands in for the body in the key, never on the wire."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory") as e:
            for text in (" HELLO ", "hello"):
                await e.send(RESPONSES, BODY | {"input": text}, key_body=b'{"model":"gpt-5.4-mini","input":"hello"}')

    virtual_run(main)
    assert provider.calls == 1
    assert b" HELLO " in provider.seen[0].body


def test_tenants_do_not_share():
    """The key holds the full credential's digest."""
    provider = FakeProvider()

    async def main():
        async with engine(provider, cache="memory") as e:
            for key in ("sk-a", "sk-b", "sk-a"):
                await e.send(RESPONSES, BODY, headers={"authorization": f"Bearer {key}"})

    virtual_run(main)
    assert provider.calls == 2
