"""`Handle`: what calling a step gives at once, while the step is still at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, NoReturn, TypeVar, overload

from headway.pipeline.source import Source
from headway.pipeline.stream import Cursor, Stream, awaited

__all__ = ["Handle", "Handles"]

T = TypeVar("T")


class Handle(Stream[Any], Generic[T]):
    """A step's value that is being made. ``await`` gives it; other steps take it as it is, as an argument.

    ``async for`` gives the chunks of a step that streams, from the first one on, to as many readers as there are, and
    the one value of a step that does not. A step that yields text is awaited as the whole text, one that yields
    anything else as a list.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, source: Source) -> None:
        self._source = source
        source.handles += 1

    def __await__(self) -> Generator[Any, Any, T]:
        return awaited(self._source)

    @overload
    def __aiter__(self: Handle[str]) -> AsyncIterator[str]: ...
    @overload
    def __aiter__(self) -> AsyncIterator[Any]: ...
    def __aiter__(self) -> AsyncIterator[Any]:
        self._source.check_use()
        return Cursor(self._source)

    @property
    def name(self) -> str:
        """The step's name."""
        return self._source.name.rpartition("#")[0]

    @property
    def index(self) -> int:
        """The step's index in its run, in the order of calls."""
        return self._source.index

    @property
    def done(self) -> bool:
        """Whether it has ended, with a value or without."""
        return self._source.done

    def __repr__(self) -> str:
        state = "done" if self._source.done else "under way"
        return f"<Handle of {self._source.name}, {state}>"

    def __del__(self) -> None:
        source: Source | None = getattr(self, "_source", None)
        if source is None:
            return
        source.handles -= 1
        if source.left:
            source.look_again()

    def _told(self) -> str:
        return f"the handle of {self._source.told()}"

    def _misused(self, how: str) -> NoReturn:
        raise TypeError(
            f"{how} of {self._told()} asks for a value that is not there yet; await it first, or "
            "hand it to a step as it is"
        )

    # What stands for a value, which an unfinished one cannot; each raises.

    def __str__(self) -> str:  # noqa: PLE0307
        self._misused("str()")

    def __format__(self, spec: str) -> str:
        self._misused("the text (an f-string)")

    def __bool__(self) -> bool:  # noqa: PLE0304
        self._misused("the truth")

    def __len__(self) -> int:  # noqa: PLE0303
        self._misused("len()")

    def __iter__(self) -> Iterator[Any]:
        self._misused("a loop")

    def __getitem__(self, key: object) -> Any:
        self._misused("an item")

    def __contains__(self, key: object) -> bool:
        self._misused("'in'")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle):
            self._misused("the comparison")
        return self is other

    def __lt__(self, other: object) -> bool:
        self._misused("the comparison")

    __gt__ = __le__ = __ge__ = __lt__

    def __add__(self, other: object) -> Any:
        self._misused("the sum")

    __radd__ = __mod__ = __add__

    def __hash__(self) -> int:
        return id(self)


class Handles(Handle[list[T]], Generic[T]):
    """Several handles as one, such as those of a `Step.map`; ``await`` gives the list of their values, in their order.

    It may be an argument of another step, which gets the list. ``async for`` gives the values in their order, each as
    soon as it and those before it are there; `as_completed` gives them as they come.

    Args:
        handles: The handles, of one run.
    """

    __slots__ = ("_handles",)

    def __init__(self, handles: Iterable[Handle[T]]) -> None:
        self._handles = list(handles)

    def __await__(self) -> Generator[Any, Any, list[T]]:
        values = []
        for handle in self._handles:
            values.append((yield from handle.__await__()))  # noqa: PERF401 - no list comprehension yields
        return values

    def __aiter__(self) -> AsyncIterator[T]:
        return self._in_order()

    async def _in_order(self) -> AsyncIterator[T]:
        for handle in self._handles:
            yield await handle

    async def as_completed(self) -> AsyncIterator[T]:
        """The values, each as soon as it is there."""
        ready: asyncio.Queue[Source] = asyncio.Queue()
        for handle in self._handles:
            source = handle._source
            if not source.needed_by(_Arrival(ready, source), stream=False):
                ready.put_nowait(source)
        for _ in self._handles:
            source = await ready.get()
            yield await Stream(source)

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> Handle[T]: ...
    @overload
    def __getitem__(self, index: slice) -> Handles[T]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Handles(self._handles[index])
        return self._handles[index]

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[Handle[T]]:
        return iter(self._handles)

    def __bool__(self) -> bool:
        return bool(self._handles)

    @property
    def name(self) -> str:
        """The step's name; "" where there are none."""
        return self._handles[0].name if self._handles else ""

    @property
    def index(self) -> int:
        """The index of the first in its run; -1 where there are none."""
        return self._handles[0].index if self._handles else -1

    @property
    def done(self) -> bool:
        """Whether all of them have ended."""
        return all(handle.done for handle in self._handles)

    def __del__(self) -> None:
        """Each of them tells of its own end."""

    def _part(self, path: str | Sequence[str | int], kind: Any, default: Any, *, each: bool) -> Handle[Any]:
        self._misused(f"field {path!r}")

    def _told(self) -> str:
        return f"the handles of step {self.name!r}"

    def __repr__(self) -> str:
        return f"<Handles, {len(self._handles)} of them>"


class _Arrival:
    __slots__ = ("_ready", "_source")

    def __init__(self, ready: asyncio.Queue[Source], source: Source) -> None:
        self._ready = ready
        self._source = source

    def arrived(self) -> None:
        self._ready.put_nowait(self._source)
