"""Upstreams side by side, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from headway import Call, ConfigError, ConnectFailed, Engine, Reply
from headway.config import load_settings
from headway.measure.regions import Measured, measure, targets_of, winner_of, worst_case_usd
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

ENV = {"OPENAI_API_KEY": "sk-own", "KEY_B": "sk-b"}


def settings(*upstreams: dict[str, Any]) -> Any:
    given = {"base_url": "http://own/v1", "upstreams": list(upstreams)}
    return load_settings(given, environ=ENV)


def upstream(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "base_url": f"http://{name}/v1", "stands_in_for": "http://own", "key_env": "KEY_B"} | more


class World:
    """A simulator in every region, by host; and what each was asked with."""

    def __init__(self, **regions: str) -> None:
        self.sims = {name: Simulator(SimSettings(seed=3, region=region)) for name, region in regions.items()}
        self.seen: list[Call] = []

    async def __call__(self, call: Call) -> Reply:
        self.seen.append(call)
        name = call.origin.removeprefix("http://")
        if name not in self.sims:
            raise ConnectFailed(f"no connection to {call.origin}")
        return await self.sims[name].handler(call)


def measured(world: World, found: Any, *, model: str = "gpt-4o", runs: int = 8) -> list[Measured]:
    async def main() -> list[Measured]:
        async with Engine(handler=world, log="off", log_level="off", upstreams=(), seed=1) as engine:
            return await measure(engine, targets_of(found, model), runs=runs)

    return virtual_run(main)


def test_the_nearest_region_wins_and_figures_are_the_simulators():
    """Times from sent to first and last token; the same number of requests to each, every one priced."""
    world = World(own="ap-southeast", east="us-east")
    found = measured(world, settings(upstream("east", region="us-east")))
    winner = winner_of(found)
    assert winner is not None
    assert (winner.name, winner.clear, winner.next_name) == ("east", True, "base_url")
    assert 0.2 < winner.faster_ratio < 0.6
    for one in found:
        assert (one.answers, one.errors) == (8, 0)
        assert 0.2 < one.ttft_s <= one.ttft_worst_s < one.total_s + 0.2
        assert one.dollars == pytest.approx(world.sims[one.name.replace("base_url", "own")].ledger.totals.dollars)
    assert [sim.ledger.totals.attempts for sim in world.sims.values()] == [9, 9]


def test_each_key_goes_to_its_own_address():
    """The client's to base_url, the upstream's own to it, none where none is set."""
    world = World(own="local", b="local", c="local")
    entry = upstream("c")
    del entry["key_env"]
    measured(world, settings(upstream("b"), entry), runs=1)
    keys = {call.origin: dict(call.headers).get("authorization") for call in world.seen}
    assert keys == {"http://own": "Bearer sk-own", "http://b": "Bearer sk-b", "http://c": None}


def test_an_upstream_that_is_down_is_reported_and_does_not_win():
    """Its errors are counted and named; the others are measured as ever."""
    found = measured(World(own="us-east"), settings(upstream("down")), runs=3)
    down = found[1]
    assert (down.answers, down.errors, down.ttft_s) == (0, 3, None)
    assert "no connection to http://down" in down.error
    assert winner_of(found).name == "base_url"
    assert winner_of([down]) is None


def test_a_provider_that_knows_only_the_older_bound_is_asked_with_it():
    """One request ahead finds out; it does not count."""

    class Old(World):
        async def __call__(self, call: Call) -> Reply:
            if b"max_completion_tokens" in call.body:
                self.seen.append(call)
                return Reply(422, (("content-type", "application/json"),), b'{"error":{"message":"unknown field"}}')
            return await super().__call__(call)

    found = measured(Old(own="local", b="local"), settings(upstream("b")), runs=2)
    assert [(one.answers, one.errors) for one in found] == [(2, 0), (2, 0)]


def test_a_model_of_its_own_is_asked_for_where_the_one_named_is_not_served():
    """The map is used, and the first model listed where it has no entry."""
    world = World(own="local", b="local", c="local")
    entries = upstream("b", models={"gpt-4o": "gpt-4.1-nano"}), upstream("c", models=["gpt-3.5-turbo"])
    found = measured(world, settings(*entries), runs=1)
    assert [one.model for one in found] == ["gpt-4o", "gpt-4.1-nano", "gpt-3.5-turbo"]


def test_a_lead_by_chance_is_no_clear_one():
    """Two standard errors are asked for."""
    base = {"region": "", "model": "m", "answers": 10, "errors": 0, "ttft_sd_s": 0.1}
    one, other = Measured(name="a", ttft_s=0.50, **base), Measured(name="b", ttft_s=0.52, **base)
    assert not winner_of([one, other]).clear
    far = Measured(name="b", ttft_s=0.70, **base)
    assert winner_of([one, far]).clear


def test_the_worst_case_is_known_beforehand():
    """From the price list or the upstream's own price; None where nothing is known."""
    entry = upstream("b", models=["m"], input_usd=1e6, output_usd=0)
    targets = targets_of(settings(entry), "no-such-model")
    assert worst_case_usd(targets, 1) == pytest.approx(2 * 20.0)
    assert worst_case_usd(targets_of(settings(upstream("b")), "no-such-model"), 1) is None


def test_with_nothing_to_compare_it_says_what_to_do():
    """One address is no comparison."""
    with pytest.raises(ConfigError, match=r"there is no \[\[upstream\]\] to compare"):
        targets_of(settings(), "gpt-4o")
