"""`Stream`: what a step reads live, where its parameter says so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, overload

from headway.pipeline.current import FRAME
from headway.pipeline.options import MISSING
from headway.pipeline.source import Source, waited

if TYPE_CHECKING:
    from headway.pipeline.handle import Handle

__all__ = ["Cursor", "Stream", "awaited", "joined"]

C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")


class Stream(Generic[C_co]):
    """The chunks of another step while it still makes them, for a parameter annotated ``Stream[str]``.

    ``async for`` reads it from its first chunk, as often as wanted; ``await`` gives it whole. What does not stream has
    its value as its one chunk.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Source) -> None:
        self._source = source

    def __aiter__(self) -> AsyncIterator[C_co]:
        self._source.check_use()
        return Cursor(self._source)

    def __await__(self) -> Generator[Any, Any, Any]:
        return awaited(self._source)

    @overload
    def field(self, path: str | Sequence[str | int]) -> Handle[Any]: ...
    @overload
    def field(self, path: str | Sequence[str | int], kind: type[T], *, default: Any = ...) -> Handle[T]: ...
    @overload
    def field(self, path: str | Sequence[str | int], kind: None = None, *, default: Any = ...) -> Handle[Any]: ...
    def field(self, path: str | Sequence[str | int], kind: Any = None, *, default: Any = MISSING) -> Handle[Any]:
        """One field of a structured answer, as a handle that is ready when the field is complete.

        A step that is given it starts then, while the rest is still being written. Of a step that does not stream, it
        is there when the step has ended.

        Args:
            path: ``"title"``, ``"items.0.name"``; the parts as a list where a key has a dot in it.
            kind: What its value becomes: a struct, a dataclass, ``list[str]``; as JSON has it when None.
            default: Its value where it never comes, which else is a `BadReply` for whoever waits for it.

        Raises:
            ConfigError: The path is empty, or the run is over.
        """
        return self._part(path, kind, default, each=False)

    @overload
    def items(self, path: str | Sequence[str | int] = "") -> Handle[list[Any]]: ...
    @overload
    def items(self, path: str | Sequence[str | int], kind: type[T]) -> Handle[list[T]]: ...
    def items(self, path: str | Sequence[str | int] = "", kind: Any = None) -> Handle[Any]:
        """The elements of a list in a structured answer, each as soon as it is complete: ``async for`` over it.

        Awaited, it is the list. It may be given to a step whose parameter is a ``Stream``.

        Args:
            path: Where the list is; "" for an answer that is one.
            kind: What each element becomes.

        Raises:
            ConfigError: A part of the path is empty, or the run is over.
        """
        return self._part(path, kind, MISSING, each=True)

    def _part(self, path: str | Sequence[str | int], kind: Any, default: Any, *, each: bool) -> Handle[Any]:
        from headway.pipeline.field_source import FieldSource  # the parser is for those who read fields
        from headway.pipeline.fields import path_of
        from headway.pipeline.handle import Handle

        self._source.check_use()
        return Handle(FieldSource(self._source, path_of(path), kind, default=default, each=each))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled or copied: it belongs to its run; await it, and take its value")

    def __repr__(self) -> str:
        return f"<Stream of {self._source.name}>"


class Cursor(AsyncIterator[T]):
    """A reader's place in a source. It has left when it is at the end, closed, or forgotten."""

    __slots__ = ("_at", "_source")

    def __init__(self, source: Source) -> None:
        self._source: Source | None = source
        self._at = 0
        source.readers += 1

    async def __anext__(self) -> T:
        source = self._source
        if source is None:
            raise StopAsyncIteration
        frame = FRAME.get()
        while True:
            chunks, at = source.chunks, self._at
            if chunks is not None and at < len(chunks):
                self._at = at + 1
                if frame is not None:
                    frame.saw(source, source.run.loop.time() if at else source.first_at_s or 0.0)
                return chunks[at]  # type: ignore[no-any-return]
            if source.done:
                self._source = None
                source.leave(early=False)
                if frame is not None:
                    frame.saw(source, source.end_at_s)
                value = source.result()
                if chunks is None and not (source.is_default and value is None):
                    return value  # type: ignore[no-any-return]
                raise StopAsyncIteration
            await waited(source, frame, chunk=True)

    def close(self) -> None:
        """Leave it. Idempotent."""
        source, self._source = self._source, None
        if source is not None:
            source.leave(early=True)

    def __del__(self) -> None:
        if getattr(self, "_source", None) is not None:
            self.close()  # a loop that was left by `break` closes nothing, but forgets


def awaited(source: Source) -> Generator[Any, Any, Any]:
    """Wait for the value, and give it."""
    source.check_use()
    frame = FRAME.get()
    if not source.done:
        yield from waited(source, frame, chunk=False)
    if frame is not None:
        frame.saw(source, source.end_at_s)
    return source.result()


def joined(chunks: list[Any]) -> Any:
    """What a generator's value is: its pieces of text as one, anything else as a list."""
    if chunks and all(isinstance(chunk, str) for chunk in chunks):
        return "".join(chunks)
    return chunks
