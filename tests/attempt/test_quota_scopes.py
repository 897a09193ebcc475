"""Keys and upstreams that share a limit, and some that do not: one queue for what counts together, all of them in use."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from headway import ConfigError, Engine
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

PATH = "/v1/responses"
ROWS = 1_200


def entry(name: str, **more: object) -> dict[str, object]:
    """A key of its own at the one address."""
    return {"name": name, "base_url": "http://p/v1", "key_env": f"KEY_{name.upper()}"} | more


def organised(simulator: Simulator):
    """The provider, whose answers name the organisation of the key."""

    async def handler(call):
        reply = await simulator.handler(call)
        key = dict(call.headers).get("authorization", "").removeprefix("Bearer ")
        organisation = simulator.settings.organisations.get(key, f"org-of-{key}")
        if any(name == "openai-organization" for name, _ in reply.headers):
            return reply
        return replace(reply, headers=(*reply.headers, ("openai-organization", organisation)))

    return handler


def run(monkeypatch, entries, organisations=None, *, told=False, rows=ROWS, **limits):
    """(seconds that all rows took, refusals, scopes that were left)."""
    for one in entries:
        monkeypatch.setenv(one["key_env"], f"sk-{one['name']}")
    limits = {"rpm": 1_200, "capacity_s": 1} | limits
    simulator = Simulator(SimSettings(seed=1, organisations=organisations or {}, **limits))

    async def main():
        handler = organised(simulator) if told else simulator.handler
        async with Engine(
            handler=handler, base_url="http://p/v1", api_key="none", upstreams=entries, log="off", seed=1
        ) as engine:
            bodies = [{"model": "gpt-4.1-nano", "input": f"Say {n}", "max_output_tokens": 16} for n in range(rows)]
            replies = await asyncio.gather(*[engine.send(PATH, body) for body in bodies])
            assert {reply.status for reply in replies} == {200}
            return asyncio.get_running_loop().time(), len(engine._stack._pace.lanes)

    took_s, lanes = virtual_run(main)
    return took_s, simulator.ledger.totals.throttled, lanes


def home_refuses(call) -> bool:
    return call.origin == "http://home"


ONE_ORGANISATION = {"sk-a": "org-1", "sk-b": "org-1"}


@pytest.fixture(name="alone")
def one_key(monkeypatch):
    """What one key takes: 1,200 rows at 20 a second."""
    return run(monkeypatch, [entry("a")])


def test_show(monkeypatch, alone):
    print("alone", alone)
    print("two orgs", run(monkeypatch, [entry("a"), entry("b")]))
    print("declared", run(monkeypatch, [entry("a", quota="o"), entry("b", quota="o")], ONE_ORGANISATION))
    print("learned", run(monkeypatch, [entry("a"), entry("b")], ONE_ORGANISATION, told=True))
    print("untold", run(monkeypatch, [entry("a"), entry("b")], ONE_ORGANISATION))
