"""The link between one process's keys and the file of keys: one thread, asked a few times a second.

It tells of keys that were made or revoked (within `TICK_S`), and settles what was spent with the other processes. Under
virtual time, where there are no threads, it works on the loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from headway.errors import ConfigError
from headway.gateway.keys.ledger import Ask, Given, exchange
from headway.gateway.keys.meter import Meter
from headway.gateway.keys.records import Known, key_file, read_known
from headway.policy.keys import Key
from headway.store.writer import log_warning

__all__ = ["Books"]

TICK_S = 0.25
_DAY_S = 86_400.0

T = TypeVar("T")


class Books:
    """See the module. For one event loop.

    Args:
        path: The file of keys.
        changed: Told all keys, at the beginning and whenever one of them has changed.
        wall_s: Calendar time; None: the loop's, or the system's.
        warn: Told a sentence when the file cannot be used, once until it can again.
    """

    def __init__(
        self,
        path: Path,
        changed: Callable[[Known], None],
        *,
        wall_s: Callable[[], float] | None = None,
        warn: Callable[[str], None] = log_warning,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._changed = changed
        loop_wall_s: Callable[[], float] = getattr(loop, "wall_s", time.time)
        self.wall_s = wall_s or loop_wall_s
        self._warn = warn
        self._warned = False
        self._file = key_file(path, warn)
        self._process = uuid4().hex
        self._loop = loop
        self._thread = None if getattr(loop, "is_virtual", False) else ThreadPoolExecutor(1, "headway-keys")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._edits = -1
        self._today: tuple[str, float, float] = ("", 0.0, 0.0)
        self.meters: dict[str, Meter] = {}
        """Of keys that were used, by id."""
        self._busy: dict[Meter, None] = {}
        self._wake = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Read the keys. Raises `ConfigError` where the file cannot be had."""
        try:
            known, _ = await self._run(partial(self._work, [], "", 0.0))
        except sqlite3.Error as error:
            await self.aclose()
            raise ConfigError(f"the file of keys {self._file.path} cannot be read: {error}") from error
        except ConfigError:
            await self.aclose()
            raise
        assert known is not None  # nothing was known before
        self._changed(known)
        self._tending = self._loop.create_task(self._tend())

    async def aclose(self) -> None:
        """Settle what was spent, and give the rest back. Idempotent."""
        tending, self._tending = self._tending, None
        if tending is not None:
            self._closing = True
            self._wake.set()
            await tending
            await self._round(closing=True)
        for meter in self.meters.values():
            meter.close()
        await self._run(self._disconnect)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def meter(self, key: Key) -> Meter:
        """A key's limits; made when it is first used."""
        found = self.meters.get(key.id)
        if found is None:
            found = self.meters[key.id] = Meter(key, self.ask_soon, self.day, self._busy)
        return found

    def ask_soon(self) -> None:
        """Do not wait for the next tick."""
        self._wake.set()

    def day(self) -> tuple[str, float, float]:
        """The day now in UTC, "2026-11-21", and the seconds until the next day and the next month."""
        now_s = self.wall_s()
        day, day_end_s, month_end_s = self._today
        if not day_end_s - _DAY_S <= now_s < day_end_s:
            now = datetime.fromtimestamp(now_s, UTC)
            day, day_end_s = now.strftime("%Y-%m-%d"), (now_s // _DAY_S + 1.0) * _DAY_S
            year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
            month_end_s = datetime(year, month, 1, tzinfo=UTC).timestamp()
            self._today = day, day_end_s, month_end_s
        return day, day_end_s - now_s, month_end_s - now_s

    async def _tend(self) -> None:
        while not self._closing:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._round()

    async def _round(self, *, closing: bool = False) -> None:
        """Settle what there is to settle, and see whether keys have changed."""
        asked = []
        for meter in tuple(self._busy):
            if (ask := meter.ask(closing=closing)) is not None:
                asked.append((meter, ask))
            elif meter.idle:
                del self._busy[meter]
        day = self.day()[0]
        work = partial(self._work, [ask for _, ask in asked], day, self.wall_s())
        known: Known | None = None
        given: Sequence[Given | None] = [None] * len(asked)
        try:
            known, found = await self._run(work)
            if isinstance(found, sqlite3.Error):
                self._warn_once(found)
            else:
                given, self._warned = found, False
        except (sqlite3.Error, ConfigError) as error:
            self._warn_once(error)
        finally:
            for (meter, ask), one in zip(asked, given, strict=True):
                meter.asked(ask, one, day)
        if known is not None:
            self._keep(known)
            self._changed(known)

    def _warn_once(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"the file of keys cannot be used: {error}; keys with limits wait until it can be")

    def _keep(self, known: Known) -> None:
        """Bring limits up to date; those of keys that are gone are forgotten when nothing of them is left."""
        for id_, meter in tuple(self.meters.items()):
            if id_ in known.keys:
                meter.change(known.keys[id_])
            elif meter.idle:
                self.meters.pop(id_).close()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            return work()
        return await self._loop.run_in_executor(self._thread, work)

    def _work(
        self, asks: Sequence[Ask], day: str, now_wall_s: float
    ) -> tuple[Known | None, list[Given] | sqlite3.Error]:
        """On the thread. Keys that were revoked are seen even where nothing can be written."""
        inode = self._file.inode()
        if self._connection is None or inode != self._inode:
            self._disconnect()
            self._connection = self._file.open()
            self._inode, self._edits = self._file.inode(), -1
        connection = self._connection
        edits = connection.execute("SELECT count FROM edits").fetchone()[0]
        known = read_known(connection) if edits != self._edits else None
        if known is not None:
            self._edits = known.edits
        try:
            return known, exchange(connection, self._process, day, asks, now_wall_s) if asks else []
        except sqlite3.Error as error:
            return known, error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
