"""What a review has found, each in its smallest form."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from headway import DeadlineExceeded, Engine
from headway.testing import FakeProvider, Step, virtual_run

CHAT = "/v1/chat/completions"
ORIGIN = "https://api.openai.com"


def body(text: str = "Hello", **more: object) -> dict[str, object]:
    return {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": text}], **more}


def engine(handler, **settings: object) -> Engine:
    return Engine(handler=handler, **{"log": "off", "log_level": "off", "api_key": "k", "seed": 1, **settings})


def test_a_provider_that_refuses_stream_options_gets_the_request_untouched():
    """Some answer 422 to the field that asks for usage: the caller never hears of it, and it is not added again."""
    refusal = Step(status=422, body=b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}')
    provider = FakeProvider([refusal, Step(text="fine")])

    async def main():
        async with engine(provider) as e:
            first = await (await e.send(CHAT, body(stream=True))).read()
            await (await e.send(CHAT, body("again", stream=True))).read()
            return first

    assert b"fine" in virtual_run(main)
    assert [b"stream_options" in call.body for call in provider.seen] == [True, False, False]


def test_a_refusal_of_the_clients_own_stream_options_is_the_clients():
    """What the client wrote itself is not taken out behind its back."""
    provider = FakeProvider([Step(status=422, body=b'{"detail":"stream_options is not allowed"}')])

    async def main():
        async with engine(provider) as e:
            return (await e.send(CHAT, body(stream=True, stream_options={"include_usage": True}))).status

    assert virtual_run(main) == 422
    assert provider.calls == 1


def test_an_answer_that_may_not_be_kept_is_served_where_a_stale_one_stands_by():
    """stale-if-error is for failures: a fresh answer that was cut at its bound is no failure, and it was paid for."""
    cut = b'{"choices":[{"index":0,"message":{"content":"new"},"finish_reason":"length"}]}'
    provider = FakeProvider([Step(text="old"), Step(body=cut)])

    async def main():
        async with engine(provider, cache="memory", cache_ttl_s=10.0) as e:
            await e.send(CHAT, body())
            await asyncio.sleep(20)
            return await e.send(CHAT, body())

    assert b"new" in virtual_run(main).body


def test_one_providers_outage_leaves_anothers_retries_alone():
    """The retry budget is kept by provider."""

    class TwoProviders:
        def __init__(self) -> None:
            self.down, self.good = FakeProvider([503]), FakeProvider([503, 200] * 20)

        async def __call__(self, call):
            return await (self.down if "down" in call.origin else self.good)(call)

    async def main():
        async with engine(TwoProviders()) as e:
            await e.send(CHAT, body("first"))
            call = e._calls.make(e.new_trace(), CHAT, b"{}", None, mode="off", deadline_s=None, priority=0, tags=None)
            outage = [
                e.handle(replace(call, origin="https://down.example", trace=e.new_trace(), body=b"%d" % n))
                for n in range(40)
            ]
            await asyncio.gather(*outage, return_exceptions=True)
            return [(await e.send(CHAT, body(f"{n}"))).status for n in range(9)]

    assert virtual_run(main) == [200] * 9


def test_a_replay_at_its_old_pace_ends_with_the_deadline():
    """A stored stream may have taken long; whoever has no time for it is told so in time."""
    done = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    provider = FakeProvider([Step(chunks=(chunk, chunk, done, b"data: [DONE]\n\n"), chunk_delay_s=5.0)])

    async def main():
        async with engine(provider, cache="memory", cache_replay="paced") as e:
            await (await e.send(CHAT, body(stream=True))).read()
            start_s = asyncio.get_running_loop().time()
            reply = await e.send(CHAT, body(stream=True), deadline_s=1.0)
            with pytest.raises(DeadlineExceeded):
                await reply.read()
            return asyncio.get_running_loop().time() - start_s

    assert virtual_run(main) == pytest.approx(1.0)


class Upstreams:
    """Answers by origin."""

    def __init__(self, **by_host: FakeProvider) -> None:
        self.by_host = by_host

    async def __call__(self, call):
        host = call.origin.removeprefix("https://").split(".")[0]
        return await self.by_host[host](call)


def stand_in(**more: object) -> dict[str, object]:
    entry = {
        "name": "spare",
        "base_url": "https://spare.example/v1",
        "stands_in_for": ORIGIN,
        "key_env": "SPARE_API_KEY",
    }
    return entry | more


def test_a_stand_in_without_a_price_is_no_bargain(monkeypatch):
    """What nobody knows the price of has not cost the client's own model's price, nor nothing."""
    monkeypatch.setenv("SPARE_API_KEY", "spare")
    upstreams = Upstreams(api=FakeProvider([503]), spare=FakeProvider([200]))

    async def main():
        spare = stand_in(models={"gpt-5.4-mini": "a-model-of-our-own"})
        async with engine(upstreams, upstreams=[spare]) as e:
            return await e.send(CHAT, body())

    reply = virtual_run(main)
    assert (reply.status, reply.trace.upstream, reply.trace.dollars) == (200, "spare", None)


def test_under_a_cap_in_dollars_only_priced_upstreams_are_asked(monkeypatch):
    """A stand-in without a price must not fail the calls that the client's own provider could answer."""
    monkeypatch.setenv("SPARE_API_KEY", "spare")
    upstreams = Upstreams(api=FakeProvider([200]), spare=FakeProvider([200]))

    async def main():
        spare = stand_in(models={"gpt-5.4-mini": "a-model-of-our-own"})
        async with engine(upstreams, upstreams=[spare], budget_usd=1.0) as e:
            return [(await e.send(CHAT, body(f"{n}"))).status for n in range(8)]

    assert virtual_run(main) == [200] * 8
    assert upstreams.by_host["spare"].calls == 0


def test_a_stale_answer_waits_for_a_healthy_stand_in(monkeypatch):
    """The moment that a stale answer grants is enough for one try at each upstream."""
    monkeypatch.setenv("SPARE_API_KEY", "spare")
    upstreams = Upstreams(api=FakeProvider([200]), spare=FakeProvider([Step(text="fresh")]))

    async def main():
        async with engine(upstreams, upstreams=[stand_in()], cache="memory", cache_ttl_s=10.0) as e:
            found = []
            for n in range(6):
                await e.send(CHAT, body(f"{n}"))
            await asyncio.sleep(20)
            upstreams.by_host["api"] = FakeProvider([503])
            for n in range(6):
                found.append(await e.send(CHAT, body(f"{n}")))
            return [b"fresh" in reply.body for reply in found]

    assert virtual_run(main) == [True] * 6
