"""Handles among arguments: found when a step is called, replaced by what they stand for when it begins.

They are found in lists, tuples and dicts. Where they would be passed over, in a set, a dataclass or deeper down, the
call is refused, or the step would get a handle for a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import iscoroutine
from typing import Any

from headway.pipeline.function import Function
from headway.pipeline.handle import Handles
from headway.pipeline.source import Source
from headway.pipeline.stream import Stream

__all__ = ["SCALARS", "Need", "filled", "found", "needs_of", "value_of"]

DEPTH_MAX = 4
"""Lists within lists that are looked through for handles."""
SCALARS = (str, int, float, bytes, bool, type(None))
"""What has no handle in it."""
_CONTAINERS = (list, tuple, dict)

Need = tuple[Source, bool]
"""A source, and whether its first chunk is enough."""


def needs_of(function: Function, args: tuple[Any, ...], named: dict[str, Any]) -> list[Need]:
    """What the arguments wait for."""
    needs: list[Need] = []
    streams = function.has_streams
    try:
        for at, value in enumerate(args):
            if not isinstance(value, SCALARS):
                _add(needs, value, stream=streams and function.is_stream(at))
        for name, value in named.items():
            if not isinstance(value, SCALARS):
                _add(needs, value, stream=streams and function.is_stream(name))
    except _RefusedError as error:
        raise TypeError(f"{function.told} was given {error}") from None
    return needs


def found(value: Any, who: str) -> list[Source]:
    """The sources that what somebody returned has handles of.

    Raises:
        TypeError: There is one where it is not looked for.
    """
    needs: list[Need] = []
    try:
        _add(needs, value, stream=False)
    except _RefusedError as error:
        raise TypeError(f"{who} returned {error}") from None
    return [source for source, _ in needs]


def filled(
    function: Function, args: tuple[Any, ...], named: dict[str, Any], given: Callable[[], Source]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as the function gets them: values, and streams where it reads live.

    `given` makes an empty source for a plain value that is read as a stream.
    """
    if function.has_streams:
        return (
            tuple(_live(value, given) if function.is_stream(at) else value_of(value) for at, value in enumerate(args)),
            {key: _live(value, given) if function.is_stream(key) else value_of(value) for key, value in named.items()},
        )
    return tuple(map(value_of, args)), {key: value_of(value) for key, value in named.items()}


def value_of(value: Any, depth: int = 0) -> Any:
    """It, with values instead of handles; all of them are there. What has no handle in it is the very same object."""
    if isinstance(value, Handles):
        return [handle._source.result() for handle in value]
    if isinstance(value, Stream):
        return value._source.result()
    if depth >= DEPTH_MAX:
        return value
    if type(value) in (list, tuple):
        if _has_handles(value, depth):
            return type(value)(value_of(one, depth + 1) for one in value)
    elif type(value) is dict and _has_handles(value.values(), depth):
        return {key: value_of(one, depth + 1) for key, one in value.items()}
    return value


def _live(value: Any, given: Callable[[], Source]) -> Any:
    if isinstance(value, Stream) and not isinstance(value, Handles):
        return Stream(value._source)
    if isinstance(value, Handles):
        value = value_of(value)
    if hasattr(value, "__aiter__") or value is None:
        return value
    source = given()
    if isinstance(value, list | tuple):
        for chunk in value_of(value):
            source.push(chunk)
    source.settle(value_of(value))
    return Stream(source)


def _has_handles(values: Any, depth: int) -> bool:
    for value in values:
        if isinstance(value, SCALARS):
            continue
        if isinstance(value, Stream):
            return True
        if depth + 1 < DEPTH_MAX and type(value) in _CONTAINERS:
            inner = value.values() if type(value) is dict else value
            if _has_handles(inner, depth + 1):
                return True
    return False


def _add(needs: list[Need], value: Any, *, stream: bool, depth: int = 0) -> None:
    if isinstance(value, Handles):
        needs.extend((handle._source, False) for handle in value)
    elif isinstance(value, Stream):
        needs.append((value._source, stream))
    elif type(value) in _CONTAINERS:
        for one in value.values() if type(value) is dict else value:
            if depth < DEPTH_MAX:
                if not isinstance(one, SCALARS):
                    _add(needs, one, stream=False, depth=depth + 1)
            elif isinstance(one, Stream):
                raise _RefusedError(f"{one!r} more than {DEPTH_MAX} lists deep; hand it over in an argument of its own")
    else:
        _refuse(value)


class _RefusedError(TypeError):
    """A handle is where nobody looks for it."""


def _refuse(value: Any) -> None:
    """Raises `_RefusedError`: it is to be awaited, or has handles in it and is no plain list, tuple or dict."""
    if iscoroutine(value):
        value.close()  # it would warn that nobody awaited it
        what = "of a pipeline" if value.__qualname__ == "Pipeline.__call__" else f"{value.__qualname__}(...)"
        raise _RefusedError(f"the coroutine {what} for a value; await it first, or call a @headway.step instead")
    kind = type(value)
    inner: Iterable[Any] = ()
    if isinstance(value, tuple | list | set | frozenset):
        inner = value
    elif isinstance(value, dict):
        inner = value.values()
    elif names := getattr(kind, "__dataclass_fields__", None) or getattr(kind, "__struct_fields__", None):
        inner = (getattr(value, name, None) for name in names)
    for one in inner:
        if isinstance(one, Stream):
            raise _RefusedError(
                f"{one!r} inside of a {kind.__name__}; hand it over in a list, a tuple or a dict, or as an "
                "argument of its own"
            )
