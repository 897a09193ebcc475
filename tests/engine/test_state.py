"""What an engine says of its upstreams now: queues by priority, limits and their use, breakers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from headway import Engine
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, virtual_run
from tests.engine.helpers import BODY, RESPONSES, engine


def state_of(one: Engine) -> dict[str, Any]:
    """As it goes over the wire to another process."""
    return msgspec.json.decode(msgspec.json.encode(one.snapshot()))


def upstream_of(one: Engine, name: str) -> dict[str, Any]:
    return next(found for found in state_of(one)["upstreams"] if found["name"] == name)


def test_who_waits_is_told_by_priority():
    """With the upstream that they wait for, whose limit was configured."""

    async def main():
        async with engine(FakeProvider([200] * 99), requests_per_min=60.0) as one:
            asks = [
                asyncio.ensure_future(one.send(RESPONSES, BODY | {"input": f"{n}"}, priority=priority))
                for n, priority in enumerate([0] * 70 + [1, 1, -1, 5])
            ]
            await asyncio.sleep(0.5)
            found = state_of(one)
            queued = found["queued_by_priority"]
            assert sum(queued.values()) == found["queued"] > 0
            assert queued["low"] == 1
            upstream = upstream_of(one, "https://api.openai.com")
            assert upstream["queued"] == found["queued"]
            (limit,) = [limit for limit in upstream["limits"] if limit["kind"] == "requests"]
            assert (limit["scope"], limit["per_min"], limit["learned"]) == ("gpt-5.4-mini", 60.0, False)
            assert limit["share"] > 0.8
            await asyncio.gather(*asks)
            assert state_of(one)["queued_by_priority"] == {"high": 0, "normal": 0, "low": 0}

    virtual_run(main)


def test_the_use_of_a_limit_is_what_was_sent_lately():
    """Half of what is allowed is about a half, however full the provider's bucket is; and nothing after a while."""
    simulator = Simulator(SimSettings(seed=1, rpm=600, latency_scale=0.01))

    async def main():
        async with engine(simulator.handler) as one:  # type: ignore[arg-type]
            shares = []
            for n in range(120):
                await one.send(RESPONSES, BODY | {"input": f"{n}"})
                if n % 10 == 9:
                    (limit,) = [
                        limit
                        for limit in upstream_of(one, "https://api.openai.com")["limits"]
                        if limit["kind"] == "requests"
                    ]
                    shares.append(limit["share"])
                await asyncio.sleep(0.2)
            assert limit["per_min"] == 600
            assert limit["learned"]
            assert 0.35 < shares[-1] < 0.6
            for _ in range(20):
                await asyncio.sleep(10)
                limits = upstream_of(one, "https://api.openai.com")["limits"]
            assert max(limit["share"] for limit in limits) < 0.01

    virtual_run(main)


def test_configured_upstreams_and_their_breakers():
    """Those that nobody has asked are there, too; the one that fails is open, and then half-open."""
    described = [
        {"name": name, "base_url": f"https://{name}.example/v1", "stands_in_for": "https://api.openai.com"}
        for name in ("good", "bad")
    ]

    class Provider(FakeProvider):
        async def __call__(self, call: Any) -> Any:
            return await (FakeProvider([500]) if "bad." in call.origin else FakeProvider([200]))(call)

    async def main():
        async with engine(Provider([]), upstreams=described) as one:
            assert {found["name"] for found in state_of(one)["upstreams"]} == {"good", "bad"}
            for n in range(40):
                await one.send(RESPONSES, BODY | {"input": f"{n}"})
            assert upstream_of(one, "bad")["breaker"] in ("open", "half-open")
            assert upstream_of(one, "good")["breaker"] == "closed"
            assert upstream_of(one, "good")["origin"] == "https://good.example"
            await asyncio.sleep(120)
            assert upstream_of(one, "bad")["breaker"] == "half-open"

    virtual_run(main)
