"""The dollar and token cap: the worst case is reserved before a try, what it really took is settled after.

A reservation that does not fit beside the others waits for them to settle, first come, first served: most of what is
set aside comes back, above all from answers without a bound. It is refused only when it does not fit beside what is
spent. A prefetch does not wait: it would hold up the calls behind it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from math import isinf

from headway.errors import BudgetExceeded, Overloaded
from headway.policy.budget import SpendCap
from headway.types import Call, Handler, Reply, Trace
from headway.wire.prices import Prices

__all__ = ["PREFETCH_PRIORITY", "Budget"]

PREFETCH_PRIORITY = -1_000_000
"""Of what nobody waits for: it takes what is to spare, or nothing. No caller's priority is as low."""

OUTPUT_TOKENS_ASSUMED = 4096
"""What an unbounded answer is reserved at: a request without max_tokens has no worst case of its own."""


class Budget:
    """Stops tries whose worst case does not fit under the cap any more.

    Args:
        next_: The pace layer.
        cap: What may be spent.
        prices: For worst cases in dollars.
        queue_max: Tries that wait for others to settle; one more is `Overloaded`.
    """

    __slots__ = ("_cap", "_next", "_prices", "_queue_max", "_waiting")

    def __init__(self, next_: Handler, cap: SpendCap, prices: Prices, *, queue_max: int = 100_000) -> None:
        self._next = next_
        self._cap = cap
        self._prices = prices
        self._queue_max = queue_max
        self._waiting: OrderedDict[asyncio.Future[bool], tuple[float, int]] = OrderedDict()

    async def __call__(self, call: Call) -> Reply:
        dollars, tokens = self._worst_case(call)
        if not await self._reserved(call, dollars, tokens):
            stuck = self._cap.dollars_stuck
            owed = f", and ${stuck:.6f} may be in batches of earlier runs" if stuck else ""
            raise BudgetExceeded(
                f"this call may cost up to ${dollars:.6f} and {tokens} tokens, which does not fit under the cap: "
                f"${self._cap.dollars_spent:.6f} and {self._cap.tokens_spent} tokens are spent{owed}; "
                "raise budget_usd or budget_tokens (for jobs: --budget) to go on"
            )

        def settle(trace: Trace) -> None:
            usage = trace.usage
            dollars_actual = trace.dollars or 0.0
            used = usage.input_tokens + usage.output_tokens if usage is not None else 0
            if trace.maybe_billed or (usage is not None and usage.estimated):
                # Nobody knows what is on the bill: a cap that holds takes it for the worst.
                dollars_actual, used = max(dollars_actual, dollars), max(used, tokens)
            self._settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=used)

        call.trace.on_end(settle)
        return await self._next(call)

    @property
    def cap(self) -> SpendCap:
        """The cap, and where it stands."""
        return self._cap

    def set_aside(self, dollars: float, tokens: int) -> bool:
        """Reserve for what is paid outside of this layer, such as a row of a batch; False when it does not fit now."""
        return not self._waiting and self._cap.reserve(dollars, tokens)

    def give_back(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int = 0) -> None:
        """End what `set_aside` reserved (the same `dollars` and `tokens`): book what it took, let in who waits."""
        self._settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=tokens_actual)

    def owe(self, dollars: float, *, stuck: float) -> None:
        """Add to what requests of earlier runs may still cost, and to the part that is not known to become less."""
        cap = self._cap
        cap.dollars_owed, cap.dollars_stuck = max(0.0, cap.dollars_owed + dollars), max(0.0, cap.dollars_stuck + stuck)
        self._admit()

    def _worst_case(self, call: Call) -> tuple[float, int]:
        view = call.view
        output = (view.output_tokens_max or OUTPUT_TOKENS_ASSUMED) * view.answers
        rates = self._prices.rates(view.model, call.origin)
        if rates is None and not isinf(self._cap.dollars_max):
            raise BudgetExceeded(
                f"the price of model {view.model!r} is unknown, so budget_usd cannot be kept; "
                "set budget_tokens instead, or use a model with a published price"
            )
        return rates.worst_case(view.input_tokens, output) if rates else 0.0, view.input_tokens + output

    async def _reserved(self, call: Call, dollars: float, tokens: int) -> bool:
        """Whether the worst case was set aside, perhaps after a wait; False when it can never be."""
        if not self._waiting and self._cap.reserve(dollars, tokens):
            return True
        if not self._cap.possible(dollars, tokens):
            return False
        if call.priority <= PREFETCH_PRIORITY:
            raise Overloaded("the budget has no room for a prefetch just now; the real request will wait for it")
        if len(self._waiting) >= self._queue_max:
            raise Overloaded(
                f"{len(self._waiting)} requests already wait for the budget; send fewer at once, or raise the cap"
            )
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        since_s: float | None = loop.time()

        def booked(trace: Trace) -> None:
            nonlocal since_s
            if since_s is not None:
                trace.wait_s += loop.time() - since_s
                since_s = None

        call.trace.on_end(booked)  # a caller that leaves is told what it waited before this task hears of it
        self._waiting[turn] = dollars, tokens
        try:
            return await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is not None:
                self._admit()  # whoever stood behind it may fit
            elif not turn.cancelled() and turn.result():
                self._settle(dollars, tokens, dollars_actual=0.0, tokens_actual=0)
            raise
        finally:
            booked(call.trace)

    def _settle(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int) -> None:
        self._cap.settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=tokens_actual)
        self._admit()

    def _admit(self) -> None:
        """Let in as many as fit now, in their order; send away those that never will."""
        while self._waiting:
            turn, (dollars, tokens) = next(iter(self._waiting.items()))
            if not turn.done():  # done is: cancelled, and about to leave by itself
                admitted = self._cap.reserve(dollars, tokens)
                if not admitted and self._cap.possible(dollars, tokens):
                    return
                turn.set_result(admitted)
            del self._waiting[turn]
