"""Fields of a structured answer, each as soon as it is complete while the rest is still being written.

The parsing is ijson's push parser, to which text is given as it comes. It reads nothing twice, so that a long answer in
small pieces costs about what it costs in one, and it knows where a value ends: a string at its closing quote, a number
at what follows it, a list or an object at its bracket. Its backend in Python is used, for the one in C ends the process
at a number of 5,000 digits (ijson 3.6), and models may write anything. 1 MB in pieces of four characters takes 0.6 s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

import ijson  # type: ignore[import-untyped]
import msgspec

from headway.errors import BadReply, ConfigError

__all__ = ["DEPTH_MAX", "FieldReader", "converted", "path_of", "picked"]

DEPTH_MAX = 200
"""Objects and lists within each other; programs that walk a value by recursion end at Python's limit of 1,000 calls."""
RESTARTS_MAX = 16
"""Brackets in the prose before an answer that turn out to begin no JSON; each is read as if it did."""

_OPEN = re.compile(r"[\[{]")


def path_of(field: str | Sequence[str | int]) -> tuple[str, ...]:
    """``"items.0.name"`` as its parts; a sequence is taken part by part, for keys that have a dot in them.

    Raises:
        ConfigError: A part is empty.
    """
    parts = tuple(field.split(".")) if isinstance(field, str) and field else tuple(str(part) for part in field)
    if not all(parts):
        raise ConfigError(f"field {field!r}: a part of the path is empty; write it like 'title' or 'items.0.name'")
    return parts


class FieldReader:
    """Finds one field in text that comes in pieces. Code fences and prose around the JSON are passed over.

        with FieldReader(("title",)) as reader:
            async for piece in answer:
                if found := reader.feed(piece): ...
            reader.close()

    A key that comes twice in one object counts the first time, for whoever waited has gone on with it.

    Args:
        path: As of `path_of`; a number stands for an index of a list as well as for a key.
        each: The field is a list, and its elements are wanted one by one; an empty path is the answer itself.
        who: Whose answer this is, for messages: ``"step 'facts'"``.
    """

    def __init__(self, path: tuple[str, ...], *, each: bool = False, who: str = "the answer") -> None:
        if not path and not each:
            raise ConfigError(
                f"{who}: a field needs a name, like 'title' or 'items.0.name'; the whole answer is awaited"
            )
        self.done = False
        """The field is complete; what follows is of no interest."""
        self._path = path
        self._each = each
        self._name = f"field '{'.'.join(path)}' of {who}" if path else f"{who} as a list"
        self._parser: Any = None
        self._events: Any = None
        self._text: list[str] = []
        self._begun = ""
        self._restarts = 0
        self._reset()
        self._keys: list[str] = []

    def _reset(self) -> None:
        self._at: list[str | int] = []  # of each open object or list, the key or index of what is being read in it
        self._matched = 0  # so many of them, from the outermost on, lie on the path
        self._building: list[Any] = []  # the wanted value's open objects and lists
        self._found: list[Any] = []
        self._ended = False

    def feed(self, piece: str) -> list[Any]:
        """Take a piece of the text; what became complete by it: the field's value, or elements in order.

        Raises:
            BadReply: What was read is no JSON, is nested too deeply, or is no list where its elements are wanted.
        """
        found: list[Any] = []
        while piece and not self.done:
            if self._parser is None:
                if len(self._begun) < 40:
                    self._begun += piece[:40]
                opened = _OPEN.search(piece)
                if opened is None:
                    break
                piece = piece[opened.start() :]
                self._begin()
            piece = self._push(piece)
            found += self._found
            self._found.clear()
        return found

    def close(self) -> None:
        """The text has ended.

        Raises:
            BadReply: The field never came; the sentence says what came instead.
        """
        if self.done:
            return
        if self._parser is not None:
            raise BadReply(
                f"{self._name} is not whole: the answer ended in the middle of its JSON; raise its token bound"
            )
        if self._keys:
            known = ", ".join(repr(key) for key in self._keys)
            raise BadReply(f"{self._name} never came: the answer has {known}; check the name, or give a default")
        begun = " ".join(self._begun.split())[:40]
        raise BadReply(f"{self._name} never came: the answer has no JSON with it, it begins {begun!r}; give a default")

    def drop(self) -> None:
        """Forget the text. The parser would tell the interpreter that its JSON is not whole if it were only let go."""
        self._text.clear()
        parser, self._parser = self._parser, None
        if parser is not None:
            with suppress(ijson.JSONError, ValueError):
                parser.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def _begin(self) -> None:
        self._reset()
        self._text.clear()
        self._events = ijson.sendable_list()
        self._parser = ijson.get_backend("python").basic_parse_coro(self._events)

    def _push(self, piece: str) -> str:
        """Give it to the parser; what is left where that JSON has ended, or where it was none."""
        self._text.append(piece)
        broken = False
        try:
            self._parser.send(piece.encode("utf-8", "replace"))
        except (ijson.JSONError, ValueError):  # the latter of a string's escapes, and of numbers beyond Python's bound
            broken = True
        for kind, value in self._events:
            self._on(kind, value)
            if self.done or self._ended:
                break
        del self._events[:]
        if self.done:
            self.drop()
            return ""
        if not self._ended and not broken:
            return ""
        text = "".join(self._text)
        self.drop()
        if self._ended:
            with suppress(ValueError):  # "[+1]" is none, strictly
                return text[json.JSONDecoder().raw_decode(text)[1] :]
        self._restarts += 1
        if self._restarts > RESTARTS_MAX or (self._keys and text.startswith("{")):
            raise BadReply(f"{self._name} never came: the answer's JSON is broken after {text[-40:]!r}; ask again")
        return text[1:]  # a bracket in the prose

    def _on(self, kind: str, value: Any) -> None:
        at = self._at
        if kind == "map_key":
            at[-1] = value
            if len(at) == 1 and len(self._keys) < 20:
                self._keys.append(value)
            self._match()
        elif kind == "end_map" or kind == "end_array":
            at.pop()
            self._leave()
        else:
            if at and isinstance(at[-1], int):
                at[-1] += 1
                self._match()
            self._value(kind, value)

    def _match(self) -> None:
        """The innermost key or index has changed."""
        depth = len(self._at) - 1
        if self._matched >= depth:
            on = depth < len(self._path) and str(self._at[-1]) == self._path[depth]
            self._matched = depth + on

    def _value(self, kind: str, value: Any) -> None:
        here = len(self._at) == self._matched == len(self._path)
        starts = kind == "start_map" or kind == "start_array"
        if here and self._each and kind != "start_array":
            raise BadReply(f"{self._name} is no list, so its elements cannot be read one by one; use field() for it")
        wanted = len(self._at) == len(self._path) + 1 and self._matched == len(self._path) if self._each else here
        if starts:
            value = [] if kind == "start_array" else {}
        elif kind == "number" and not isinstance(value, int):
            value = float(value)  # a Decimal
        if self._building:
            self._add(value)
        if starts:
            if len(self._at) >= DEPTH_MAX:
                raise BadReply(
                    f"{self._name}: the answer is nested more than {DEPTH_MAX} deep; it is not read any further"
                )
            if self._building or wanted:
                self._building.append(value)
            self._at.append(-1 if kind == "start_array" else "")
        elif wanted and not self._building:
            self._complete(value)

    def _add(self, value: Any) -> None:
        top = self._building[-1]
        if isinstance(top, list):
            top.append(value)
        else:
            top[self._at[-1]] = value

    def _leave(self) -> None:
        """An object or a list has ended."""
        depth = len(self._at)
        if self._building:
            value = self._building.pop()
            if not self._building:
                self._complete(value)
        elif self._each and depth == self._matched == len(self._path):
            self.done = True
        self._matched = min(self._matched, depth)
        self._ended = not depth

    def _complete(self, value: Any) -> None:
        self._found.append(value)
        self.done = not self._each


def picked(value: Any, path: tuple[str, ...], who: str) -> Any:
    """The field of a value that is there already: of a mapping, a list, or an object with attributes.

    Raises:
        BadReply: It has no such field.
    """
    at = value
    for part in path:
        try:
            if isinstance(at, dict):
                at = at[part]
            elif isinstance(at, list | tuple):
                at = at[int(part)]
            else:
                at = getattr(at, part)
        except (KeyError, IndexError, ValueError, AttributeError):
            name = f"field '{'.'.join(path)}' of {who}"
            raise BadReply(f"{name} never came: there is no {part!r}; check the name, or give a default") from None
    return at


def converted(value: Any, kind: Any, path: tuple[str, ...], who: str) -> Any:
    """The value as a type: a struct, a dataclass, a list of numbers; as it is for None.

    Raises:
        BadReply: It is of another type.
    """
    if kind is None:
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise BadReply(f"field '{'.'.join(path)}' of {who} is of another type: {error}".rstrip(".")) from None
