"""The dollar and token cap: the worst case is reserved before a try, what it really took is settled after.

`Budget` keeps the engine's own cap, `Allowed` has the run pay that a call belongs to; both wait in a `line.Line`. A
try takes its run's reservation first, then those of the runs around it, the engine's last, and waits for nothing else
of the kind while it holds them.
"""

from __future__ import annotations

from collections.abc import Awaitable
from math import isinf

from headway.attempt.line import Line, worst_case
from headway.attempt.unbounded import Unbounded
from headway.errors import BudgetExceeded
from headway.policy.budget import SpendCap
from headway.types import Call, Handler, Reply
from headway.types.call import Allowance
from headway.wire.prices import Prices

__all__ = ["Allowed", "Budget"]


class Budget:
    """Stops tries whose worst case does not fit under the cap any more.

    Args:
        next_: The pace layer.
        cap: What may be spent.
        prices: For worst cases in dollars.
        queue_max: Tries that wait for others to settle; one more is `Overloaded`.
    """

    __slots__ = ("_line", "_next", "_prices")

    def __init__(self, next_: Handler, cap: SpendCap, prices: Prices, *, queue_max: int = 100_000) -> None:
        self._next = next_
        self._line = Line(cap, queue_max=queue_max)
        self._prices = prices

    async def __call__(self, call: Call) -> Reply:
        dollars, tokens = worst_case(call, self._prices)
        cap = self._line.cap
        if dollars is None:
            if not isinf(cap.dollars_max):
                raise BudgetExceeded(
                    f"the price of model {call.view.model!r} is unknown, so budget_usd cannot be kept; "
                    "set budget_tokens instead, or use a model with a published price"
                )
            dollars = 0.0
        settle = await self._line.take(call, dollars, tokens)
        if settle is None:
            stuck = cap.dollars_stuck
            owed = f", and ${stuck:.6f} may be in batches of earlier runs" if stuck else ""
            raise BudgetExceeded(
                f"this call may cost up to ${dollars:.6f} and {tokens} tokens, which does not fit under the cap: "
                f"${cap.dollars_spent:.6f} and {cap.tokens_spent} tokens are spent{owed}; "
                "raise budget_usd or budget_tokens (for jobs: --budget) to go on"
            )
        call.trace.on_end(settle)
        return await self._next(call)

    def adopt(self, other: Budget) -> None:
        """Go on with what another one has booked, under this one's caps."""
        own, self._line = self._line.cap, other._line
        self._line.cap.dollars_max, self._line.cap.tokens_max = own.dollars_max, own.tokens_max
        self._line.admit()

    @property
    def cap(self) -> SpendCap:
        """The cap, and where it stands."""
        return self._line.cap

    def set_aside(self, dollars: float, tokens: int) -> bool:
        """Reserve for what is paid outside of this layer, such as a row of a batch; False when it does not fit now."""
        return self._line.set_aside(dollars, tokens)

    def give_back(self, dollars: float, tokens: int, *, dollars_actual: float, tokens_actual: int = 0) -> None:
        """End what `set_aside` reserved (the same `dollars` and `tokens`): book what it took, let in who waits."""
        self._line.settle(dollars, tokens, dollars_actual=dollars_actual, tokens_actual=tokens_actual)

    def owe(self, dollars: float, *, stuck: float) -> None:
        """Add to what requests of earlier runs may still cost, and to the part that is not known to become less."""
        cap = self._line.cap
        cap.dollars_owed, cap.dollars_stuck = max(0.0, cap.dollars_owed + dollars), max(0.0, cap.dollars_stuck + stuck)
        self._line.admit()


class Allowed:
    """Has the run pay that a try belongs to. A call of no run passes without an await.

    What is set aside for an answer without a bound is a guess, from answers to the same step's calls: see `unbounded`.
    """

    __slots__ = ("_next", "_prices", "_unbounded")

    def __init__(self, next_: Handler, prices: Prices) -> None:
        self._next = next_
        self._prices = prices
        self._unbounded = Unbounded()

    def __call__(self, call: Call) -> Awaitable[Reply]:
        return self._next(call) if call.allowance is None else self._paid(call, call.allowance)

    async def _paid(self, call: Call, allowance: Allowance) -> Reply:
        trace, tokens = call.trace, None
        if call.view.output_tokens_max is None:
            tokens = self._unbounded.begin(call)
        try:
            settle = await allowance.take(call, *worst_case(call, self._prices, tokens))
        finally:
            trace.unpaid = None
        trace.on_end(settle)
        return await self._next(call)
