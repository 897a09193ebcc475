"""The provider's limits, shared by workers: engines stand for them, each with its slices of one hub's buckets."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headway import Engine
from headway.engine.company import Company
from headway.gateway.hub.messages import Give, Take, Tell
from headway.gateway.hub.sliced import SlicedLimits
from headway.policy.common_limits import CommonBucket, CommonLimits, Slice
from headway.policy.shared_limits import SharedBucket, SharedLease
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, virtual_run

WAY_S = 0.0003
"""To the hub and back."""


class Buckets:
    """The hub without its sockets, as one worker has it."""

    def __init__(self, limits: CommonLimits, who: int) -> None:
        self.limits = limits
        self.who = who
        self.asked = 0

    async def take(self, take: Take) -> Slice | None:
        await asyncio.sleep(WAY_S)
        self.asked += 1
        now_s = asyncio.get_running_loop().time()
        return self.limits.bucket(take.scope, now_s).take(take.least, take.wanted, now_s)

    def tell(self, message: Any) -> None:
        now_s = asyncio.get_running_loop().time()
        bucket = self.limits.bucket(message.scope, now_s)
        if isinstance(message, Give):
            bucket.give_back(message.unused, now_s, known=message.known)
        elif isinstance(message, Tell):
            left, mark, larger, full = message.left, message.mark, message.larger, message.full
            bucket.tell(message.bucket, now_s, who=self.who, left=left, mark=mark, larger=larger, full=full)


def worker(
    simulator: Simulator, common: CommonLimits | None, who: int, **given: Any
) -> tuple[Engine, SlicedLimits | None]:
    own = {"log": "off", "log_level": "off", "api_key": "sk-sim"} | given
    engine = Engine(handler=simulator.handler, **own)
    buckets = Buckets(common, who) if common is not None else None
    limits = SlicedLimits(buckets.take, buckets.tell) if buckets is not None else None
    engine.company = Company(limits)
    return engine, limits


async def pressed(
    simulator: Simulator, common: CommonLimits | None, workers: int, for_s: float, at_once: int = 64, **given: Any
) -> list[list[int]]:
    """Each worker's statuses, of clients that ask one thing after the other for that long."""
    made = [worker(simulator, common, who, **given) for who in range(workers)]
    statuses: list[list[int]] = [[] for _ in made]
    until_s = asyncio.get_running_loop().time() + for_s

    async def client(place: int, number: int) -> None:
        turn = 0
        while asyncio.get_running_loop().time() < until_s:
            turn += 1
            body = {"model": "gpt-5.4-mini", "input": f"Question {place} {number} {turn}", "max_output_tokens": 16}
            reply = await made[place][0].send("/v1/responses", body)
            statuses[place].append(reply.status)

    await asyncio.gather(*[client(n % workers, n) for n in range(at_once)])
    for engine, limits in made:
        await engine.aclose()
        if limits is not None:
            await limits.aclose()
    return statuses


def run(sim: dict[str, Any], workers: int, for_s: float, at_once: int = 64, *, apart: bool = False, **given: Any):
    """The simulator's ledger, and when each attempt came, in seconds after the first."""
    simulator = Simulator(SimSettings(seed=1, latency_scale=0.1, **sim))
    common = None if apart else CommonLimits()
    virtual_run(lambda: pressed(simulator, common, workers, for_s, at_once, **given))
    rows = simulator.ledger.rows
    return simulator.ledger.totals, [(row.time_wall_s - rows[0].time_wall_s, row.status) for row in rows]


@pytest.mark.parametrize("workers", [2, 4])
def test_together_they_use_a_learned_limit_and_are_hardly_refused(workers):
    """3,000 a minute, enforced in slices of a second, which nobody has configured and no header tells."""
    totals, came = run({"rpm": 3_000, "capacity_s": 1}, workers, 12.0)
    later = sum(status == 200 for at_s, status in came if 3.0 <= at_s < 12.0)
    assert 0.97 <= later / (9 * 50) <= 1.03
    assert totals.throttled <= 10
    assert sum(status == 429 for at_s, status in came if at_s >= 3.0) == 0


def test_those_that_do_not_know_of_each_other_are_refused_all_the_time():
    """What sharing is for."""
    totals, _ = run({"rpm": 3_000, "capacity_s": 1}, 4, 12.0, apart=True)
    assert totals.throttled >= 20


def test_a_bucket_that_is_full_at_the_start_is_used():
    """600 a minute, all of them at once where somebody asks: the slices that are suspected are found not to be."""
    totals, _ = run({"rpm": 600, "capacity_s": 60}, 2, 40.0)
    assert totals.throttled == 0
    assert totals.ok >= 1_000  # 600, and 10 a second


def test_configured_limits_are_one_for_all_from_the_beginning():
    """Nobody has to be refused, or answered, to know: 60 at once and then one a second, however many workers."""
    totals, came = run({"rpm": 60, "capacity_s": 60}, 4, 30.0, 8, requests_per_min=60.0)
    assert totals.throttled == 0
    assert 85 <= totals.ok <= 95
    assert sum(at_s < 20.0 for at_s, _ in came) >= 60  # as fast as they are answered


def test_tokens_are_shared_like_requests():
    """6,000 tokens a minute at 16 a call."""
    totals, came = run({"rpm": 10_000, "tpm": 6_000, "capacity_s": 60}, 2, 60.0)
    assert totals.throttled == 0
    later = sum(status == 200 for at_s, status in came if 30.0 <= at_s < 60.0)
    assert later * 16 == pytest.approx(3_000, rel=0.06)


def test_where_nobody_knows_a_limit_the_first_second_is_that_of_one():
    """Four workers that begin at once do not send four bursts."""
    _, came = run({"rpm": 1_000_000, "capacity_s": 60}, 4, 0.2, 400)
    _, alone = run({"rpm": 1_000_000, "capacity_s": 60}, 1, 0.2, 400, apart=True)
    early = sum(at_s < 0.05 for at_s, _ in came)
    assert early <= sum(at_s < 0.05 for at_s, _ in alone) + 4


def test_hardly_anybody_waits_for_an_answer_of_the_hub():
    """200 a second where 1,000 are allowed: what is needed soon is at hand."""
    asked = 0

    async def main() -> None:
        nonlocal asked
        common = CommonLimits()
        now_s = asyncio.get_running_loop().time()
        common.bucket("s", now_s).tell(SharedBucket(requests_per_min=60_000.0), now_s, full=True)
        buckets = Buckets(common, 1)
        limits = SlicedLimits(buckets.take, buckets.tell)
        waited = 0
        for _ in range(400):
            if limits.at_hand("s", 16.0) is None:
                waited += 1
                assert isinstance(await limits.acquire("s", 16.0), SharedLease)
            await asyncio.sleep(0.005)
        await limits.aclose()
        asked = buckets.asked
        assert waited <= 20
        bucket = common.bucket("s", asyncio.get_running_loop().time())
        bucket.take((0.0, 0.0), (0.0, 0.0), asyncio.get_running_loop().time())
        assert bucket.levels[0] == 60_000.0  # all came back, and the bucket is full again

    virtual_run(main)
    assert asked <= 60


def test_a_hub_that_does_not_answer_lets_everybody_go():
    """Sharing is a help, never a condition."""

    async def main() -> None:
        async def take(take: Take) -> Slice | None:
            return None

        limits = SlicedLimits(take, lambda message: None)
        lease = await limits.acquire("s", 16.0)
        assert isinstance(lease, SharedLease)
        assert lease.id == ""
        assert not await limits.refund(lease)

    virtual_run(main)


class Taking(RuleBasedStateMachine):
    """Workers take, give back and die; the provider's true bucket is never overdrawn by what was granted."""

    PER_MIN, CAPACITY_S = 600.0, 60.0

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.bucket = CommonBucket(self.now_s)
        self.bucket.tell(SharedBucket(requests_per_min=self.PER_MIN), self.now_s, full=True)
        self.used: list[tuple[float, float]] = []
        self.unused: list[float] = []

    @rule(passed_s=st.floats(0.0, 30.0))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s

    @rule(least=st.sampled_from([0.0, 1.0]), wanted=st.floats(0.0, 500.0), part=st.floats(0.0, 1.0))
    def take(self, least: float, wanted: float, part: float) -> None:
        found = self.bucket.take((least, 0.0), (wanted, 0.0), self.now_s)
        if found.empty:
            return
        assert found.requests == int(found.requests)
        assert found.tokens == inf
        assert found.requests <= max(1.0, wanted)
        used = float(int(found.requests * part))
        self.used.append((self.now_s + found.wait_s, used))
        self.unused.append(found.requests - used)

    @rule()
    def give_back(self) -> None:
        if self.unused:
            self.bucket.give_back((self.unused.pop(), 0.0), self.now_s, known=True)

    @invariant()
    def within_the_limit(self) -> None:
        level, at_s, per_s = self.PER_MIN, 100.0, self.PER_MIN / 60.0
        for due_at_s, requests in sorted(self.used):
            level = min(self.PER_MIN, level + (due_at_s - at_s) * per_s) - requests
            at_s = due_at_s
            assert level >= -1e-6


TestTaking = Taking.TestCase
TestTaking.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def rate(bucket: CommonBucket) -> float:
    """Requests a minute that it refills by; 0.0 where no limit is known."""
    return bucket.take((0.0, 0.0), (0.0, 0.0), 0.0).refill[0] * 60.0


def test_another_configuration_takes_the_place_of_what_was_told_under_the_old():
    """Without a provider's word nobody else would say so. Workers change one after the other."""
    for first, second in ((120.0, 6_000.0), (6_000.0, 120.0)):
        bucket = CommonBucket(0.0)
        old, new = SharedBucket(requests_per_min=first), SharedBucket(requests_per_min=second)
        bucket.tell(old, 0.0, who=1, full=True)
        bucket.tell(old, 0.0, who=2, full=True)
        assert rate(bucket) == first
        bucket.tell(new, 0.0, who=1, full=True)
        assert rate(bucket) == second
        bucket.tell(old, 0.0, who=2)  # it has yet to change, and tells what it takes the limit for
        bucket.tell(new, 0.0, who=2, full=True)
        assert rate(bucket) == second
        assert bucket.levels[0] <= second
        bucket.tell(SharedBucket(), 0.0, who=1, full=True)
        assert not bucket.known


def test_the_same_configuration_again_is_not_over_what_was_learned():
    """A worker that is replaced, an engine that is made anew for something else."""
    for configured in (SharedBucket(requests_per_min=600.0), SharedBucket()):
        bucket = CommonBucket(0.0)
        bucket.tell(configured, 0.0, who=1, full=True)
        bucket.tell(SharedBucket(requests_per_min=60.0), 0.0, who=1)
        bucket.tell(configured, 20.0, who=2, full=True)
        assert rate(bucket) == 60.0


@pytest.mark.parametrize(("first", "second"), [(120.0, 6_000.0), (6_000.0, 120.0), (None, 120.0)])
def test_a_configured_limit_that_is_changed_holds_for_engines_that_follow(first, second):
    """A provider that says nothing of limits: what goes is what is configured, in the old and the new engine's time."""

    async def main() -> None:
        provider = FakeProvider([200] * 100_000)
        common = CommonLimits()
        buckets = Buckets(common, 1)
        limits = SlicedLimits(buckets.take, buckets.tell)

        async def counted(engine: Engine, for_s: float) -> int:
            until_s, found = asyncio.get_running_loop().time() + for_s, 0

            async def client(number: int) -> None:
                nonlocal found
                while asyncio.get_running_loop().time() < until_s:
                    body = {"model": "gpt-5.4-mini", "input": f"{number} {found}", "max_output_tokens": 16}
                    async with asyncio.timeout(until_s - asyncio.get_running_loop().time() + 600.0):
                        await engine.send("/v1/responses", body)
                    found += asyncio.get_running_loop().time() < until_s
                    await asyncio.sleep(0.01)

            await asyncio.gather(*[client(number) for number in range(4)])
            return found

        def made(before: Engine | None, per_min: float | None) -> Engine:
            given = {} if per_min is None else {"requests_per_min": per_min}
            engine = Engine(handler=provider, log="off", log_level="off", api_key="sk", timeout_s=900.0, **given)
            engine.company = Company(limits, before)
            return engine

        old = made(None, first)
        if first is not None:
            await counted(old, 90.0)  # the full bucket is empty
        else:
            await counted(old, 1.0)
        new = made(old, second)
        await counted(new, 90.0)
        found = await counted(new, 60.0)
        assert found == pytest.approx(second, rel=0.1)
        await old.aclose()
        await new.aclose()
        await limits.aclose()

    virtual_run(main)
