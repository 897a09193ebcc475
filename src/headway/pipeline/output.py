"""What is read of a run from outside: its chunks, and the parts of what its function returned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from headway.errors import ConfigError
from headway.pipeline.handle import Handles
from headway.pipeline.options import MISSING
from headway.pipeline.source import Source
from headway.pipeline.stream import Cursor, Stream
from headway.pipeline.wiring import found, value_of

if TYPE_CHECKING:
    from headway.pipeline.node import Node
    from headway.pipeline.run import Run

__all__ = ["Output", "part_of"]


class Output(Cursor[Any]):
    """A reader of the run's chunks. What failed is raised in the place of what is still to be read.

    Args:
        run: The run.
        main: The call of its function.
        part: Which part of what that returned; None: all of it.
    """

    __slots__ = ("__weakref__", "_begun_by", "_main", "_part", "_run")

    def __init__(self, run: Run[Any], main: Node, part: str | int | None) -> None:
        super().__init__(main)
        self._run = run
        self._main = main
        self._part = part
        self._begun_by: asyncio.Task[Any] | None = None

    async def __anext__(self) -> Any:
        self._begun_by = asyncio.current_task()
        try:
            if self._part is not None and self._source is not None:
                await self._enter(self._part)
            return await super().__anext__()
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise  # the reader is
            ended: BaseException = error
        except StopAsyncIteration as error:
            ended = error
        self._run.raise_failure()  # outside of the handlers, for it keeps the context that it was raised in
        raise ended

    async def _enter(self, part: str | int) -> None:
        source = await part_of(self._main, self._run, part)
        if self._source is not None:  # else it was closed meanwhile
            self._part = None
            self._source.leave(early=False)
            self._source = source
            source.readers += 1

    @property
    def is_open(self) -> bool:
        """Whether it is not at its end."""
        return self._source is not None

    @property
    def is_left(self) -> bool:
        """Whether it was begun, and whoever read it does not read on: seen from the task that leaves the run."""
        by = self._begun_by
        return self._source is not None and by is not None and (by.done() or by is asyncio.current_task())

    def close(self) -> None:
        if self._source is not None and self._begun_by is not None:
            self._run.was_left = True
        super().close()


async def part_of(main: Node, run: Run[Any], part: str | int) -> Source:
    """A part of what the function returned, as soon as it has; the function itself where it failed.

    Raises:
        ConfigError: There is no such part.
    """
    while run.returned is MISSING and not main.done:
        await main.future(chunk=True)
    value, key = run.returned, cast("Any", part)
    if value is MISSING and main.error is not None:
        return main
    try:
        if isinstance(value, dict) or (isinstance(value, list | tuple | Handles) and isinstance(part, int)):
            one = value[key]
        else:
            raise KeyError
    except (KeyError, IndexError):
        what = f"the keys {', '.join(map(repr, value))}" if isinstance(value, dict) else f"a {type(value).__name__}"
        what = f"{what} of {len(value)}" if isinstance(value, list | tuple | Handles) else what
        what = "chunks (`yield`)" if value is MISSING else what
        raise ConfigError(f"{main.told()} gave {what}, so it has no part {part!r}; return a dict or a tuple") from None
    if isinstance(one, Stream) and not isinstance(one, Handles):
        return one._source
    for source in found(one, main.told()):
        while not source.done:
            await source.future(chunk=False)
    given = Source(main.run, main.name, main.index)
    given.settle(value_of(one))
    return given
