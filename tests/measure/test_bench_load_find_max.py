"""The search for the highest rate: its policy with plain values, and a server with a known end on virtual time."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import Call, ConfigError, Engine, Reply
from headway.measure.bench.find_max import find_max
from headway.measure.bench.rate_search import RateSearch
from headway.measure.bench.run_types import Found, Slo, Target, Trial
from headway.testing import FakeProvider, virtual_run


def searched(knee_per_s: float, search: RateSearch) -> list[float]:
    """The rates that a search tries on a server that holds up to the knee."""
    tried = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.add(rate, held=rate <= knee_per_s)
    return tried


@given(st.floats(0.01, 5_000.0), st.floats(0.1, 100.0), st.integers(2, 40))
def test_a_search_ends_and_never_names_a_rate_that_failed(knee_per_s, start_per_s, trials_max):
    """Bounded in trials; with enough of them the knee lies between what is found and what failed, 5 % apart."""
    search = RateSearch(start_per_s, rate_max_per_s=1_000.0, trials_max=trials_max)
    tried = searched(knee_per_s, search)
    assert len(tried) == search.trials <= trials_max
    found, failed = search.found_per_s, search.failed_per_s
    if found is not None:
        assert found <= knee_per_s
        assert found <= 1_000.0
    if failed is not None:
        assert failed > knee_per_s
    if found is not None and trials_max == 40:
        assert tried[-1] == found
        if failed is not None:
            assert failed / found <= 1.05


def test_a_search_doubles_then_halves_the_gap_then_looks_again():
    """1, 2, 4, 8, 16; then between 8 and 16; the last trial is the found rate once more."""
    search = RateSearch(1.0, resolution_ratio=0.2)
    tried = searched(10.0, search)
    assert tried[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert tried[5] == pytest.approx(128**0.5)
    assert tried[-1] == search.found_per_s
    assert tried.count(tried[-1]) == 2


def test_a_search_goes_down_where_the_first_rate_fails():
    """10, 5, 2.5, then up between."""
    assert searched(3.0, RateSearch(10.0))[:3] == [10.0, 5.0, 2.5]


def test_a_rate_that_holds_once_by_luck_is_not_named():
    """It fails when it is tried again: the one below it is looked at."""
    search = RateSearch(1.0, resolution_ratio=1.0)
    for rate, held in ((1.0, True), (2.0, True), (4.0, False), (2.0, False), (1.0, True)):
        assert search.next_rate() == rate
        search.add(rate, held=held)
    assert (search.next_rate(), search.found_per_s, search.failed_per_s) == (None, 1.0, 2.0)


class Queueing:
    """One worker, 25 ms a request, first come, first served: it ends at 40 requests a second."""

    def __init__(self) -> None:
        self.free_at_s = 0.0
        self.provider = FakeProvider()

    async def __call__(self, call: Call) -> Reply:
        loop = asyncio.get_running_loop()
        self.free_at_s = max(self.free_at_s, loop.time()) + 0.025
        await asyncio.sleep(self.free_at_s - loop.time())
        return await self.provider(call)


TARGET = Target(name="m", path="/v1/chat/completions", body=lambda index: b'{"model":"m","messages":[]}')


def found(
    provider: object, slo: Slo, *, trials: list[Trial] | None = None, target: Target = TARGET, **more: float
) -> Found:
    async def main() -> Found:
        async with Engine(
            handler=provider, base_url="http://x/v1", upstreams=(), attempts_max=1, log="off", log_level="off", seed=1
        ) as engine:
            told = None if trials is None else trials.append
            return await find_max(engine, target, slo, progress=told, rest_s=5.0, **more)

    return virtual_run(main)


def test_a_known_end_is_found():
    """40/s is where the worker's queue never empties again; 0.5 s leaves room for queues of 19, so it ends near 36/s."""
    trials: list[Trial] = []
    result = found(Queueing(), Slo(e2e_s=0.5), trials=trials, start_per_s=5.0, trial_s=30.0)
    assert result.rate_per_s is not None
    assert 30.0 < result.rate_per_s < 40.0
    assert result.bounded
    assert list(result.trials) == trials
    assert trials[-1].confirms
    assert trials[-1].rate_per_s == result.rate_per_s
    lost = [trial for trial in trials if not trial.kept]
    assert lost
    assert all(trial.early for trial in lost)
    assert min(trial.rate_per_s for trial in lost) <= result.rate_per_s * 1.05
    assert all(trial.share >= 0.99 for trial in trials if trial.kept)
    assert re.fullmatch(r"between (\S+) and (\S+) requests/s: \1 held, \2 did not.*", result.sentence)


def test_a_server_without_an_end_is_said_to_have_none():
    """The search stops at its own maximum and says that nothing faster was tried."""
    result = found(FakeProvider(), Slo(e2e_s=0.5), start_per_s=8.0, rate_max_per_s=20.0, trial_s=5.0)
    assert (result.rate_per_s, result.bounded) == (20.0, False)
    assert "nothing faster was tried" in result.sentence


def test_a_server_that_never_keeps_it():
    """No rate is named, and the search ends."""
    result = found(FakeProvider([500]), Slo(e2e_s=0.5), start_per_s=4.0, trials_max=5)
    assert (result.rate_per_s, len(result.trials)) == (None, 5)
    assert "not even" in result.sentence


def test_our_own_growing_send_rate_is_not_the_servers_end():
    """An engine that knows nothing of a provider starts at some 40 a second: that trial is made again, and holds."""
    trials: list[Trial] = []
    result = found(
        FakeProvider(), Slo(e2e_s=0.1), trials=trials, start_per_s=200.0, rate_max_per_s=200.0, trial_s=2.0,
        warmup_s=0.0,
    )  # fmt: skip
    assert not trials[0].kept
    assert (result.rate_per_s, result.bounded) == (200.0, False)


def test_a_process_that_cannot_keep_up_blames_itself():
    """Each request takes 20 ms of this process: beyond 50/s it is not the server that was tried."""

    def slow(index: int) -> bytes:
        asyncio.get_running_loop()._virtual.now_us += 20_000  # what virtual time has for work
        return b'{"model":"m","messages":[]}'

    busy = Target(name="m", path="/v1/chat/completions", body=slow)
    result = found(FakeProvider(), Slo(e2e_s=1.0), target=busy, start_per_s=20.0, trial_s=10.0)
    assert result.rate_per_s in (20.0, 40.0)
    assert not result.bounded
    assert "this process could not send" in result.sentence


def test_an_slo_without_a_limit_is_refused():
    """It would hold at any rate."""
    with pytest.raises(ConfigError, match="without a limit"):
        found(FakeProvider(), Slo())
