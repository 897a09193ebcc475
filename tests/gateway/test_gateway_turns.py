"""The task that answers a connection's requests, by itself."""

from __future__ import annotations

import asyncio

import pytest

from headway.gateway.protocol.turns import Turns
from headway.gateway.request import Request


async def until_idle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("when", ["answering", "within", "between"])
def test_no_task_is_left_when_a_connection_ends(when):
    """Whenever that is: while it answers, at the end of an answer (it is handed over), or between two."""

    async def main():
        never, tasks = asyncio.Event(), set()

        async def answer(request: Request) -> None:
            tasks.add(asyncio.current_task())
            if when == "answering":
                await never.wait()
            turns.over()
            if when == "within":
                turns.end()

        turns = Turns(asyncio.get_running_loop(), answer)
        turns.begin(Request("GET", "/", ()))
        answered = turns.answered
        await until_idle()
        assert answered.done() is (when != "answering")
        turns.end()
        await until_idle()
        (task,) = tasks
        assert task.done()
        assert answered.done()
        assert turns.answered is None

    asyncio.run(main())


def test_a_request_that_is_there_when_an_answer_ends_is_next():
    """Sent ahead: it is begun from within."""

    async def main():
        asked = []

        async def answer(request: Request) -> None:
            asked.append(request.target)
            turns.over()
            if len(asked) < 3:
                turns.begin(Request("GET", f"/{len(asked)}", ()))

        turns = Turns(asyncio.get_running_loop(), answer)
        turns.begin(Request("GET", "/0", ()))
        await until_idle()
        assert asked == ["/0", "/1", "/2"]
        turns.begin(Request("GET", "/3", ()))
        await until_idle()
        assert asked[3:] == ["/3"]
        turns.end()
        await until_idle()

    asyncio.run(main())
