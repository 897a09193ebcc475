"""A source's rows for the event loop: files are read in place, standard input by a thread that may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from headway.errors import InputError
from headway.jobs.source import Source, SourceRow

__all__ = ["Counted", "rows_of"]

_AHEAD_MAX = 256
_PAUSE_ROWS = 512


class Counted:
    """Rows with their number: `Engine.map` weighs by it whether one of them goes ahead of the others."""

    def __init__(self, rows: AsyncGenerator[Mapping[str, Any], None], count: int) -> None:
        self._rows = rows
        self._count = count

    def __aiter__(self) -> AsyncGenerator[Mapping[str, Any], None]:
        return self._rows

    def __len__(self) -> int:
        return self._count


async def rows_of(source: Source) -> AsyncGenerator[SourceRow, None]:
    """The rows, lazily. Other tasks run every few hundred rows of a file; input that waits blocks nobody.

    Raises:
        InputError: The input breaks midway.
    """
    if source.waits:
        async for row in _read_aside(source.rows):
            yield row
        return
    for row in source.rows:
        yield row
        if row.index % _PAUSE_ROWS == _PAUSE_ROWS - 1:
            await asyncio.sleep(0)


async def _read_aside(rows: Iterator[SourceRow]) -> AsyncGenerator[SourceRow, None]:
    """The same from a daemon thread: one that is stuck in a read cannot keep the process from ending."""
    loop = asyncio.get_running_loop()
    read: asyncio.Queue[SourceRow | InputError | None] = asyncio.Queue()  # bounded by `room`
    room = threading.Semaphore(_AHEAD_MAX)
    left = threading.Event()

    def hand_over(item: SourceRow | InputError | None) -> bool:
        room.acquire()
        if left.is_set():
            return False
        try:
            loop.call_soon_threadsafe(read.put_nowait, item)
        except RuntimeError:
            return False  # the loop has ended
        return True

    def work() -> None:
        try:
            for row in rows:
                if not hand_over(row):
                    return
        except InputError as error:
            hand_over(error)
        else:
            hand_over(None)

    threading.Thread(target=work, name="headway-input", daemon=True).start()
    try:
        while (item := await read.get()) is not None:
            room.release()
            if isinstance(item, InputError):
                raise item
            yield item
    finally:
        left.set()
        room.release()
