"""Send one, then fan: the first row of a job goes ahead, so that the others read the prefix that it has written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sized
from typing import Any

from headway.config import Settings
from headway.engine.sentences import FAULTS
from headway.errors import HeadwayError
from headway.policy.prefix_cache import PrefixRules, fan_pays, rules_for
from headway.policy.volatile import common_length
from headway.types import Result, TaskLike
from headway.wire import reader_for
from headway.wire.prefix import head_of
from headway.wire.prices import Prices, Rates
from headway.wire.splice import with_cache_breakpoint
from headway.wire.tokens import estimate_tokens

__all__ = ["Fan", "open_fan"]

WAIT_MAX_S = 60.0
"""However long the first answer takes: after this the others go all the same."""


class Fan:
    """For one `Engine.map`.

    The first row is sent at once. When the second one comes, the two requests' common beginning is measured, and where
    waiting pays (`policy.prefix_cache.fan_pays`) the second and all behind it wait for the first answer. A row that
    was answered from a cache has written nothing: then the next one goes ahead.

    Args:
        task: Makes the requests.
        prices: For what reads and writes cost.
        rows: How many would be sent at once.
    """

    def __init__(self, task: TaskLike, prices: Prices, rows: int) -> None:
        self._task = task
        self._prices = prices
        self._rows = rows
        self._ahead: asyncio.Task[Result] | None = None
        self._first: bytes | None = None
        self._rules: PrefixRules | None = None
        self._rates: Rates | None = None
        self._digest = b""
        self._marks = False
        self._over = False

    async def admit(self, row: Mapping[str, Any]) -> None:
        """Wait until `row` may be sent: at once, or after the row that goes ahead."""
        if self._over:
            return
        try:
            body = self._task.body(row)
        except (*FAULTS, HeadwayError):
            return  # the row will say so itself
        if self._first is None:
            self._open(body)
            return
        if not self._pays(body):
            self._over = True
            return
        ahead = self._ahead
        if ahead is not None:
            done, _ = await asyncio.wait((ahead,), timeout=WAIT_MAX_S)
            self._over = not done or ahead.cancelled() or ahead.exception() is not None or ahead.result().attempts > 0

    def sent(self, job: asyncio.Task[Result]) -> None:
        """A row is on its way."""
        if not self._over:
            self._ahead = job

    def marked(self, body: bytes) -> bytes:
        """The request with a breakpoint behind its head, where the job's rows will read what one writes."""
        if not self._marks or (head := head_of(body)) is None or head.digest != self._digest:
            return body
        return with_cache_breakpoint(body) or body

    def _open(self, body: bytes) -> None:
        """Look at the first request: the model and its prices, and whether its head is worth a breakpoint."""
        self._first = body
        reader = reader_for(self._task.path)
        view = reader.read_request(body, ()) if reader is not None else None
        self._rules = rules_for(view.format, view.model) if view is not None else None
        self._rates = self._prices.rates(view.model) if view is not None and self._rules is not None else None
        if self._rules is None or self._rates is None:
            self._over = True
        elif self._rules.marked:
            head = head_of(body)
            if head is not None:
                self._digest = head.digest
                self._marks = fan_pays(self._rows, head.tokens, self._rules, self._rates)
            self._over = not self._marks

    def _pays(self, body: bytes) -> bool:
        assert self._first is not None
        assert self._rules is not None
        assert self._rates is not None
        if self._rules.marked:
            return self._marks
        tokens = estimate_tokens(common_length(self._first, body))
        return fan_pays(self._rows, tokens, self._rules, self._rates)


def open_fan(settings: Settings, task: TaskLike, rows: object, concurrency: int) -> Fan | None:
    """What lets one row go ahead; None where prompt caching is off. Rows of unknown number count as `concurrency`."""
    if settings.prompt_cache == "off":
        return None
    return Fan(task, Prices(), min(concurrency, len(rows)) if isinstance(rows, Sized) else concurrency)
