"""A step's function as it is called: its kind, its arguments, and which of them are read live."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from functools import cached_property
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from headway.errors import ConfigError
from headway.pipeline.stream import Stream

__all__ = ["Function"]

_STREAM = re.compile(r"\bStream\b")


class Function:
    """A function and what can be told of it without calling it.

    Args:
        call: The function.
        role: What it is for messages, "step" or "pipeline".
        name: What it is called there.

    Raises:
        ConfigError: It is none, or a plain generator.
    """

    def __init__(self, call: Callable[..., Any], role: str, name: str) -> None:
        self.call = call
        self.told = f"{role} {name!r}"
        if not callable(call):
            raise ConfigError(f"{role} takes a function, not {call!r}")
        self._inner = inner = _inner(call)
        self.kind: Literal["async", "stream", "plain"] = "plain"
        if inspect.isasyncgenfunction(inner):
            self.kind = "stream"
        elif inspect.iscoroutinefunction(inner):
            self.kind = "async"
        elif inspect.isgeneratorfunction(inner):
            raise ConfigError(f"{self.told} is a plain generator; make it `async def` with `yield`, or return a list")
        try:
            self.signature = inspect.signature(self.call)
        except (TypeError, ValueError):
            raise ConfigError(f"{self.told}: its parameters cannot be read; wrap it in a function of its own") from None
        parameters = list(self.signature.parameters.values())
        positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        self._positional = [one.name for one in positional]
        self._needed = sum(one.default is one.empty for one in positional)
        self._plain = all(one.kind != one.KEYWORD_ONLY or one.default is not one.empty for one in parameters)
        self._rest = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), "")
        self._named_rest = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD), "")

    def check(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Raises TypeError, as calling the function would, but now and with the step's name."""
        if not named and self._plain and self._needed <= len(args) <= len(self._positional):
            return
        try:
            self.signature.bind(*args, **named)
        except TypeError as error:
            raise TypeError(f"{self.told}: {error}; it takes {self.signature}") from None

    @cached_property
    def _streams(self) -> frozenset[str]:
        """The parameters that are read live."""
        found = set()
        for name, annotation in self._annotations.items():
            if name == "return":
                continue
            try:
                resolved = self._resolved(name, annotation)
            except ConfigError:
                if _STREAM.search(annotation):
                    raise
                continue  # whatever it is, it need not be there at run time
            if _is_stream(resolved):
                found.add(name)
        return frozenset(found)

    @property
    def _annotations(self) -> dict[str, Any]:
        return getattr(self._inner, "__annotations__", {})

    def _resolved(self, name: str, annotation: Any) -> Any:
        def only() -> None: ...

        only.__annotations__ = {name: annotation}
        try:
            return get_type_hints(only, globalns=getattr(self._inner, "__globals__", {}), include_extras=True)[name]
        except (NameError, TypeError, AttributeError, SyntaxError, LookupError, ValueError) as error:
            if not isinstance(annotation, str):
                return annotation
            raise ConfigError(
                f"{self.told}: the annotation {annotation!r} of {name!r} cannot be told ({error}); import what it "
                "names where the function is defined, at run time and on the module's level"
            ) from None

    @cached_property
    def _streams_at(self) -> frozenset[int]:
        """Their positions, of those that have one."""
        return frozenset(at for at, name in enumerate(self._positional) if name in self._streams)

    @property
    def has_streams(self) -> bool:
        """Whether any parameter is read live."""
        return bool(self._streams)

    def is_stream(self, key: int | str) -> bool:
        """Whether the argument at that position, or of that name, is read live."""
        if isinstance(key, int):
            return key in self._streams_at or (key >= len(self._positional) and self._rest in self._streams)
        return key in self._streams or (key not in self.signature.parameters and self._named_rest in self._streams)

    @property
    def kept_type(self) -> Any:
        """What it returns, for keeping it; for a generator, a list of what it yields."""
        if self._inner.__name__ == "__init__":
            return Any  # an object of a class
        try:
            returns = self._resolved("return", self._annotations.get("return", Any))
        except ConfigError:
            return Any  # plain data comes back as it is
        if self.kind != "stream":
            return returns
        parts = get_args(returns)
        return list[parts[0]] if parts else list[Any]  # type: ignore[valid-type]

    @cached_property
    def yields_text(self) -> bool:
        """Whether it says that it streams text."""
        annotation = self._annotations.get("return")
        if isinstance(annotation, str):
            return annotation.replace(" ", "").partition("[")[2].partition("]")[0].partition(",")[0] == "str"
        if get_origin(annotation) in (AsyncIterator, AsyncGenerator, AsyncIterable):
            return bool(get_args(annotation)) and get_args(annotation)[0] is str
        return annotation is None


def _inner(call: Any) -> Any:
    """The function that is called in the end: of a partial one, an object with `__call__`, a class, or a wrapper."""
    while isinstance(call, functools.partial):
        call = call.func
    if inspect.isclass(call):
        return call.__init__
    return inspect.unwrap(call if inspect.isroutine(call) else type(call).__call__)


def _is_stream(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType or origin is Annotated:
        return any(_is_stream(part) for part in get_args(annotation))
    return annotation is Stream or origin is Stream
