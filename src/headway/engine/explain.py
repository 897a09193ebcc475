"""Why a request was no hit: which part of its key differs from another's, or from the nearest stored one's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from headway.caller.cache import key_of
from headway.caller.parts import parts_of, unpacked_parts
from headway.config import Settings
from headway.engine.calls import default_headers
from headway.errors import InputError
from headway.policy.fingerprint import tenant_of
from headway.types import Call, RequestView, Trace
from headway.wire import reader_for

__all__ = ["Nearest", "call_for", "difference", "nearest", "paths_that_differ"]

_SHOWN = 60


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The stored entry that has most parts in common with a request."""

    key: bytes
    same: bool
    """It is the very one: the key is equal."""
    differs: list[str]
    """The parts that are not equal, by name; "messages[0]" is the first message."""


def call_for(settings: Settings, path: str, body: bytes, *, namespace: str = "") -> Call:
    """The call that an engine of these settings would make, as far as its key goes.

    Raises:
        InputError: No reader knows the path, or the body is no request that may be reused.
    """
    from headway.attempt.route import target_of

    origin, target = target_of(settings.base_url, path)
    reader, headers = reader_for(target), default_headers(settings, target)
    view = reader.read_request(body, headers) if reader is not None else RequestView()
    if reader is None:
        raise InputError(f"path {path!r} is of no format that is cached; try /v1/chat/completions or /v1/responses")
    if not view.reusable:
        raise InputError(f"this request is never cached: {view.why_not_reusable}")
    return Call(
        origin=origin,
        path=target,
        headers=headers,
        body=body,
        view=view,
        trace=Trace("call", "", 0.0, 0.0),
        tenant=tenant_of(headers),
        namespace=namespace,
    )


def difference(one: Call, other: Call) -> list[tuple[str, str, str]]:
    """Where two requests' keys part: (path, the one's value, the other's), values shortened; none: the same key."""
    reader = reader_for(one.path)
    assert reader is not None  # `call_for` has seen to it
    first, second = (msgspec.json.decode(reader.canonical(call.body) or b"null") for call in (one, other))
    return [(path, _shown(a), _shown(b)) for path, a, b in paths_that_differ(first, second)]


def paths_that_differ(one: Any, other: Any, path: str = "") -> Iterable[tuple[str, Any, Any]]:
    """The deepest places where two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            where = f"{path}.{name}" if path else str(name)
            yield from paths_that_differ(one.get(name, _ABSENT), other.get(name, _ABSENT), where)
    elif isinstance(one, list) and isinstance(other, list):
        for at in range(max(len(one), len(other))):
            first, second = (side[at] if at < len(side) else _ABSENT for side in (one, other))
            yield from paths_that_differ(first, second, f"{path}[{at}]")
    elif type(one) is not type(other) or one != other:
        yield path, one, other


def nearest(call: Call, stored: Iterable[tuple[bytes, bytes]]) -> Nearest | None:
    """The stored (key, parts) that is nearest to a request; None when nothing stored has parts."""
    key, mine, best = key_of(call), parts_of(call), None
    for stored_key, packed in stored:
        theirs = unpacked_parts(packed)
        if not theirs:
            continue
        differs = [
            name for name in [*mine, *(n for n in theirs if n not in mine)] if mine.get(name) != theirs.get(name)
        ]
        if best is None or len(differs) < len(best.differs):
            best = Nearest(key=stored_key, same=stored_key == key, differs=differs)
        if stored_key == key:
            return Nearest(key=stored_key, same=True, differs=[])
    return best


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


def _shown(value: Any) -> str:
    text = "(absent)" if value is _ABSENT else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
