"""A key of a call's arguments, each with its type: ``f("1")`` and ``f(Decimal("1"))`` are two calls."""

from __future__ import annotations

import inspect
from hashlib import sha256
from typing import Any

import msgspec

__all__ = ["memo_key"]

_SCALARS = (type(None), bool, int, float, str, bytes)
_encode = msgspec.msgpack.Encoder(order="sorted").encode


def memo_key(name: str, namespace: str, bound: inspect.BoundArguments) -> bytes:
    """The 32 bytes that a function's result is kept under.

    Raises:
        TypeError: An argument is no plain data; the message names it.
    """
    bound.apply_defaults()
    digest = sha256(_encode(["cached", 1, name, namespace]))
    for argument, value in bound.arguments.items():
        try:
            digest.update(_encode([argument, _tagged(value)]))
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise TypeError(
                f"argument {argument!r} of {name} is a {type(value).__qualname__}, which cannot be part of a cache "
                "key; pass plain data, a dataclass or a msgspec.Struct"
            ) from None
    return digest.digest()


def _tagged(value: Any) -> Any:
    """Plain data that says of everything what it was; raises where it cannot."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is list:
        return [_tagged(item) for item in value]
    if kind is dict:
        return {"dict": [[_tagged(name), _tagged(item)] for name, item in sorted(value.items(), key=_by_key)]}
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is tuple:
        return {name: [_tagged(item) for item in value]}
    plain = msgspec.to_builtins(value, order="sorted")
    return {name: plain if type(plain) in _SCALARS else _tagged(plain)}


def _by_key(item: tuple[Any, Any]) -> bytes:
    return _encode(_tagged(item[0]))
