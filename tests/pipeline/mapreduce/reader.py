"""A provider that reads what it is asked, answers by a function, and remembers; for tests of map-reduce."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from headway import Engine
from headway.sim.scripted import scripted_events, scripted_whole
from headway.types import Call, Reply, Usage

Says = Callable[[str], "str | int"]


def plain(prompt: str) -> str:
    """What it read: the parts' numbers; in 28 tokens, which is what 20 words are taken for."""
    return f"Read {' '.join(sorted(set(re.findall(r'[a-z]+[0-9]+', prompt))))[:90]} here".ljust(112, ".")


class Reader:
    """A `Handler`.

    Args:
        says: What to answer to a prompt; a number is a status.
        takes_s: How long that takes.
        cut_below: Answers to requests with a smaller bound end at it.
    """

    def __init__(self, says: Says = plain, takes_s: Callable[[str], float] = lambda _: 1.0, cut_below: int = 0) -> None:
        self._says = says
        self._takes_s = takes_s
        self._cut_below = cut_below
        self.asked: list[str] = []
        """Prompts, in the order they came."""
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.bounds: list[int] = []
        self.calls: list[Call] = []
        self.under_way = self.most = 0
        self.aborted = 0

    def of(self, kind: str) -> list[str]:
        """The prompts that say so."""
        return [prompt for prompt in self.asked if prompt.startswith(kind)]

    async def __call__(self, call: Call) -> Reply:
        body: dict[str, Any] = json.loads(call.body)
        prompt = body["input"] if isinstance(body["input"], str) else body["input"][0]["content"]
        self.calls.append(call)
        self.asked.append(prompt)
        self.bounds.append(body["max_output_tokens"])
        loop = asyncio.get_running_loop()
        self.began[prompt] = loop.time()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self._takes_s(prompt))
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.under_way -= 1
        self.ended[prompt] = loop.time()
        said = self._says(prompt)
        usage = Usage(input_tokens=len(prompt) // 4, output_tokens=len(str(said)) // 4)
        head = (("content-type", "application/json"),)
        if isinstance(said, int):
            return Reply(said, head, scripted_whole(call, said, "refused", usage), trace=call.trace)
        if call.view.stream:
            return self._stream(call, said, usage)
        data = scripted_whole(call, 200, said, usage)
        if body["max_output_tokens"] < self._cut_below:
            ended = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
            data = json.dumps(json.loads(data) | ended).encode()
        return Reply(200, head, data, trace=call.trace)

    def _stream(self, call: Call, said: str, usage: Usage) -> Reply:
        async def events() -> Any:
            try:
                for event in scripted_events(call, said, usage):
                    await asyncio.sleep(0.1)
                    yield event
            except (GeneratorExit, asyncio.CancelledError):
                self.aborted += 1
                raise

        chunks = events()
        return Reply(
            200, (("content-type", "text/event-stream"),), chunks=chunks, close=chunks.aclose, trace=call.trace
        )


def engine(handler: Any, **settings: Any) -> Engine:
    """One without a log."""
    return Engine(handler=handler, api_key="sk-test", log="off", log_level="off", **settings)


def numbered(parts: int, words: int = 40) -> str:
    """A text of so many paragraphs, each with a word of its own: part0, part1."""
    return "\n\n".join(f"Here is part{part}. " + "Nothing else is said. " * (words // 4) for part in range(parts))
