"""The waiting line in front of a spending cap: an engine's own, that of one run of a pipeline, or of a key.

A reservation that does not fit beside the others waits for them to settle, first come, first served: most of what is
set aside comes back, above all from answers without a bound. It is refused only when it does not fit beside what is
spent. A prefetch does not wait: it would hold up the calls behind it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from headway.errors import Overloaded
from headway.policy.budget import SpendCap
from headway.types import Call, Trace
from headway.wire.prices import Prices

__all__ = ["OUTPUT_TOKENS_ASSUMED", "PREFETCH_PRIORITY", "Line", "worst_case"]

PREFETCH_PRIORITY = -1_000_000
"""Of what nobody waits for: it takes what is to spare, or nothing. No caller's priority is as low."""

OUTPUT_TOKENS_ASSUMED = 4096
"""What an unbounded answer is reserved at: a request without max_tokens has no worst case of its own."""


def worst_case(call: Call, prices: Prices, unbounded: int | None = None) -> tuple[float | None, int]:
    """What a try may cost: dollars (None: the price is unknown) and tokens; without a bound, it is `unbounded` long."""
    view = call.view
    output = (view.output_tokens_max or unbounded or OUTPUT_TOKENS_ASSUMED) * view.answers
    rates = prices.rates(view.model, call.origin)
    return None if rates is None else rates.worst_case(view.input_tokens, output), view.input_tokens + output


class _Turn:
    """One that waits."""

    __slots__ = ("admitted", "dollars", "loop", "ready", "tokens")

    def __init__(self, dollars: float, tokens: int) -> None:
        self.dollars = dollars
        self.tokens = tokens
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.admitted: bool | None = None
        """None: it still waits."""

    def wake(self) -> None:
        """On its own loop, wherever it is that others settle: a thread, and its number, may serve several in turn."""
        if _running_loop() is self.loop:
            _wake(self.ready)
            return
        with suppress(RuntimeError):  # closed just now
            self.loop.call_soon_threadsafe(_wake, self.ready)


class Line:
    """Sets worst cases aside under a cap, in their order.

    It may be used from several loops at once, for a run's calls come through engines and sync clients alike.

    Args:
        cap: What may be spent.
        name: What error messages call it.
        queue_max: How many may wait; one more is `Overloaded`.
    """

    __slots__ = ("_lock", "_name", "_queue_max", "_waiting", "cap", "is_closed")

    def __init__(self, cap: SpendCap, *, name: str = "the budget", queue_max: int = 100_000) -> None:
        self.cap = cap
        self._name = name
        self._queue_max = queue_max
        self._waiting: OrderedDict[_Turn, None] = OrderedDict()
        self._lock = threading.Lock()
        self.is_closed = False

    def close(self) -> None:
        """Nothing is set aside any more; who waits is sent away."""
        with self._lock:
            self.is_closed = True
        self.admit()

    def set_aside(self, dollars: float, tokens: int) -> bool:
        """Reserve without waiting; False when it does not fit now, or others were first."""
        with self._lock:
            return not self._waiting and self.cap.reserve(dollars, tokens)

    async def take(
        self, call: Call, dollars: float, tokens: int, *, waits: Callable[[], None] | None = None
    ) -> Callable[[Trace], None] | None:
        """What settles the reservation at the end of the try's trace; None when it can never fit, or this is closed.

        Args:
            call: The try's.
            dollars: Its worst case; so is `tokens`.
            tokens: Input and output.
            waits: Told where it has to wait.

        Raises:
            Overloaded: Too many wait, or it is a prefetch that would have to.
        """
        turn = self._enter(call, dollars, tokens)
        if waits is not None and isinstance(turn, _Turn):
            waits()
        if turn is True or (turn is not False and await self._waited(call, turn)):
            return partial(self._ended, dollars, tokens)
        return None

    def settle(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int) -> None:
        """End a reservation (the same `dollars` and `tokens`): book what it took, let in who waits."""
        with self._lock:
            self.cap.settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=tokens_actual)
        self.admit()

    def book(self, dollars: float) -> None:
        """Count what was spent without a reservation."""
        with self._lock:
            self.cap.book(dollars)
        self.admit()

    def admit(self) -> None:
        """Let in as many as fit now, in their order; send away those that never will."""
        with self._lock:
            turns = self._due()
        for turn in turns:
            turn.wake()

    def _enter(self, call: Call, dollars: float, tokens: int) -> _Turn | bool:
        """Whether it fits, or a place in the line."""
        with self._lock:
            if self.is_closed:
                return False
            if not self._waiting and self.cap.reserve(dollars, tokens):
                return True
            if not self.cap.possible(dollars, tokens):
                return False
            if call.priority <= PREFETCH_PRIORITY:
                raise Overloaded(f"{self._name} has no room for a prefetch just now; the real request will wait for it")
            if len(self._waiting) >= self._queue_max:
                raise Overloaded(
                    f"{len(self._waiting)} requests already wait for {self._name}; send fewer at once, or raise the cap"
                )
            turn = _Turn(dollars, tokens)
            self._waiting[turn] = None
            return turn

    async def _waited(self, call: Call, turn: _Turn) -> bool:
        loop = turn.loop
        since_s: float | None = loop.time()

        def booked(trace: Trace) -> None:
            nonlocal since_s
            if since_s is not None:
                waited_s, since_s = loop.time() - since_s, None
                trace.wait_s += waited_s
                trace.budget_wait_s += waited_s

        call.trace.on_end(booked)  # a caller that leaves is told what it waited before this task hears of it
        try:
            await turn.ready
        except BaseException:
            self._leave(turn)
            raise
        finally:
            booked(call.trace)
        return turn.admitted is True

    def _leave(self, turn: _Turn) -> None:
        with self._lock:
            if turn.admitted is None:
                self._waiting.pop(turn, None)
            elif turn.admitted:
                self.cap.settle(turn.dollars, turn.tokens, dollars_actual=0.0, tokens_actual=0)
        self.admit()  # whoever stood behind it may fit

    def _due(self) -> list[_Turn]:
        """Decide about those in front of the line, as far as that can be done now. Under the lock."""
        due = []
        while self._waiting:
            turn = next(iter(self._waiting))
            if turn.loop.is_closed():  # nobody is there any more to give anything back
                del self._waiting[turn]
                continue
            admitted = not self.is_closed and self.cap.reserve(turn.dollars, turn.tokens)
            if not admitted and not self.is_closed and self.cap.possible(turn.dollars, turn.tokens):
                break
            turn.admitted = admitted
            del self._waiting[turn]
            due.append(turn)
        return due

    def _ended(self, dollars: float, tokens: int, trace: Trace) -> None:
        usage = trace.usage
        dollars_actual = trace.dollars or 0.0
        used = usage.input_tokens + usage.output_tokens if usage is not None else 0
        if trace.maybe_billed or (usage is not None and usage.estimated):
            # Nobody knows what is on the bill: a cap that holds takes it for the worst.
            dollars_actual, used = max(dollars_actual, dollars), max(used, tokens)
        self.settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=used)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
