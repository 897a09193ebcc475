"""A field of a step's answer as something to wait for: there as soon as it is complete, while the step still writes."""

from __future__ import annotations

from typing import Any

from headway.errors import BadReply, HeadwayError
from headway.pipeline.fields import FieldReader, converted, picked
from headway.pipeline.options import MISSING
from headway.pipeline.source import Source

__all__ = ["FieldSource"]


class FieldSource(Source):
    """Reads along with the step whose answer it is a part of; it is over when the field is complete.

    Args:
        whole: The step.
        path: The field's, as of `fields.path_of`.
        kind: What its value becomes; None: as JSON has it.
        default: Where the field never comes; `MISSING`: that is an error.
        each: The field is a list, whose elements are chunks, each there when it is complete.
    """

    __slots__ = ("_default", "_each", "_kind", "_path", "_reader", "_whole")

    def __init__(
        self, whole: Source, path: tuple[str, ...], kind: Any = None, *, default: Any = MISSING, each: bool = False
    ) -> None:
        super().__init__(whole.run, ".".join((whole.name, *path)), whole.index, edge="field")
        self._whole = whole
        self._path = path
        self._kind = kind
        self._default = default
        self._each = each
        self._reader = FieldReader(path, each=each, who=whole.told())
        if each:
            self.chunks = []
        whole.tap(self._read)
        if not whole.needed_by(self, stream=False):
            self.arrived()

    def waits_for(self) -> tuple[Source, ...]:
        """For the search of cycles."""
        return (self._whole,)

    def _read(self, chunk: Any) -> None:
        if self.done or not isinstance(chunk, str):
            return  # a step that yields anything else is looked at when it has ended
        try:
            self._take(self._reader.feed(chunk))
        except HeadwayError as error:
            self._missing(error)

    def arrived(self) -> None:
        """The step has ended."""
        whole = self._whole
        if self.done:
            return
        if whole.error is not None:
            self._end(None, whole.error)
        elif whole.is_default and whole.value is None:
            self._end(None if self._default is MISSING else self._default, is_default=True)
        else:
            try:
                self._rest(whole.value)
            except HeadwayError as error:
                self._missing(error)

    def _rest(self, value: Any) -> None:
        if isinstance(value, str):
            if not self._whole.chunks:
                self._take(self._reader.feed(value))
            self._reader.close()
            return
        found = picked(value, self._path, self._whole.told())
        if self._each and not isinstance(found, list | tuple):
            raise BadReply(f"{self._name()} is no list, so it cannot be read one by one; use field() for it")
        self._take(list(found) if self._each else [found])
        self._finish()

    def _take(self, found: list[Any]) -> None:
        for value in found:
            typed = converted(value, self._kind, self._path, self._whole.told())
            if self._each:
                self.push(typed)
            else:
                self._end(typed)
        if self._reader.done:
            self._finish()

    def _finish(self) -> None:
        if self._each and not self.done:
            self._end(list(self.chunks or ()))

    def _missing(self, error: HeadwayError) -> None:
        if self._default is MISSING:
            self._end(None, error)
        else:
            self._end(self._default)

    def _end(self, value: Any, error: BaseException | None = None, *, is_default: bool = False) -> None:
        self._reader.drop()
        self._whole.untap(self._read, self)
        self.settle(value, error, is_default=is_default)

    def _name(self) -> str:
        return f"field '{'.'.join(self._path)}' of {self._whole.told()}"

    def drop(self) -> None:
        """Nobody reads it any more, so perhaps nobody reads the step either."""
        self._reader.drop()
        self._whole.untap(self._read, self)
        self._whole.left = True
        self._whole.drop_if_unwanted()
