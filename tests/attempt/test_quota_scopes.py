"""Keys and upstreams that share a limit, and some that do not: one queue for what counts together, all of them in use."""

from __future__ import annotations

import asyncio

import pytest

from headway import ConfigError, Engine
from headway.policy.queue import FairQueue
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

PATH = "/v1/responses"
HOME = {"name": "home", "base_url": "http://p/v1"}  # the client's own key
SPARE = {"name": "spare", "base_url": "http://p/v1", "key_env": "SPARE_KEY"}
ONE = {"sk-own": "org-1", "sk-spare": "org-1"}
TWO = {"sk-own": "org-1", "sk-spare": "org-2"}


def run(monkeypatch, upstreams, organisations, rows=1_200, **limits):
    """(seconds that all rows took, refusals, scopes): 20 requests a second for each organisation."""
    monkeypatch.setenv("SPARE_KEY", "sk-spare")
    limits = {"rpm": 1_200, "capacity_s": 1} | limits
    simulator = Simulator(SimSettings(seed=1, organisations=organisations, **limits))

    async def main():
        async with Engine(
            handler=simulator.handler, base_url="http://p/v1", api_key="sk-own", upstreams=upstreams, log="off", seed=1
        ) as engine:
            bodies = [{"model": "gpt-4.1-nano", "input": f"Say {n}", "max_output_tokens": 16} for n in range(rows)]
            replies = await asyncio.gather(*[engine.send(PATH, body) for body in bodies])
            assert {reply.status for reply in replies} == {200}
            assert engine.snapshot()["queued"] == 0
            return asyncio.get_running_loop().time(), len(engine._stack._pace.lanes)

    took_s, scopes = virtual_run(main)
    return took_s, simulator.ledger.totals.throttled, scopes


def test_two_keys_of_different_organisations_give_twice_the_rate(monkeypatch):
    """Each has a limit of its own, and both are used all the time."""
    alone_s, _, _ = run(monkeypatch, [], TWO)
    took_s, _, scopes = run(monkeypatch, [HOME, SPARE], TWO)
    assert scopes == 2
    assert took_s <= 0.53 * alone_s


def test_two_keys_of_one_quota_are_one_queue_by_configuration(monkeypatch):
    """`quota` in both entries: the rate of one, and no more refusals than with one."""
    alone_s, refused_alone, _ = run(monkeypatch, [], ONE)
    took_s, refused, scopes = run(monkeypatch, [HOME | {"quota": "o"}, SPARE | {"quota": "o"}], ONE)
    assert scopes == 1
    assert took_s <= 1.02 * alone_s
    assert refused <= refused_alone


def test_two_keys_of_one_organisation_become_one_queue_when_answers_say_so(monkeypatch):
    """Nothing is configured: once each key has had an answer they are paced as one, and who waited keeps waiting."""
    alone_s, refused_alone, _ = run(monkeypatch, [], ONE)
    took_s, refused, scopes = run(monkeypatch, [HOME, SPARE], ONE)
    assert scopes == 1
    assert took_s <= 1.02 * alone_s
    assert refused <= refused_alone + 24  # the second key's blind start, into a bucket that is nearly empty


def test_keys_of_one_organisation_with_a_full_bucket_are_never_refused(monkeypatch):
    """A minute's worth in the bucket: two keys see one level, and stop in time."""
    _, refused, scopes = run(monkeypatch, [HOME, SPARE], ONE, capacity_s=60, rows=1_500)
    assert (refused, scopes) == (0, 1)


def test_a_smaller_quota_gets_its_share_and_no_longer_queue(monkeypatch):
    """200 and 1,200 requests a minute: the queues are as long in time, not in number, so both end together."""
    monkeypatch.setenv("SPARE_KEY", "sk-spare")
    big, small = Simulator(SimSettings(seed=1, rpm=1_200)), Simulator(SimSettings(seed=1, rpm=200))

    async def world(call):
        return await (big if dict(call.headers)["authorization"].endswith("own") else small).handler(call)

    async def main():
        limits = {"models": ["gpt-4.1-nano"]}
        upstreams = [
            HOME | limits | {"requests_per_min": 1_200, "quota": "big"},
            SPARE | limits | {"requests_per_min": 200, "quota": "small"},
        ]
        async with Engine(
            handler=world, base_url="http://p/v1", api_key="sk-own", upstreams=upstreams, log="off", seed=1
        ) as engine:
            bodies = [{"model": "gpt-4.1-nano", "input": f"Say {n}", "max_output_tokens": 16} for n in range(2_600)]
            await asyncio.gather(*[engine.send(PATH, body) for body in bodies])
            return asyncio.get_running_loop().time()

    took_s = virtual_run(main)
    ideal_s = (2_600 - 1_260) / (1_400 / 60)  # what is left when both buckets are spent down to their headroom
    assert took_s <= 1.15 * ideal_s + 1


def test_who_leaves_after_its_queue_was_moved_gives_its_place_back():
    """A waiter is found in the queue that it was moved to."""
    from headway.attempt.pace import Lane
    from headway.policy.limits import Limits, LimitSettings
    from headway.types import Trace

    async def main():
        loop = asyncio.get_running_loop()
        old, new = (Lane(Limits(LimitSettings(requests_per_min=60, capacity_s=1)), 10, loop) for _ in range(2))
        for lane in (old, new):
            lane.limits.charge(1.0, loop.time())
        turns = [
            asyncio.create_task(old.enter((1.0, 1.0, 1.0), 0.0, 1e9, Trace("attempt", str(n), 0.0, 0.0)))
            for n in range(3)
        ]
        await asyncio.sleep(0.1)
        new.absorb(old)
        turns[0].cancel()
        await asyncio.wait(turns)
        return turns[0].cancelled(), [turn.result()[0] is new for turn in turns[1:]], len(new.queue), new.tokens_queued

    assert virtual_run(main) == (True, [True, True], 0, 0.0)


def test_a_queue_taken_over_keeps_its_order_and_no_bound_stops_it():
    """They were let in where they waited before."""
    first, second = FairQueue[str](2), FairQueue[str](2)
    for queue, items in ((first, ("a", "b")), (second, ("late", "soon"))):
        for item in items:
            queue.push(item, priority=1.0 if item == "soon" else 0.0, deadline_at_s=9.0)
    first.absorb(second)
    assert [first.pop() for _ in range(5)] == ["soon", "a", "b", "late", None]
    assert len(second) == 0


def test_a_quota_has_a_name():
    """Checked like the other keys."""
    with pytest.raises(ConfigError, match="quota must be 1 to 64 letters"):
        Engine(upstreams=[HOME | {"quota": "of mine"}])
