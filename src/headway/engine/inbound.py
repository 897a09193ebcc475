"""Calls made elsewhere: a foreign request (an SDK's, a program's over HTTP) becomes a `Call` of this engine.

What a caller may say about one call stands in headers that the provider never sees:

    headway-cache      on, off or refresh
    headway-priority   low, normal, high or a whole number; greater goes first
    headway-deadline   seconds from now
    headway-sample     any text: identical requests with different samples are different (best-of-N)
    headway-namespace  the named cache to use
    headway-tags       run=..,step=..  for the call log
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Literal

import msgspec
from msgspec.structs import replace

from headway.engine.arguments import CONTROL_PREFIX, PRIORITIES
from headway.engine.core import Engine
from headway.errors import ConfigError
from headway.policy.fingerprint import tenant_of
from headway.types import Call, Headers, RequestView, Tags, Timeouts
from headway.wire import model_in_path
from headway.wire.base import Reader

__all__ = ["CONTROL_PREFIX", "HOP_BY_HOP", "NO_CONTROL", "Control", "inbound", "read_control"]

HOP_BY_HOP = frozenset(
    """
    accept-encoding connection content-length expect host keep-alive proxy-authenticate proxy-authorization
    proxy-connection te trailer transfer-encoding upgrade
    """.split()
)
"""Headers that belong to one connection, and those that are made anew for each. Source: RFC 9110, section 7.6.1."""

TEXT_CHARS_MAX = 256
"""The longest sample, tag or namespace."""

_TAGS = Tags.__struct_fields__
_UNREAD = RequestView()


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants of one call. None, or "": as the engine is set."""

    cache: Literal["on", "off", "refresh"] | None = None
    priority: int = 0
    deadline_s: float = inf
    """From now."""
    sample: str = ""
    namespace: str = ""
    tags: Tags = Tags()


NO_CONTROL = Control()


def read_control(pairs: Iterable[tuple[str, str]]) -> Control:
    """Read control headers.

    Args:
        pairs: Names in lower case, each beginning with `CONTROL_PREFIX`, and their values.

    Raises:
        ConfigError: A name is unknown or a value malformed; the message names the header and what it may hold.
    """
    found: dict[str, object] = {}
    for name, text in pairs:
        what, value = name[len(CONTROL_PREFIX) :], text.strip()
        if what == "cache":
            good = value in ("on", "off", "refresh")
            found["cache"], expected = value, "on, off or refresh"
        elif what == "priority":
            found["priority"], good = _priority(value)
            expected = "low, normal, high or a whole number from -999999 to 999999"
        elif what == "deadline":
            found["deadline_s"], good = _seconds(value)
            expected = "a number of seconds above 0"
        elif what == "sample":
            found["sample"], good, expected = (
                value,
                len(value) <= TEXT_CHARS_MAX,
                f"at most {TEXT_CHARS_MAX} characters",
            )
        elif what == "namespace":
            good = len(value) <= TEXT_CHARS_MAX and all(c.isalnum() or c in "-_." for c in value)
            found["namespace"], expected = value, "letters, digits, '-', '_' and '.'"
        elif what == "tags":
            found["tags"], good = _tags(value)
            expected = f"name=value pairs with commas between them; the names are {', '.join(_TAGS)}"
        else:
            known = "cache, priority, deadline, sample, namespace, tags"
            raise ConfigError(f"header {name[:80]!r} is not known; after 'headway-' there may stand: {known}")
        if not good:
            raise ConfigError(f"header {name!r} must hold {expected}, not {value[:80]!r}")
    return msgspec.convert(found, Control) if found else NO_CONTROL


def inbound(
    engine: Engine,
    *,
    method: str,
    origin: str,
    path: str,
    headers: Headers,
    body: bytes,
    reader: Reader | None,
    control: Control = NO_CONTROL,
    timeouts: Timeouts | None = None,
) -> Call:
    """A call for `engine.handle`, with a trace that starts now.

    Args:
        engine: Open on the running loop.
        method: In capitals.
        origin: Scheme and authority, "https://api.openai.com".
        path: With the query, as the client wrote it.
        headers: Lower-case names, the credential included; no hop-by-hop headers and none of `CONTROL_PREFIX`.
        body: The client's bytes.
        reader: Of `path`, if one knows it.
        control: From `read_control`.
        timeouts: The caller's own; None: the engine's.

    Raises:
        Closed: The engine was closed.
        ConfigError: The engine belongs to another event loop.
    """
    settings = engine.settings
    trace = engine.new_trace()
    tenant = tenant_of(headers)
    view = reader.read_request(body, headers) if reader is not None else _UNREAD
    if not view.model and reader is not None:
        view = replace(view, model=model_in_path(path))
    trace.path = path.partition("?")[0]  # logged: a query may hold a credential
    trace.format, trace.model, trace.stream = view.format, view.model, view.stream
    trace.output_tokens_max, trace.tenant, trace.body_bytes = view.output_tokens_max, tenant[:16], len(body)
    trace.cache = "off"
    trace.upstream = origin
    if control.tags is not NO_CONTROL.tags:
        trace.tags = control.tags
    return Call(
        method=method,
        origin=origin,
        path=path,
        headers=headers,
        body=body,
        view=view,
        trace=trace,
        tenant=tenant,
        cache_mode=control.cache or ("on" if settings.cache != "off" or settings.caches else "off"),
        deadline_at_s=trace.started_at_s + min(control.deadline_s, settings.timeout_s),
        priority=control.priority,
        attempts_max=settings.attempts_max,
        timeouts=timeouts,
        namespace=control.namespace,
        sample=control.sample,
        tags=control.tags,
    )


def _priority(value: str) -> tuple[int, bool]:
    if value in PRIORITIES:
        return PRIORITIES[value], True
    digits = value.removeprefix("-")
    good = digits.isascii() and digits.isdigit() and len(digits) <= 6
    return (int(value) if good else 0), good


def _seconds(value: str) -> tuple[float, bool]:
    try:
        seconds = float(value)
    except ValueError:
        return inf, False
    return seconds, 0 < seconds < inf


def _tags(value: str) -> tuple[Tags, bool]:
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    found = {name.strip(): text.strip() for name, _, text in pairs}
    if not all(name in _TAGS and text and len(text) <= TEXT_CHARS_MAX for name, text in found.items()):
        return Tags(), False
    return Tags(**found), True
