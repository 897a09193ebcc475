"""Steps fetched ahead through a real engine: joined, hit, judged, budgeted, booked; nobody's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from headway import ConfigError, ConnectFailed, Engine
from headway.engine.current import current_engine, using
from headway.pipeline.speculation import SpeculationSettings, Speculator, asked, prefetch, speculation
from headway.pipeline.step import step
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Reply

SLOW = Step(delay_s=2.0, text="a good answer", input_tokens=1_000, output_tokens=300)
USD = 1_000 * 0.75e-6 + 300 * 4.5e-6
"""What the slow answer costs with gpt-5.4-mini."""


async def send(text: str, priority: Any = 0, **more: Any) -> Reply:
    body = {"model": "gpt-5.4-mini", "input": text, **more}
    reply = await current_engine().send("/v1/responses", body, priority=priority)
    await reply.read()
    return reply


@step(pure=True)
async def answer(question: str) -> int:
    return (await send(question)).status


async def real(of: Any, *args: Any) -> float:
    """A real call of a step by itself: how long it took."""
    loop = asyncio.get_running_loop()
    use, began_s = asked(of, args, {}), loop.time()
    await of.fn(*args)
    took_s = loop.time() - began_s
    if use is not None:
        use.ended(took_s)
    return took_s


def played(
    main: Callable[[Engine, FakeProvider], Awaitable[None]], script: list[Any] | None = None, **settings: Any
) -> None:
    """Run it on virtual time with an engine whose cache is on."""

    async def run() -> None:
        provider = FakeProvider(script or [SLOW])
        async with Engine(handler=provider, **{"cache": True, "log": "off", "seed": 1} | settings) as engine:
            with using(engine):
                await main(engine, provider)

    virtual_run(run)


def test_a_real_call_finds_it_there():
    """Fetched while nobody waited: the real call takes no time, is one call upstream, and what it saved is shown."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        ahead = prefetch(answer, "next?", likelihood=0.6)
        assert ahead
        assert ahead.state == "under way"
        await asyncio.sleep(5.0)
        assert ahead.state == "ready"
        assert await real(answer, "next?") < 0.01
        assert (provider.calls, ahead.state) == (1, "used")
        stats = speculation(engine).stats()
        assert (stats["launched"], stats["hits"], stats["joined"], stats["hit_rate"]) == (1, 1, 0, 1.0)
        assert stats["saved_s"] == pytest.approx(2.0, abs=0.01)
        assert stats["used_usd"] == pytest.approx(stats["real_usd"]) == pytest.approx(USD, rel=0.2)
        assert stats["wasted_usd"] == stats["ready_usd"] == 0.0
        assert stats["steps"]["answer"]["hits"] == 1

    played(main)


def test_a_real_call_joins_it_and_raises_its_priority():
    """Half-way through: the real call waits for the rest only, in the same flight, at its own priority."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        ahead = prefetch(answer, "next?", likelihood=0.6)
        await asyncio.sleep(0.5)
        assert await real(answer, "next?") == pytest.approx(1.5, abs=0.01)
        await ahead.wait()
        assert (provider.calls, ahead.state) == (1, "used")
        stats = speculation(engine).stats()
        assert (stats["hits"], stats["joined"], stats["under_way"]) == (0, 1, 0)
        assert stats["saved_s"] == pytest.approx(0.5, abs=0.01)

    played(main)


def test_a_joined_prefetch_moves_up_in_the_queue():
    """One that waits for the provider's limits goes behind everybody, until a real call joins it."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        await send("first")
        ahead = prefetch(answer, "next?", likelihood=0.9)
        await asyncio.sleep(1.0)
        behind = [asyncio.create_task(send(f"low {n}", "low")) for n in range(3)]
        await asyncio.sleep(1.0)
        assert engine.snapshot()["queued"] == 4
        await real(answer, "next?")
        assert [b"next?" in call.body for call in provider.seen] == [False, True]
        await ahead.wait()
        assert ahead.state == "used"
        await asyncio.gather(*behind)

    played(main, requests_per_min=1)


def test_streams_and_plain_functions_are_fetched_too():
    """A step that streams is read to its end, a plain function is run; both are there for the real call."""
    ran: list[int] = []

    @step(pure=True)
    async def write(topic: str) -> AsyncIterator[str]:
        yield str((await send(topic)).status)
        yield "!"

    @step(pure=True)
    def count(number: int) -> int:
        ran.append(number)
        return number

    async def main(engine: Engine, provider: FakeProvider) -> None:
        for ahead in (prefetch(write, "rain", likelihood=0.9), prefetch(count, 7, likelihood=0.9)):
            await ahead.wait()
            assert ahead.state == "ready"
        assert (provider.calls, ran) == (1, [7])

    played(main)


def test_only_pure_steps():
    """What might do something, is no step, or is called wrongly is refused with a sentence that names it."""

    @step
    async def book(seat: int) -> None: ...

    async def main(engine: Engine, provider: FakeProvider) -> None:
        with pytest.raises(ConfigError, match=r"'book' is not marked pure.*pure=True"):
            prefetch(book, 1, likelihood=0.9)
        with pytest.raises(ConfigError, match="needs a step"):
            prefetch(len, 1, likelihood=0.9)
        with pytest.raises(ConfigError, match="likelihood must be a number from 0 to 1, not 60"):
            prefetch(answer, "a", likelihood=60)
        with pytest.raises(ConfigError, match="too many positional arguments"):
            prefetch(answer, "a", "b", likelihood=0.6)
        with pytest.raises(ConfigError, match="argument 'question' of answer is a object"):
            prefetch(answer, object(), likelihood=0.6)
        with pytest.raises(ConfigError, match="outside of one"):
            prefetch(answer, "a", likelihood=0.6, until="run")
        assert not provider.calls

    played(main)


def test_it_needs_the_cache():
    """Without a cache nothing is launched, and it is said why."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        ahead = prefetch(answer, "a", likelihood=0.9)
        assert not ahead
        assert "cache=True" in ahead.why
        assert ahead.state == "refused"
        await ahead.wait()
        assert not provider.calls

    played(main, cache=False)


def test_never_while_others_wait():
    """Real requests in the queue, or half of the engine's budget gone: no prefetch."""

    async def queued(engine: Engine, provider: FakeProvider) -> None:
        waiting = asyncio.gather(*(send(f"real {n}") for n in range(3)))
        await asyncio.sleep(1.0)
        assert "others wait" in prefetch(answer, "a", likelihood=0.99).why
        await waiting

    async def short(engine: Engine, provider: FakeProvider) -> None:
        await send("real", max_output_tokens=16)
        assert "budget" in prefetch(answer, "a", likelihood=0.99).why

    played(queued, requests_per_min=1)
    played(short, budget_usd=1.5 * USD)


def test_the_budget_bounds_waste():
    """However often something unlikely is tried, a quarter of the real dollars and the allowance are the most."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        book = speculation(engine, SpeculationSettings(allowance_usd=2 * USD, under_way_max=16, usd_per_s=1.0))
        refused = launched = 0
        for turn in range(60):
            await send(f"real {turn}")
            ahead = prefetch(answer, f"guess {turn}", likelihood=0.5, cost_usd=USD)
            launched, refused = launched + bool(ahead), refused + ("may be wasted" in ahead.why)
            await asyncio.sleep(3.0)
            stats = book.stats()
            assert stats["ready_usd"] + stats["wasted_usd"] <= 0.25 * stats["real_usd"] + 2 * USD + 1e-9
        assert launched > 5
        assert refused > 30

    played(main)


def test_what_nobody_asks_for_is_wasted_and_said_so():
    """After its patience a guess counts as wasted, and likelihoods are taken for less."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        book = speculation(engine, SpeculationSettings(patience_s=30.0, allowance_usd=1.0))
        first = prefetch(answer, "0", likelihood=0.9)
        for number in range(1, 10):
            await asyncio.sleep(40.0)
            last = prefetch(answer, str(number), likelihood=0.9)
        assert last.likelihood < 0.5 < first.likelihood
        await asyncio.sleep(40.0)
        stats = book.stats()
        assert stats["hit_rate"] == 0.0
        assert (stats["wasted"], stats["ready"], first.state) == (stats["launched"], 0, "wasted")
        assert stats["wasted_usd"] == pytest.approx(stats["launched"] * USD, rel=0.2)
        assert stats["real_usd"] == pytest.approx(0.0, abs=1e-9)
        use = asked(answer, ("0",), {})
        assert use is not None
        assert not use.speculative

    played(main)


def test_likelihoods_are_corrected_by_what_came_of_them():
    """Said to be 80 % likely and asked for every other time: taken for some 50 %, and it stays there."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        speculation(engine, SpeculationSettings(patience_s=5.0, allowance_usd=10.0))
        taken = []
        for turn in range(160):
            ahead = prefetch(answer, str(turn), likelihood=0.8)
            taken.append(ahead.likelihood)
            await asyncio.sleep(3.0)
            if turn % 2:
                await real(answer, str(turn))
            await asyncio.sleep(10.0)
        assert all(0.4 < likelihood < 0.62 for likelihood in taken[80:])

    played(main)


def test_errors_are_nobodys():
    """A step that fails in the background, by the provider or by itself, is counted; nothing is raised or logged."""

    @step(pure=True)
    async def broken(number: int) -> float:
        return 1 / number

    async def main(engine: Engine, provider: FakeProvider) -> None:
        for ahead in (prefetch(answer, "a", likelihood=0.9), prefetch(broken, 0, likelihood=0.9)):
            await ahead.wait()
        stats = speculation(engine).stats()
        assert {name: of["failed"] for name, of in stats["steps"].items()} == {"answer": 1, "broken": 1}
        assert stats["under_way"] == 0

    played(main, script=[Step(error=ConnectFailed("down"))], attempts_max=1)


def test_the_same_guess_is_launched_once():
    """Guessed again while it is there, it is the same one."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        first = prefetch(answer, "a", likelihood=0.9)
        assert prefetch(answer, question="a", likelihood=0.9) is first
        await first.wait()
        assert prefetch(answer, "a", likelihood=0.9) is first
        assert provider.calls == 1

    played(main)


def test_bounded_and_ended_with_the_engine():
    """At most as many as are allowed at once; those under way end with their engine, and none is left."""
    provider = FakeProvider([Step(delay_s=1_000.0)])

    async def main() -> list[Any]:
        async with Engine(handler=provider, cache=True, log="off", seed=1) as engine:
            with using(engine):
                speculation(engine, SpeculationSettings(allowance_usd=1.0, under_way_max=2))
                ahead = [prefetch(answer, str(n), likelihood=0.9) for n in range(4)]
                await asyncio.sleep(1.0)
        return ahead

    ahead = virtual_run(main)
    assert [one.state for one in ahead] == ["cancelled", "cancelled", "refused", "refused"]
    assert "under_way_max" in ahead[2].why
    assert provider.aborted == 2


def test_the_log_tells_prefetches_apart(tmp_path):
    """Their calls have "prefetch:NAME" for their step, and the session they were fetched for."""
    path = tmp_path / "calls.sqlite"

    async def main(engine: Engine, provider: FakeProvider) -> None:
        speculate = Speculator()
        speculate.on(answer, lambda product: f"What does {product} cost?", label="price")
        for customer in ("1", "2", "3", "4"):
            speculate.follows.observe("answer", session=customer)
            speculate.follows.observe("answer", label="price", session=customer)
        [ahead] = speculate.after(answer, session="5", context="it")
        await ahead.wait()

    played(main, log=str(path))
    with CallLogReader(path) as reader:
        [row] = reader.calls()
    assert (row.step, row.session) == ("prefetch:answer", "5")


def test_a_speculator_learns_as_it_goes():
    """After some sessions it fetches what usually follows, and nothing where the context tells no arguments."""

    async def main(engine: Engine, provider: FakeProvider) -> None:
        speculate = Speculator()
        speculate.on(answer, lambda product: None if product is None else (f"price of {product}",), label="price")
        waits = []
        for session in range(6):
            await real(answer, f"about {session}")
            speculate.after(answer, label="about", session=str(session), context=str(session))
            await asyncio.sleep(10.0)
            waits.append(await real(answer, f"price of {session}"))
            speculate.after(answer, label="price", session=str(session))
            await asyncio.sleep(10.0)
        assert waits[0] == pytest.approx(2.0, abs=0.01)
        assert waits[-1] < 0.01
        assert speculate.after(answer, label="about", session="x") == []
        with pytest.raises(ConfigError, match="pure=True"):
            speculate.on(len, lambda _: 1)

    played(main)
