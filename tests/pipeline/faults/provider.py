"""A provider that answers as the dice say, and knows what it has been asked and what is still open."""

from __future__ import annotations

from random import Random

from headway.errors import ConnectFailed, ConnectionLost
from headway.testing import FakeProvider, Step
from headway.types import Call, Reply

__all__ = ["Provider"]

JSON = '{"title": "Tides", "facts": ["one", "two", {"n": 3}], "body": "' + "word " * 30 + '"}'


class Provider:
    """A `Handler`."""

    def __init__(self, seed: int, faulty: float) -> None:
        self._dice = Random(f"provider {seed}")
        self._faulty = faulty
        self._fakes: list[FakeProvider] = []
        self.under_way = 0

    @property
    def calls(self) -> int:
        """Requests that came in."""
        return len(self._fakes)

    @property
    def open(self) -> int:
        """Requests under way, and replies that nobody has read to their end or closed."""
        return self.under_way + sum(fake.open for fake in self._fakes)

    async def __call__(self, call: Call) -> Reply:
        """An answer, after a while."""
        fake = FakeProvider([self._step(call)])
        self._fakes.append(fake)
        self.under_way += 1
        try:
            return await fake(call)
        finally:
            self.under_way -= 1

    def _step(self, call: Call) -> Step:
        dice = self._dice
        delay_s, chunk_s = dice.choice((0.0, dice.uniform(0, 2))), dice.choice((0.0, 0.05, 0.5))
        text = JSON if b"json" in call.body else "one two three four five"
        good = Step(text=text, delay_s=delay_s, chunk_delay_s=chunk_s, output_tokens=dice.randint(1, 500))
        if dice.random() >= self._faulty:
            return good
        kind = dice.choice(("500", "429", "400", "refused", "silent", "lost", "cut"))
        if kind in ("500", "429", "400"):
            headers = (("retry-after", "1"),) if kind == "429" else ()
            return Step(status=int(kind), delay_s=delay_s, headers=headers)
        if kind == "refused":
            return Step(error=ConnectFailed("nobody listens"), delay_s=delay_s)
        if kind == "silent":
            return Step(delay_s=500.0)
        if not call.view.stream:
            return Step(error=ConnectionLost("it was gone", maybe_billed=True), delay_s=delay_s)
        some = (b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"{\\"ti"}\n\n',)
        error = ConnectionLost("it was gone", maybe_billed=True) if kind == "lost" else None
        return Step(chunks=some, error=error, delay_s=delay_s, chunk_delay_s=chunk_s)
