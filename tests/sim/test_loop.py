"""Virtual time."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from headway.sim import VirtualDeadlock, VirtualLoop, run_virtual


def test_sleeps_end_in_the_order_of_their_times():
    """Tasks wake in the order of what they sleep, at exactly that time, and no real time is spent."""

    async def main() -> list[tuple[float, int]]:
        woke = []

        async def sleeper(number: int, delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            woke.append((asyncio.get_running_loop().time(), number))

        delays_s = (3_600.0, 0.25, 86_400.0 * 3, 0.000001, 0.0)
        await asyncio.gather(*(sleeper(number, delay_s) for number, delay_s in enumerate(delays_s)))
        return woke

    assert run_virtual(main) == [(0.0, 4), (0.000001, 3), (0.25, 1), (3_600.0, 0), (259_200.0, 2)]


def test_time_does_not_drift():
    """A hundred thousand steps of 100 us are ten seconds, to the microsecond."""

    async def main() -> float:
        for _ in range(100_000):
            await asyncio.sleep(0.0001)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 10.0


def test_timeouts_fire():
    """`asyncio.timeout` and `wait_for` end what takes longer, and only that."""

    async def main() -> float:
        async with asyncio.timeout(10):
            await asyncio.sleep(9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 14.0


def test_a_deadlock_is_an_error_that_names_the_tasks():
    """Where everything waits for ever, the run ends with the tasks' names instead of hanging."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.Event().wait(), name="the-waiter")
        await task

    with pytest.raises(VirtualDeadlock, match=r"2 tasks wait and no timer is set: .*the-waiter \(Event\.wait"):
        run_virtual(main)


def test_wall_time_moves_with_the_loop():
    """Calendar time starts where it is told to and advances with virtual time."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await asyncio.sleep(60)
        return loop.wall_s()

    assert run_virtual(main, start_wall_s=1_000.0) == 1_060.0
    assert run_virtual(main()) == 1_767_225_660.0


def test_threads_executors_and_sockets_are_refused():
    """What virtual time cannot wait for is an error at once, not a hang."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        told = []
        with pytest.raises(RuntimeError, match="thread"):
            await loop.run_in_executor(None, print)
        with pytest.raises(RuntimeError, match="thread"):
            await asyncio.to_thread(print)

        def other() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                told.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        one, two = socket.socketpair()
        with one, two, pytest.raises(RuntimeError, match="real socket"):
            one.setblocking(False)
            await loop.sock_recv(one, 1)
        return told

    assert "virtual-time loop" in run_virtual(main)[0]


def test_twenty_thousand_tasks_end_in_the_same_order_every_time():
    """20,000 tasks that meet at a semaphore over virtual minutes: two runs do the same, step by step."""

    async def main() -> list[int]:
        gate, done = asyncio.Semaphore(100), []

        async def work(number: int) -> None:
            async with gate:
                await asyncio.sleep(0.5 + (number * 7_919 % 1_000) / 1_000)
                done.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(20_000):
                group.create_task(work(number))
        return done

    first = run_virtual(main)
    assert sorted(first) == list(range(20_000))
    assert first == run_virtual(main)
