"""Load on virtual time: exact numbers for what waits, what is skipped, and who is asked when."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headway import Call, ConfigError, Engine, InputError, Reply, Usage
from headway.measure.bench.load import LoadRun, run_load
from headway.measure.bench.run_types import Load, Run, Slo, Target
from headway.measure.probe import Probe
from headway.testing import FakeProvider, Step, virtual_run

CHAT = "/v1/chat/completions"


def body(index: int) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"%d"}]}' % index


def target(name: str = "m", **more: Any) -> Target:
    return Target(name=name, path=CHAT, body=more.pop("body", body), **more)


def engine(provider: Any) -> Engine:
    return Engine(
        handler=provider, base_url="http://x/v1", upstreams=(), attempts_max=1, log="off", log_level="off", seed=1
    )


def loaded(provider: Any, load: Load, *targets: Target, **more: Any) -> list[Run]:
    async def main() -> list[Run]:
        async with engine(provider) as opened:
            return await run_load(opened, targets or [target()], load, **more)

    return virtual_run(main)


def test_latency_counts_from_when_a_request_was_due():
    """One place, 243 ms each, ten a second: the twelfth waits 1.573 s, and the mean is 1,029.5 ms, not 243."""
    load = Load(rate_per_s=10, arrivals="constant", count=12, concurrency_max=1)
    [run] = loaded(FakeProvider([Step(delay_s=0.243)]), load)
    assert [probe.latency_s for probe in run.probes] == pytest.approx([0.243 + 0.143 * k for k in range(12)], abs=1e-5)
    assert sum(probe.latency_s for probe in run.probes) / 12 == pytest.approx(1.0295, abs=1e-5)
    assert [probe.end_s - probe.started_s for probe in run.probes] == pytest.approx([0.243] * 12, abs=1e-5)
    assert (run.skipped, run.asked_rate_per_s) == ((), pytest.approx(10.0))
    assert run.achieved_rate_per_s == pytest.approx(1 / 0.243, rel=1e-4)
    assert any("concurrency_max" in note for note in run.notes)


def test_what_could_not_be_started_is_skipped_and_says_why():
    """A second of ten requests into one place that takes 0.3 s: four start in time, six are counted and not dropped."""
    load = Load(rate_per_s=10, arrivals="constant", duration_s=1.0, concurrency_max=1)
    [run] = loaded(FakeProvider([Step(delay_s=0.3)]), load)
    assert (len(run.probes), run.skipped_count, run.due) == (4, 6, 10)
    assert "their turn did not come" in run.skipped[0].reason
    assert any("6 of 10" in note for note in run.notes)


def test_a_request_that_is_too_late_is_skipped():
    """`late_max_s` bounds how long one waits for its turn."""
    load = Load(rate_per_s=10, arrivals="constant", count=10, concurrency_max=1, late_max_s=0.15)
    [run] = loaded(FakeProvider([Step(delay_s=0.2)]), load)
    assert run.due == 10
    assert run.skipped_count > 0
    assert max(probe.started_s - probe.intended_s for probe in run.probes) <= 0.15 + 1e-6


def test_failures_are_kept_and_counted():
    """Three of six fail; each is there with its reason."""
    [run] = loaded(FakeProvider([200, 500, 200, 429, 200, 503]), Load(count=6))
    assert [probe.outcome for probe in run.probes].count("ok") == run.answered == 3
    assert sum(bool(probe.error) for probe in run.probes if not probe.ok) == 3


def test_a_row_that_makes_no_request_is_a_failure():
    """A body that cannot be made is a failed request, and the others go on."""

    def odd(index: int) -> bytes:
        if index == 1:
            raise InputError("row 1 has no column 'text'")
        return body(index)

    [run] = loaded(FakeProvider(), Load(count=3), target(body=odd))
    assert [probe.outcome for probe in run.probes] == ["ok", "input", "ok"]


def test_a_fault_in_a_targets_code_comes_through():
    """A bug is no measurement."""

    def broken(index: int) -> bytes:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        loaded(FakeProvider(), Load(count=3), target(body=broken))


@pytest.mark.parametrize("load", [Load(count=5, warmup_count=3), Load(count=5, warmup_count=3, rate_per_s=7.0)])
def test_warm_up_is_apart(load):
    """The first three are asked like any other and counted nowhere; bodies count on."""
    provider = FakeProvider([Step(delay_s=0.1)])
    [run] = loaded(provider, load)
    assert [probe.index for probe in run.warmup] == [0, 1, 2]
    assert [probe.index for probe in run.probes] == [3, 4, 5, 6, 7]
    assert provider.calls == 8
    assert run.duration_s == pytest.approx(max(p.end_s for p in run.probes) - min(p.intended_s for p in run.probes))


def test_warm_up_and_run_by_the_clock():
    """Two seconds of warm-up, three that count: at 0.5 s each, four and six requests."""
    [run] = loaded(FakeProvider([Step(delay_s=0.5)]), Load(duration_s=3.0, warmup_s=2.0))
    assert (len(run.warmup), len(run.probes)) == (4, 6)


def test_a_closed_loop_keeps_its_places_full():
    """Four places, 0.25 s each: twenty requests take 1.25 s, never more than four at once."""
    [run] = loaded(Counting(0.25), Load(concurrency=4, count=20))
    assert run.duration_s == pytest.approx(1.25)
    assert (run.asked_rate_per_s, run.achieved_cv) == (None, None)


def test_places_start_one_after_the_other():
    """A ramp spreads the first requests, so that they do not run in step."""
    [run] = loaded(FakeProvider([Step(delay_s=9.0)]), Load(concurrency=4, count=4, ramp_s=2.0))
    starts = sorted(probe.started_s for probe in run.probes)
    assert starts == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-5)


class Counting:
    """Answers after a while; notes who came in which order, and how many were there at once."""

    def __init__(self, delay_s: float) -> None:
        self.provider = FakeProvider([Step(delay_s=delay_s)])
        self.models: list[str] = []
        self.now = self.most = 0

    async def __call__(self, call: Call) -> Reply:
        self.models.append(call.view.model)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.provider(call)
        finally:
            self.now -= 1


def model(name: str) -> Target:
    return target(name, body=lambda index: body(index).replace(b'"m"', b'"%b"' % name.encode()))


@pytest.mark.parametrize("load", [Load(count=40), Load(count=40, rate_per_s=5.0, arrivals="constant")])
def test_targets_are_interleaved_in_an_order_drawn_anew(load):
    """Every round asks all three at the same moment; each is first now and then."""
    provider = Counting(0.1)
    runs = loaded(provider, load, model("a"), model("b"), model("c"))
    rounds = [provider.models[n : n + 3] for n in range(0, 120, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert {one[0] for one in rounds} == {"a", "b", "c"}
    assert [run.target for run in runs] == ["a", "b", "c"]
    for probes in zip(*(run.probes for run in runs), strict=True):
        assert len({(probe.index, probe.intended_s) for probe in probes}) == 1


def test_the_same_seed_gives_the_same_run():
    """Moments and orders are drawn from the load's seed alone."""
    load = Load(count=30, rate_per_s=20.0, seed=5)
    first, again = (loaded(FakeProvider(), load, model("a"), model("b")) for _ in range(2))
    other = loaded(FakeProvider(), msgspec.structs.replace(load, seed=6), model("a"), model("b"))
    assert [p.intended_s for p in first[0].probes] == [p.intended_s for p in again[0].probes]
    assert [p.intended_s for p in first[0].probes] != [p.intended_s for p in other[0].probes]


def test_a_run_that_is_cancelled_gives_what_there_is():
    """After 1 s of it: what had ended is there, what was under way is counted as such."""

    async def main() -> Run:
        async with engine(FakeProvider([Step(delay_s=0.4)])) as opened:
            driver = LoadRun(opened, [target()], Load(concurrency=2, count=100))
            running = asyncio.create_task(driver.run())
            await asyncio.sleep(1.0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            [run] = driver.runs()
            return run

    run = virtual_run(main)
    assert run.cancelled
    assert (len(run.probes), run.skipped_count) == (4, 2)
    assert all(probe.ok for probe in run.probes)
    assert any("stopped early" in note for note in run.notes)


def test_a_run_that_is_stopped_returns():
    """`stop` ends it from within, without an exception."""
    ended: list[Probe] = []

    async def main() -> Run:
        async with engine(FakeProvider([Step(delay_s=0.1)])) as opened:

            def over(probe: Probe) -> None:
                ended.append(probe)
                if len(ended) == 3:
                    driver.stop()

            driver = LoadRun(opened, [target()], Load(count=100), ended=over)
            await driver.run()
            return driver.runs()[0]

    run = virtual_run(main)
    assert run.cancelled
    assert len(run.probes) == len(ended) == 3


@pytest.mark.parametrize(
    ("load", "answered", "due"),
    [
        (Load(rate_per_s=10.0, arrivals="constant", count=50, concurrency_max=1), 4, 21),
        (Load(rate_per_s=10.0, arrivals="constant", count=50, warmup_count=30), 0, 0),
        (Load(rate_per_s=10.0, arrivals="constant", count=50, warmup_count=18), 0, 3),
    ],
)
def test_a_run_that_is_stopped_counts_what_was_due_and_no_warm_up(load: Load, answered: int, due: int):
    """After 2.02 s of one request each 0.1 s, 21 were due: those that waited for a place count, warm-up does not."""

    async def main() -> Run:
        async with engine(FakeProvider([Step(delay_s=0.5)])) as opened:
            driver = LoadRun(opened, [target()], load)
            running = asyncio.create_task(driver.run())
            await asyncio.sleep(2.05)
            driver.stop()
            await running
            return driver.runs()[0]

    run = virtual_run(main)
    assert (len(run.probes), run.due) == (answered, due)


def test_the_cap_on_spending_ends_a_run():
    """What the engine refuses to pay for is no failure of the server; nothing after it is tried."""

    async def main() -> tuple[Run, bool]:
        async with Engine(
            handler=FakeProvider(), base_url="http://x/v1", attempts_max=1, log="off", log_level="off",
            budget_tokens=8_000,
        ) as opened:  # fmt: skip
            driver = LoadRun(opened, [target()], Load(count=10_000))
            await driver.run()
            return driver.runs()[0], driver.spent

    run, spent = virtual_run(main)
    assert spent
    assert 0 < len(run.probes) < 1_000
    assert all(probe.ok for probe in run.probes)
    assert [one.reason for one in run.skipped if "cap on spending" in one.reason]


def test_a_target_may_keep_its_cache():
    """By default it is passed by; told otherwise, the second answer costs nothing."""
    provider = FakeProvider()

    async def main() -> list[str]:
        async with Engine(
            handler=provider, base_url="http://x/v1", log="off", log_level="off", cache="memory"
        ) as opened:
            same = target(body=lambda index: body(0))
            await run_load(opened, [same], Load(count=2))
            [run] = await run_load(opened, [msgspec.structs.replace(same, cache=None)], Load(count=2))
            return [probe.cache for probe in run.probes]

    assert virtual_run(main) == ["miss", "memory"]
    assert provider.calls == 3


def test_progress_is_told():
    """After every request, with the number there will be; None where the clock decides."""
    told: list[tuple[int, int | None]] = []
    loaded(FakeProvider(), Load(count=3, warmup_count=1), progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    loaded(FakeProvider([Step(delay_s=0.5)]), Load(duration_s=1.0), progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (2, None)


def test_notes_say_what_is_missing():
    """Answers without usage, and a load without a warm-up."""
    bare = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
    [run] = loaded(FakeProvider([Step(body=bare)]), Load(count=2))
    assert any("no warm-up" in note for note in run.notes)
    assert any(note.startswith("2 of 2 answers said nothing of their tokens") for note in run.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"count": 0},
        {"count": 1, "concurrency": 0},
        {"count": 1, "rate_per_s": float("nan")},
        {"duration_s": -1.0},
        {"count": 1, "arrivals": "trace"},
        {"count": 1, "arrivals": "bursts"},
        {"count": 1, "arrivals": "trace", "offsets_s": (1.0, 0.5)},
        {"count": 1, "rate_per_s": 1.0, "offsets_s": (1.0,)},
        {"count": 1, "warmup_s": -1.0},
        {"count": 1, "late_max_s": 0.0},
    ],
)
def test_a_wrong_load_is_refused(wrong):
    """With a sentence that names the value."""
    with pytest.raises(ConfigError):
        Load(**wrong)


def test_targets_need_names_of_their_own():
    """Two of one name could not be told apart in a table."""
    with pytest.raises(ConfigError, match="names of their own"):
        loaded(FakeProvider(), Load(count=1), target(), target())


def test_an_slo_is_kept_by_what_can_be_told_only():
    """Every limit has to hold; a limit on what nobody knows does not."""
    probe = Probe(
        intended_s=1.0, started_s=1.0, end_s=3.0, first_answer_s=1.5, last_content_s=2.5, content_events=11,
    )  # fmt: skip
    assert Slo(ttft_s=0.5, e2e_s=2.0, itl_s=0.1).kept_by(probe)
    assert not Slo(ttft_s=0.4).kept_by(probe)
    assert not Slo(itl_s=0.09).kept_by(probe)
    assert not Slo(tpot_s=1.0).kept_by(probe)  # no usage
    assert not Slo(e2e_s=9.0).kept_by(msgspec.structs.replace(probe, outcome="empty"))
    with pytest.raises(ConfigError):
        Slo(ttft_s=0.0)


def test_gaps_and_time_per_token_are_over_one_less_than_there_are():
    """Two events 1 s apart have one gap of 1 s; three tokens, one of them a thought, have one second token."""
    probe = Probe(
        intended_s=0.0, started_s=0.0, first_answer_s=1.0, last_content_s=2.0, end_s=2.0, content_events=2,
        usage=Usage(input_tokens=1, output_tokens=3, reasoning_tokens=1), streamed=True,
    )  # fmt: skip
    for name in ("itl_s", "tpot_s"):
        assert Slo(**{name: 1.0}).kept_by(probe)
        assert not Slo(**{name: 0.99}).kept_by(probe)


def test_a_time_per_token_that_nobody_can_tell_is_not_kept():
    """A stream that came at one moment says nothing of its pace; a figure of 0 s would flatter it."""
    probe = Probe(
        intended_s=0.0, started_s=0.0, first_answer_s=2.0, last_content_s=2.0, end_s=2.0, content_events=3,
        usage=Usage(input_tokens=1, output_tokens=3), streamed=True,
    )  # fmt: skip
    assert not Slo(tpot_s=1.0).kept_by(probe)
