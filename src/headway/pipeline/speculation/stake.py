"""What the calls of a prefetch may cost: each try's worst case has to fit into what may still be wasted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from headway.engine.current import on_this_loop
from headway.errors import BudgetExceeded
from headway.pipeline.speculation.fetched import Prefetch
from headway.types import Call, Trace

if TYPE_CHECKING:
    from headway.pipeline.speculation.book import Speculation

__all__ = ["Stake"]


class Stake:
    """A `headway.types.Allowance` for one prefetch. Made on the book's loop.

    A call that joins another's costs nothing, and is not asked about here.

    Args:
        book: The account that it is launched on.
        prefetch: Whose calls they are.
    """

    __slots__ = ("_book", "_loop", "_prefetch")

    def __init__(self, book: Speculation, prefetch: Prefetch) -> None:
        self._book = book
        self._prefetch = prefetch
        self._loop = asyncio.get_running_loop()

    async def take(self, call: Call, dollars: float | None, tokens: int) -> Callable[[Trace], None]:
        """See `Allowance.take`. It never waits; what has no price is taken for what the step was expected to cost."""
        if asyncio.get_running_loop() is self._loop:
            return self._taken(dollars)

        async def there() -> Callable[[Trace], None]:
            return self._taken(dollars)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))

    def book(self, dollars: float) -> None:
        """Count what was spent in another way, such as in a batch."""
        self._loop.call_soon_threadsafe(self._spent, dollars)

    def _taken(self, dollars: float | None) -> Callable[[Trace], None]:
        prefetch, most_usd = self._prefetch, dollars or 0.0
        refusal = self._book.afford(prefetch, most_usd)
        if refusal:
            raise BudgetExceeded(refusal)
        prefetch.trying_usd += most_usd

        def ended(trace: Trace) -> None:
            prefetch.trying_usd -= most_usd
            prefetch.tried_usd += most_usd if trace.maybe_billed else trace.dollars or 0.0

        return on_this_loop(ended)

    def _spent(self, dollars: float) -> None:
        self._prefetch.dollars += dollars
        self._prefetch.tried_usd += dollars
