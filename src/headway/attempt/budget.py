"""The dollar and token cap: the worst case is reserved before a try, what it really took is settled after."""

from __future__ import annotations

from math import isinf

from headway.errors import BudgetExceeded
from headway.policy.budget import SpendCap
from headway.types import Call, Handler, Reply, Trace
from headway.wire.prices import Prices

__all__ = ["Budget"]

OUTPUT_TOKENS_ASSUMED = 4096
"""What an unbounded answer is reserved at: a request without max_tokens has no worst case of its own."""


class Budget:
    """Stops tries whose worst case does not fit under the cap any more."""

    __slots__ = ("_cap", "_next", "_prices")

    def __init__(self, next_: Handler, cap: SpendCap, prices: Prices) -> None:
        self._next = next_
        self._cap = cap
        self._prices = prices

    async def __call__(self, call: Call) -> Reply:
        view = call.view
        output = view.output_tokens_max or OUTPUT_TOKENS_ASSUMED
        tokens = view.input_tokens + output * view.answers
        rates = self._prices.rates(view.model, call.origin)
        if rates is None and not isinf(self._cap.dollars_max):
            raise BudgetExceeded(
                f"the price of model {view.model!r} is unknown, so budget_usd cannot be kept; "
                "set budget_tokens instead, or use a model with a published price"
            )
        dollars = rates.worst_case(view.input_tokens, output * view.answers) if rates else 0.0
        if not self._cap.reserve(dollars, tokens):
            raise BudgetExceeded(
                f"this call may cost up to ${dollars:.6f} and {tokens} tokens, which does not fit under the cap: "
                f"${self._cap.dollars_spent:.6f} and {self._cap.tokens_spent} tokens are spent, "
                f"${self._cap.dollars_reserved:.6f} are reserved; raise budget_usd or budget_tokens to go on"
            )

        def settle(trace: Trace) -> None:
            usage = trace.usage
            used = usage.input_tokens + usage.output_tokens if usage else 0
            self._cap.settle(dollars, tokens, dollars_actual=trace.dollars or 0.0, tokens_actual=used)

        call.trace.on_end(settle)
        return await self._next(call)
