"""A real call of a step that may have been fetched ahead: whether it found anything there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from headway.pipeline.speculation.fetched import Key, Prefetch

if TYPE_CHECKING:
    from headway.pipeline.record import Sums
    from headway.pipeline.speculation.book import Speculation

__all__ = ["Use"]

_SHARE_THERE = 0.5
"""How much quicker than the prefetch a real call that asked no models has to be, to be taken for one that found it
there; one that joined it under way, at all."""


class Use:
    """A real call of a pure step, from its start to its end. Made in its own task, by `Speculation.asked`.

    Where that task ends before `ended` was called, the call has failed or was cancelled: that is as if it had not come.

    Args:
        book: The engine's account.
        key: The step and its arguments.
        prefetch: What was fetched ahead; None: nothing.
    """

    __slots__ = ("_book", "_key", "_prefetch", "_task", "_was_there")

    def __init__(self, book: Speculation, key: Key, prefetch: Prefetch | None) -> None:
        self._book = book
        self._key = key
        self._prefetch = prefetch
        self._task: asyncio.Task[object] | None = None
        self._was_there = prefetch is not None and prefetch.ended_s is not None
        if prefetch is not None:
            prefetch.asked += 1
            self._task = asyncio.current_task()
            if self._task is not None:
                self._task.add_done_callback(self.left)

    @property
    def speculative(self) -> bool:
        """Whether it was fetched ahead; at the end, whether that was of any use."""
        return self._prefetch is not None

    def ended(
        self, seconds: float, usd: float | None = None, *, sums: Sums | None = None, cached: bool = False
    ) -> float:
        """The real call has ended well; the seconds that it did not have to wait.

        It is a hit only if something was found: an answer in the cache or under way, or a kept result. Where models
        were not asked at all, the time tells.

        Args:
            seconds: How long it took, >= 0.
            usd: What it cost, >= 0, which the next guess is judged by; None: not known, or some of it was cached.
            sums: What its calls took together; None: it made none, or that is not known.
            cached: Its result was kept.
        """
        prefetch = self._prefetch
        if prefetch is None:
            if usd is not None:
                self._book.learn(self._key, seconds, usd)
            return 0.0
        self._forget()
        now_s = asyncio.get_running_loop().time()
        if not cached and (sums is None or not sums.hits):
            share, lasted_s = _SHARE_THERE if self._was_there else 0.0, prefetch.lasted_s(now_s)
            if (sums is not None and sums.attempts) or lasted_s - seconds <= share * lasted_s:
                self._prefetch = None
                self._book.missed(prefetch)
                return 0.0
        again_usd = (sums.dollars or 0.0) if sums is not None and self._was_there else 0.0
        saved_s = max(0.0, prefetch.seconds(now_s) - seconds)
        return self._book.came(prefetch, saved_s, again_usd, was_there=self._was_there)

    def left(self, _: object = None) -> None:
        """The real call has failed or was cancelled. Idempotent, and called by itself when its task ends."""
        prefetch, self._prefetch = self._prefetch, None
        if prefetch is not None and self._task is not None:
            self._forget()
            self._book.left(prefetch)

    def _forget(self) -> None:
        if self._task is not None:
            self._task.remove_done_callback(self.left)
            self._task = None
