"""What an address or a body asks of a door, and what is wrong with it, in our own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from headway.gateway.request import Refused

__all__ = ["of_address", "of_body"]

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_PLACE: Final = re.compile(r"at `\$\.(\w+)")
_UNKNOWN: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)
"""Of msgspec's messages; what is said in another way gets the sentence for what is no object."""


def of_address(said: Mapping[str, str], kind: type[_Kind]) -> _Kind:
    """What a query says; empty parameters are left out. Raises `Refused`."""
    try:
        return msgspec.convert({name: value for name, value in said.items() if value}, kind, strict=False)
    except msgspec.ValidationError as problem:
        raise Refused(400, _sentence(problem, kind, "the address")) from None


def of_body(body: bytes, kind: type[_Kind]) -> _Kind:
    """What a JSON body says. Raises `Refused`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        raise Refused(400, _sentence(problem, kind, "the body")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, 'the body is no JSON; send an object such as {"prompt": "..."}') from None


def _sentence(problem: msgspec.ValidationError, kind: type[msgspec.Struct], where: str) -> str:
    names = kind.__struct_fields__
    if (unknown := _UNKNOWN.search(str(problem))) is not None:
        known = f"{', '.join(names[:-1])} and {names[-1]}"
        return f"{where} has {unknown[1][:40]!r}, which is no parameter of this door; it takes {known}"
    if (place := _PLACE.search(str(problem))) is not None:
        wanted: Any = kind.__annotations__.get(place[1], "str")
        return f"{place[1]} must be {'a whole number' if 'int' in str(wanted) else 'a text'}"
    return f'{where} must be an object such as {{"prompt": "..."}}'
