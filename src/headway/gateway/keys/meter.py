"""What holds one key's requests to its limits, and what pays for them: first its requests and tokens, then its dollars.

Nothing waits for its key's limits while it holds its dollars. A key below another one takes its own first and the
other's second, as runs and engines do, so that nobody who holds one waits for somebody who waits for him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from headway.attempt.line import Line
from headway.errors import BudgetExceeded
from headway.gateway.keys.ledger import LOST_S, Ask, Given
from headway.gateway.keys.rate import QUEUE_MAX, KeyRate
from headway.policy.key_spend import LeasedCap
from headway.policy.keys import Key
from headway.types import Call, Trace

__all__ = ["PATIENCE_S", "KeyAllowance", "KeyBudgetExceeded", "Meter"]

PATIENCE_S = 10.0
"""How long a call waits for dollars that nobody but other processes holds, and nothing comes back."""
_RENEW_S = LOST_S / 6


class KeyBudgetExceeded(BudgetExceeded):
    """A key's dollars for the day or the month are spent."""

    retry_after_s: float | None = None
    """Seconds until there is money again; None where there never is enough."""


class Meter:
    """One key's limits, in one process and on one loop.

    Args:
        key: Its record.
        ask: Called when there should be an exchange soon.
        day: The day now, "2026-11-21", and the seconds until the next day and the next month.
        busy: Where it enters itself when it is used; who settles takes it out when it is `idle`.
        queue_max: How many requests may wait for each of its limits.
    """

    def __init__(
        self,
        key: Key,
        ask: Callable[[], None],
        day: Callable[[], tuple[str, float, float]],
        busy: dict[Meter, None],
        *,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self.key = key
        self.cap = LeasedCap(key.dollars_per_day, key.dollars_per_month)
        self.rate = KeyRate((key.requests_per_min, key.tokens_per_min), key.name, ask, queue_max=queue_max)
        self._ask_soon = ask
        self._day = day
        self._busy = busy
        self._line = Line(self.cap, name=f"the dollars of the key {key.name!r}", queue_max=queue_max)
        self._loop = asyncio.get_running_loop()
        self._asked_at_s = self._loop.time()
        self._under_way = 0
        self._stuck_since_s: float | None = None

    def change(self, key: Key) -> None:
        """Its record was changed."""
        self.key = key
        self.cap.per_day, self.cap.per_month = key.dollars_per_day, key.dollars_per_month
        self.rate.change((key.requests_per_min, key.tokens_per_min))

    @property
    def idle(self) -> bool:
        """Whether there is nothing of it to be settled, now or later."""
        cap = self.cap
        open_ = cap.active or cap.held or cap.dollars_reserved or cap.requests or cap.tokens_spent or cap.dollars_spent
        return not open_ and self._under_way == 0 and self.rate.idle

    async def take(self, call: Call, dollars: float | None, tokens: int) -> Callable[[Trace], None]:
        """See `Allowance.take`."""
        cap, rate = self.cap, self.rate
        if dollars is None and cap.capped:
            raise KeyBudgetExceeded(
                f"the price of model {call.view.model!r} is unknown, so the dollars of the key {self.key.name!r} "
                "cannot be kept; use a model with a published price"
            )
        self._busy[self] = None
        counted = rate.limited
        if counted:
            await rate.take(call, tokens)
        cap.on(self._day()[0])
        self._under_way += 1
        try:
            settle = await self._line.take(call, dollars or 0.0, tokens, waits=partial(self._waits, call))
            if settle is None:
                raise self._spent(dollars or 0.0)
        except BaseException:
            self._under_way -= 1
            if counted:
                rate.settle(tokens, call.trace)
            raise

        def ended(trace: Trace) -> None:
            self._under_way -= 1
            cap.requests += trace.sent_at_s is not None
            settle(trace)
            if counted:
                rate.settle(tokens, trace)

        return ended

    def book(self, dollars: float) -> None:
        """Count what was spent in another way."""
        self._line.book(dollars)

    def ask(self, *, closing: bool = False) -> Ask | None:
        """What there is to be settled with the other processes; None for nothing.

        Args:
            closing: It is the last time: what is left goes back.
        """
        cap = self.cap
        cap.on(self._day()[0])
        due = self._loop.time() - self._asked_at_s > _RENEW_S and cap.held > 0.0
        made = Ask(key=self.key.id, dollars=cap.dollars_spent, tokens=cap.tokens_spent, requests=cap.requests)
        if closing:
            cap.active = False
            self.rate.close()
        held = cap.held
        waiting = cap.short_of > 0.0
        made.keep, made.needed, made.welcome = cap.wants()
        made.per_day, made.per_month = cap.per_day, cap.per_month
        rated = self.rate.fill(made)
        if not (rated or due or waiting or made.dollars or made.tokens or made.requests or made.keep != held):
            return None
        self._asked_at_s = self._loop.time()
        return made

    def asked(self, ask: Ask, given: Given | None, day: str) -> None:
        """What came of it that day; None: it failed, and is asked again."""
        cap = self.cap
        if given is not None:
            cap.exchanged(day, given.held, (given.spent_day, given.spent_month), ask.dollars, ask.tokens)
            cap.requests -= ask.requests
        if ask.limits == self.rate.limits:
            self.rate.filled(ask, given)
        self._line.admit()
        self._lose_patience(heard=given is not None)
        if given is not None and cap.short_of > 0.0 and given.held > ask.keep:
            self._ask_soon()  # some were let in, others wait behind them

    def close(self) -> None:
        """Stop its timers."""
        self.rate.close()

    def _lose_patience(self, *, heard: bool) -> None:
        """Send away who could only wait for other processes, be it for a long answer of theirs or for a dead one."""
        cap, now_s = self.cap, self._loop.time()
        if not heard or cap.short_of <= 0.0 or cap.dollars_reserved > 0.0:
            self._stuck_since_s = None
        elif self._stuck_since_s is None:
            self._stuck_since_s = now_s
        elif now_s - self._stuck_since_s >= PATIENCE_S:
            self._stuck_since_s = None
            cap.impatient = True
            self._line.admit()
            cap.impatient = False

    def _waits(self, call: Call) -> None:
        """A call has to wait for dollars: perhaps the others leave some; perhaps its readers have some of their own."""
        self._ask_soon()
        if call.trace.unpaid is not None:
            call.trace.unpaid()

    def _spent(self, dollars: float) -> KeyBudgetExceeded:
        cap, name = self.cap, self.key.name
        if cap.possible(dollars, 0):
            error = KeyBudgetExceeded(
                f"this call may cost up to ${dollars:.6f}, and other processes hold what the key {name!r} has left for "
                "calls of theirs; try again in a moment, bound the output, or have the cap raised"
            )
            error.retry_after_s = PATIENCE_S
            return error
        _, day_s, month_s = self._day()
        monthly = cap.spent_month + cap.dollars_spent + dollars > cap.per_month
        spent, most, span = (
            (cap.spent_month, cap.per_month, "this month") if monthly else (cap.spent_day, cap.per_day, "today")
        )
        error = KeyBudgetExceeded(
            f"this call may cost up to ${dollars:.6f}, which does not fit into what the key {name!r} may spend {span}: "
            f"${spent + cap.dollars_spent:.6f} of ${most:.6f} is spent; bound the output, or have the cap raised"
        )
        if dollars <= most:
            error.retry_after_s = month_s if monthly else day_s
        return error


class KeyAllowance:
    """Pays for the requests of one key; a `headway.types.call.Allowance`.

    Args:
        meters: The key's own, its parent's, the parent's parent's ...
    """

    __slots__ = ("meters",)

    def __init__(self, meters: tuple[Meter, ...]) -> None:
        self.meters = meters

    async def take(self, call: Call, dollars: float | None, tokens: int) -> Callable[[Trace], None]:
        """See `Allowance.take`.

        Raises:
            KeyOverloaded: A limit leaves no room in time.
            KeyBudgetExceeded: It does not fit under a cap.
        """
        if len(self.meters) == 1:
            return await self.meters[0].take(call, dollars, tokens)
        taken: list[Callable[[Trace], None]] = []

        def settle(trace: Trace) -> None:
            while taken:
                taken.pop()(trace)

        try:
            for meter in self.meters:
                one = await meter.take(call, dollars, tokens)
                taken.append(one)
        except BaseException:
            settle(call.trace)  # nothing was sent
            raise
        return settle

    def book(self, dollars: float) -> None:
        """Count what was spent in another way, such as in a batch."""
        for meter in self.meters:
            meter.book(dollars)
