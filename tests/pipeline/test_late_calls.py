"""What is called when a run is ending already, and steps that do not want to end: found by the seeded fault runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import headway
from headway.testing import FakeProvider, Step, virtual_run


def test_a_step_called_while_the_run_is_cancelled_never_begins():
    """It is in the report as cancelled, and its function does not run."""
    begun: list[str] = []

    @headway.step
    async def late() -> None:
        begun.append("late")

    @headway.step
    async def stubborn() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            late()

    @headway.step
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def main() -> list[Any]:
        async def body() -> None:
            stubborn()
            fails()

        run = headway.pipeline(name="p", log=False)(body).run()
        with pytest.raises(ValueError, match="broken"):
            async with run:
                await run.result()
        return run.rows()

    rows = {row.step: row for row in virtual_run(main)}
    assert begun == []
    assert (rows["late"].outcome, rows["late"].started_s, rows["late"].end_s) == ("cancelled", None, 1.0)


def test_a_step_that_swallows_its_cancellation_does_not_go_on_asking_models():
    """It is cancelled again where it waits next: at the next piece of a stream at once, else after a while."""
    provider = FakeProvider([Step(text="one two three four five", delay_s=60.0, chunk_delay_s=1.0)])

    @headway.step
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    @headway.step
    async def stubborn() -> AsyncIterator[str]:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            pass
        async for piece in headway.ask("more", model="gpt-5.4-mini"):
            yield piece

    async def main() -> tuple[float, Any]:
        async with headway.Engine(handler=provider, api_key="sk", log="off") as engine:
            loop = asyncio.get_running_loop()

            async def body() -> Any:
                fails()
                return stubborn()

            run = headway.pipeline(name="p", log=False)(body).run(engine=engine)
            with pytest.raises(ValueError, match="broken"):
                async with run:
                    await run.result()
            return loop.time(), run.rows()[2]

    ended_s, row = virtual_run(main)
    assert provider.calls == provider.aborted == 1
    assert provider.open == 0
    assert ended_s < 10
    assert (row.outcome, row.attempts) == ("cancelled", 1)


def test_a_run_that_fails_after_its_function_has_returned_says_so():
    """Its own row has the outcome and the error of what surfaced, though the function's value was there."""

    @headway.step
    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError("broken")

    async def main() -> Any:
        async def body() -> str:
            fails()
            return "done"

        run = headway.pipeline(name="p", log=False)(body).run()
        with pytest.raises(ValueError, match="broken"):
            async with run:
                assert await run.result() == "done"
        return run.rows()[0]

    row = virtual_run(main)
    assert (row.outcome, row.error) == ("failed", "ValueError")
