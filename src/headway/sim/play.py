"""An answer coming in its own time, with what may go wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

from headway.errors import ConnectionLost
from headway.sim.account import Account
from headway.sim.ask import Ask
from headway.sim.bodies import Meta
from headway.sim.content import Completion
from headway.sim.events import Event
from headway.sim.formats import FORMATS
from headway.sim.latency import Timing
from headway.sim.refusals import FAULT_REFUSALS, Refused

__all__ = ["Play", "cut_off", "play_stream", "play_whole", "refusal_of"]

_PING_S = 15.0
_LOST = "the simulated connection was dropped"


class Play:
    """One admitted attempt and its clock.

    Args:
        account: Its line in the books.
        timing: Its drawn times.
        network_s: Half a round trip, for the way back.
        stall_s: How long a stalled answer is silent.
        leave: Called once when it ends: it is no longer in flight.
    """

    class Stream(NamedTuple):
        """A stream's body and what ends it."""

        chunks: AsyncIterator[bytes]
        close: Callable[[], Awaitable[None]]

    def __init__(
        self, *, account: Account, timing: Timing, network_s: float, stall_s: float, leave: Callable[[], None]
    ) -> None:
        self.account = account
        self.timing = timing
        self.longest = 0
        self.answers = 1
        self._network_s = network_s
        self.stall_s = stall_s
        self._leave: Callable[[], None] | None = leave
        self._start_s = self._now_s()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def processing_ms(self) -> str:
        """What the provider reports: from admission until now, whole milliseconds."""
        return str(max(0, round((self._now_s() - self._start_s - self._network_s) * 1_000)))

    async def start(self) -> None:
        """Wait in the queue; then the stream's headers go out."""
        await self.until(self.timing.queue_s + self._network_s)

    async def until(self, elapsed_s: float) -> None:
        """Sleep until so long after admission; at once when that is past."""
        delay_s = self._start_s + elapsed_s - self._now_s()
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    async def token(self, number: int) -> None:
        """Wait until the `number`-th token has reached the client; 0 is what comes before the first."""
        times = self.timing
        if number:
            await self.until(times.total_s(number) + self._network_s)
            account = self.account
            account.generated = max(account.generated, min(account.usage.output_tokens, number * self.answers))

    async def break_off(self) -> None:
        """Drop the connection, after the silence of a stall. Raises `ConnectionLost`."""
        if self.account.fault in ("stall", "pings"):
            await asyncio.sleep(self.stall_s)
        self.end(self.account.fault)
        raise ConnectionLost(f"{_LOST} ({self.account.fault})", maybe_billed=True)

    def generated_now(self) -> int:
        """Tokens of the longest answer that exist by now, were nobody to stop it."""
        times = self.timing
        ran_s = self._now_s() - self._start_s - times.queue_s - times.prefill_s
        return max(0, self.longest if not times.token_s else min(self.longest, int(ran_s / times.token_s)))

    def end(self, outcome: str) -> None:
        """Book it and leave; idempotent."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        self.account.close(outcome)


async def play_whole(play: Play, raw: bytes) -> bytes:
    """Wait for a whole answer's last token; what comes back is what arrives. Raises `ConnectionLost`."""
    account = play.account
    fault = account.fault
    try:
        if fault in ("reset", "stall", "pings"):
            await play.break_off()
        await play.until(play.timing.total_s(play.longest) + play._network_s)
    except asyncio.CancelledError:
        share = play.generated_now() / play.longest if play.longest else 0.0
        account.generated = int(account.usage.output_tokens * share)
        raise
    account.generated = account.usage.output_tokens
    account.status = 200
    play.end(fault if fault in ("malformed", "empty", "truncated") else "ok")
    return raw[: len(raw) * 2 // 3] if fault == "malformed" else raw


def cut_off(raw: bytes) -> Play.Stream:
    """Half of a body whose whole length was announced."""

    async def chunks() -> AsyncIterator[bytes]:
        yield raw[: len(raw) // 2]
        raise ConnectionLost(f"{_LOST} (truncated)", maybe_billed=True)

    async def close() -> None:
        """Nothing is held."""

    return Play.Stream(chunks(), close)


def play_stream(play: Play, ask: Ask, done: list[Completion], meta: Meta) -> Play.Stream:
    """The events as they come due; closing early ends generation and books what was generated."""
    chunks = _chunks(play, ask, FORMATS[ask.api].events(ask, done, meta))

    async def close() -> None:
        await chunks.aclose()
        play.end("aborted")

    return Play.Stream(chunks, close)


async def _chunks(play: Play, ask: Ask, events: Iterator[Event]) -> AsyncGenerator[bytes, None]:
    """The stream's bytes; who breaks it off ends the play by closing the reply."""
    account = play.account
    fault, half = account.fault, (play.longest + 1) // 2
    if fault == "pings":
        for _ in range(int(play.stall_s / _PING_S)):
            await asyncio.sleep(_PING_S)
            yield b": ping\n\n"
        play.end(fault)
        return
    for due, raw in events:
        if fault in ("reset", "stall", "truncated", "event", "malformed") and due >= half:
            if fault in ("reset", "stall"):
                await play.break_off()
            if fault == "malformed":
                yield raw[: len(raw) // 2].rstrip(b"\n") + b"\n\n"
                fault = ""  # once is enough
                continue
            if fault == "event":
                yield FORMATS[ask.api].overload(ask)
            play.end(fault)
            return
        await play.token(due)
        yield raw
    account.generated = account.usage.output_tokens
    play.end(account.fault if account.fault in ("malformed", "empty") else "ok")


def refusal_of(fault: str, *, stream: bool) -> Refused | None:
    """The error answer that a fault is; None for those that are something else."""
    if fault in ("html", "html200"):
        return Refused(502 if fault == "html" else 200, "Bad gateway", "server_error", None, outcome=fault)
    if fault == "event" and not stream:
        fault = "500"
    if fault not in FAULT_REFUSALS:
        return None
    status, message, kind, code = FAULT_REFUSALS[fault]
    return Refused(status, message, kind, code, outcome=fault)
