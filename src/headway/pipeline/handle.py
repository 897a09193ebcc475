"""`Handle`: what calling a step gives at once, while the step is still at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

from headway.pipeline.current import FRAME
from headway.pipeline.cycle import waiting_for_any
from headway.pipeline.source import Source
from headway.pipeline.stream import Cursor, Stream, awaited

__all__ = ["Handle", "Handles"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Handle(Stream[Any], Generic[T_co]):
    """A step's value that is being made. ``await`` gives it; other steps take it as it is, as an argument.

    ``async for`` gives the chunks of a step that streams, from the first one on, to as many readers as there are, and
    the one value of a step that does not. A step that yields text is awaited as the whole text, one that yields
    anything else as a list.
    """

    __slots__ = ("__weakref__",)

    def __init__(self, source: Source) -> None:
        self._source = source
        source.handles += 1

    def __await__(self) -> Generator[Any, Any, T_co]:
        return awaited(self._source)

    def __copy__(self) -> Self:
        return self  # it stands for one call, so a copy would be the same

    def __deepcopy__(self, memo: object) -> Self:
        return self

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

    if not TYPE_CHECKING:  # type checkers refuse these by themselves

        def _calculated(self, *_):
            self._misused("a calculation")

        __mul__ = __rmul__ = __sub__ = __rsub__ = __truediv__ = __floordiv__ = __and__ = __or__ = _calculated
        __int__ = __float__ = __index__ = _calculated

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            if name == "add_done_callback":  # asyncio.wait, which takes what is a future
                raise AttributeError(f"{self._told()} is no task; asyncio.wait takes asyncio.ensure_future(handle)")
            try:
                self._misused(f".{name}")
            except TypeError as error:
                raise AttributeError(str(error)) from None


class Handles(Handle[list[T_co]], Generic[T_co]):
    """Several handles as one, such as those of a `Step.map`; ``await`` gives the list of their values, in their order.

    It may be an argument of another step, which gets the list. ``async for`` gives the values in their order, each as
    soon as it and those before it are there; `as_completed` gives them as they come.

    Args:
        handles: The handles, of one run.
    """

    __slots__ = ("_handles",)

    def __init__(self, handles: Iterable[Handle[T_co]]) -> None:
        self._handles = list(handles)

    def __await__(self) -> Generator[Any, Any, list[T_co]]:
        values = []
        for handle in self._handles:
            values.append((yield from handle.__await__()))  # noqa: PERF401 - no list comprehension yields
        return values

    def __aiter__(self) -> AsyncIterator[T_co]:
        return self._in_order()

    async def _in_order(self) -> AsyncIterator[T_co]:
        for handle in self._handles:
            yield await handle

    async def as_completed(self) -> AsyncIterator[T_co]:
        """The values, each as soon as it is there."""
        ready: asyncio.Queue[Source] = asyncio.Queue()
        for handle in self._handles:
            source = handle._source
            if not source.needed_by(_Arrival(ready, source), stream=False):
                ready.put_nowait(source)
        frame = FRAME.get()
        pending = dict.fromkeys(handle._source for handle in self._handles)
        for _ in self._handles:
            if ready.empty():
                with waiting_for_any(pending, frame):
                    source = await ready.get()
            else:
                source = ready.get_nowait()
            pending.pop(source, None)
            yield await Stream(source)

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> Handle[T_co]: ...
    @overload
    def __getitem__(self, index: slice) -> Handles[T_co]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Handles(self._handles[index])
        return self._handles[index]

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[Handle[T_co]]:
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
