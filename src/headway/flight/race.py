"""Tries side by side: where a late one may get a backup, each try is a task of its own, and the first answer wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from random import Random

from headway.attempt.attempt import Attempt
from headway.policy.flight import Decision, FlightPolicy, Try
from headway.types import Trace

__all__ = ["Race"]


class Race:
    """Runs the tries of one flight until the policy commits to one, or fails.

    Args:
        policy: Decides.
        start: Makes the next try; given what to call when it commits by time alone.
        publish: Hands on a stream that was committed to before its first content.
        deadline_at_s: The flight's, which joiners may move.
        rng: Dice for back-off.
    """

    def __init__(
        self,
        policy: FlightPolicy,
        start: Callable[[Callable[[Attempt], None]], Attempt],
        publish: Callable[[Attempt], None],
        *,
        deadline_at_s: Callable[[], float],
        rng: Random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._policy = policy
        self._start = start
        self._publish = publish
        self._deadline_at_s = deadline_at_s
        self._rng = rng
        self._attempts: list[Attempt] = []
        self._tries: list[Try] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self.backed_off_s = 0.0

    async def run(self) -> tuple[Decision, Attempt]:
        """The decision that ended it, and its try. The others are told to end; `aclose` waits until they have."""
        decision = await self._until_decided()
        attempt, task = self._attempts[decision.index], self._tasks[decision.index]
        for other in self._attempts:
            if other is not attempt:
                other.end()  # booked before anybody is told what the answer cost
        self._cancel(but=task)
        if not task.done():
            self._publish(attempt)  # committed to by time alone: its task still waits for the next bytes
        await task
        return decision, attempt

    async def aclose(self) -> None:
        """Nothing runs on."""
        self._cancel(but=None)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _cancel(self, *, but: asyncio.Task[None] | None) -> None:
        for task in self._tasks:
            if task is not but:
                task.cancel()

    async def _until_decided(self) -> Decision:
        while True:
            self._news.clear()
            for attempt in self._attempts:
                attempt.state.sent_at_s = attempt.trace.sent_at_s
            now_s = self._loop.time()
            decision = self._policy.decide(self._tries, self._deadline_at_s(), now_s, self._rng)
            if decision.do == "start":
                self._launch(decision)
            elif decision.do == "wait":
                await self._wait(decision.at_s, now_s)
            else:
                return decision

    def _launch(self, decision: Decision) -> None:
        attempt = self._start(lambda _: self._news.set())
        attempt.trace.on_end(lambda trace: self._policy.learn(decision.why, _waited_s(trace), trace.dollars))
        self._attempts.append(attempt)
        self._tries.append(attempt.state)
        task = self._loop.create_task(attempt.fly())
        task.add_done_callback(lambda _: self._news.set())
        self._tasks.append(task)

    async def _wait(self, until_s: float, now_s: float) -> None:
        timer = None if until_s == inf else self._loop.call_at(until_s, self._news.set)
        try:
            await self._news.wait()
        finally:
            if timer is not None:
                timer.cancel()
        if not any(each.outcome is None for each in self._tries):
            self.backed_off_s += self._loop.time() - now_s


def _waited_s(trace: Trace) -> float | None:
    """How long a try took to say something; for one that was cut short, how long it said nothing."""
    end_s = trace.first_content_at_s or trace.ended_at_s
    return None if trace.sent_at_s is None or end_s is None else end_s - trace.sent_at_s
