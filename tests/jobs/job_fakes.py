"""A scripted engine for job tests: it answers by a function, bounded and out of order, without a network."""

from __future__ import annotations

import asyncio
from collections import deque

from headway.types import Result, Usage


class FakeEngine:
    """`answer(row)` gives a value, or an (outcome, error_code) pair for a failure."""

    budget = None

    def snapshot(self):
        return {"allowed_rpm": None}

    def __init__(self, answer=lambda row: "a", *, stop_after=None):
        self.answer = answer
        self.asked = []
        self.stop_after = stop_after
        self.in_flight_max = 0

    async def map(self, rows, task, *, order, concurrency, priority=0, tags=None):
        assert order == "completed"
        waiting, index, more = deque(), 0, True
        source = aiter(rows)
        while more or waiting:
            while more and len(waiting) < concurrency:
                try:
                    row = await anext(source)
                except StopAsyncIteration:
                    more = False
                    break
                task.body(row)
                self.asked.append(dict(row))
                waiting.append((index, row))
                index += 1
            self.in_flight_max = max(self.in_flight_max, len(waiting))
            if not waiting:
                return
            if self.stop_after is not None and index - len(waiting) >= self.stop_after:
                raise asyncio.CancelledError  # as a signal would
            await asyncio.sleep(0)
            waiting.rotate(index)  # any order
            yield self._result(*waiting.pop())

    def _result(self, index, row):
        got = self.answer(row)
        common = {"index": index, "row": row, "latency_s": 0.5, "attempts": 1, "cache": "miss"}
        if isinstance(got, tuple):
            outcome, code = got
            return Result(error=f"it failed with {code}", outcome=outcome, error_code=code, **common)
        usage = Usage(input_tokens=10, output_tokens=2)
        return Result(value=got, text=str(got), usage=usage, dollars=0.001, **common)
