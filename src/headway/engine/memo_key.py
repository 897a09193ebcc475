"""What a kept result is found by: the function's name, and its arguments, each with its type.

``f("1")`` and ``f(Decimal("1"))`` are two calls, however deep inside a dataclass the difference is.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from enum import Enum
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any

import msgspec

from headway.errors import ConfigError

__all__ = ["memo_key", "shared_name"]

_SCALARS = (type(None), bool, int, float, str, bytes)
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def shared_name(function: Callable[..., Any], label: str) -> str:
    """What a function is called in a cache that others use, too: two that do not do the same are two names.

    Its label and a digest of its source file and code: every script has a ``__main__``, and one module may hold many
    lambdas. What other functions do that it calls is no part of it.

    Raises:
        ConfigError: What it does hangs on more than its code: on values around it, or an object that it is bound to.
    """
    if not inspect.isfunction(function) or function.__closure__:
        raise ConfigError(
            f"cached: what {label} does hangs on more than its own code (values of the function around it, or an "
            "object), so an engine's cache cannot tell it from others; give it a name= of its own, or pass them as "
            "arguments"
        )
    code = function.__code__
    return f"{label}#{sha256(_encode([str(Path(code.co_filename).resolve()), _text(code)])).hexdigest()[:16]}"


def memo_key(label: str, name: str, namespace: str, bound: inspect.BoundArguments) -> bytes:
    """The 32 bytes that a function's result is kept under.

    Raises:
        TypeError: An argument is no plain data; the message names it, and the function by its label.
    """
    bound.apply_defaults()
    digest = sha256(_encode(["cached", 2, name, namespace]))
    for argument, value in bound.arguments.items():
        try:
            digest.update(_encode([argument, _tagged(value)]))
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise TypeError(
                f"argument {argument!r} of {label} is a {type(value).__qualname__}, which cannot be part of a cache "
                "key; pass plain data, a dataclass or a msgspec.Struct"
            ) from None
    return digest.digest()


def _text(value: Any) -> str:
    """A code object or one of its constants, the same in every process: no addresses, no order of hashes."""
    if isinstance(value, CodeType):
        return f"{value.co_code!r}{value.co_exceptiontable!r}{value.co_names}{_text(value.co_consts)}"
    if isinstance(value, tuple):
        return f"({','.join(map(_text, value))})"
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_text, value)))}}}"
    return repr(value)


def _tagged(value: Any) -> Any:
    """Plain data that says of everything, nested or not, what it was; raises where it cannot."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    return {f"{kind.__module__}.{kind.__qualname__}": _inside(value)}


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted(([_tagged(name), _tagged(item)] for name, item in value.items()), key=_encode)
    if isinstance(value, set | frozenset):
        return sorted(map(_tagged, value), key=_encode)
    if isinstance(value, list | tuple):
        return [_tagged(item) for item in value]
    if isinstance(value, Enum):
        return _tagged(value.value)
    if value is msgspec.UNSET:
        return None
    fields = _fields(value)
    if fields is not None:
        return [[field, _tagged(getattr(value, field))] for field in fields]
    plain = msgspec.to_builtins(value)
    if type(plain) not in _SCALARS:
        raise TypeError  # its parts have lost their types
    return plain


def _fields(value: Any) -> Iterable[str] | None:
    """The fields of a dataclass, a struct or an attrs object; None for anything else."""
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]
