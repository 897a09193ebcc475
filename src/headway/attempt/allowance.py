"""What one run of a pipeline may cost, whichever engines and clients its steps use."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from headway.attempt.line import Line
from headway.errors import BudgetExceeded, Closed, ConfigError
from headway.policy.budget import SpendCap
from headway.types import Call, Trace
from headway.types.call import Allowance

__all__ = ["RunAllowance", "Unpaid"]


class Unpaid(Closed):
    """A run does not pay for this call, for it is over, or another's call read along while it waited for its money."""


class RunAllowance:
    """A cap in dollars for the calls of one run; a `headway.types.Allowance`. Cache hits cost nothing.

    An answer that several callers wait for is paid by the one that asked first. The cap holds for requests that bound
    their output; what an answer without a bound takes beyond what was set aside for it (`attempt.unbounded`) overdraws
    it, by the answers under way at most: whatever comes later is refused.

    Args:
        usd_max: In US dollars, >= 0.
        around: That of the run in whose step this one was started: each try is paid from both.

    Raises:
        ConfigError: That is no such number.
    """

    __slots__ = ("_around", "_line")

    def __init__(self, usd_max: float, around: Allowance | None = None) -> None:
        if isinstance(usd_max, bool) or not isinstance(usd_max, int | float) or not isfinite(usd_max) or usd_max < 0:
            raise ConfigError(f"a run's budget_usd must be a number of dollars, 0 or more, not {usd_max!r}")
        self._line = Line(SpendCap(dollars_max=usd_max), name="the run's budget")
        self._around = around

    async def take(self, call: Call, dollars: float | None, tokens: int) -> Callable[[Trace], None]:
        """See `Allowance.take`."""
        cap = self._line.cap
        if dollars is None:
            raise BudgetExceeded(
                f"the price of model {call.view.model!r} is unknown, so the run's budget_usd cannot be kept; "
                "use a model with a published price, or run without budget_usd"
            )
        settle = await self._line.take(call, dollars, tokens, waits=call.trace.unpaid)
        if settle is None:
            if self._line.is_closed:
                raise Unpaid("the run that this call belongs to is over, so nothing is paid for it any more")
            raise BudgetExceeded(
                f"this call may cost up to ${dollars:.6f}, which does not fit into the run's budget_usd of "
                f"${cap.dollars_max:.6f}: ${cap.dollars_spent:.6f} of it is spent; raise it, or bound the output"
            )
        if self._around is None:
            return settle
        try:
            also = await self._around.take(call, dollars, tokens)
        except BaseException:
            self._line.settle(dollars, tokens, dollars_actual=0.0, tokens_actual=0)
            raise

        def both(trace: Trace) -> None:
            also(trace)
            settle(trace)

        return both

    def close(self) -> None:
        """The run is over: nothing is paid any more, and what waits is refused. What is under way is still booked."""
        self._line.close()

    def book(self, dollars: float) -> None:
        """Count what was spent in another way, such as in a batch."""
        self._line.book(dollars)
        if self._around is not None:
            self._around.book(dollars)

    @property
    def usd_max(self) -> float:
        """The cap."""
        return self._line.cap.dollars_max

    @property
    def spent(self) -> float:
        """Dollars that ended tries took; what nobody knows is taken for the worst."""
        return self._line.cap.dollars_spent

    @property
    def reserved(self) -> float:
        """Dollars that tries under way may take at most."""
        return self._line.cap.dollars_reserved

    @property
    def left(self) -> float:
        """Dollars that are not spent, >= 0; of tries under way most comes back, so they are not counted."""
        return max(0.0, self.usd_max - self.spent)
