"""What goes out: an endpoint for each origin, and a request's head as bytes."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from headway.errors import ConfigError
from headway.types import Call
from headway.upstream.headers import HOP_BY_HOP
from headway.upstream.pool import Endpoint

__all__ = ["check", "endpoint_of", "head_of"]

HEADS_MAX = 64
"""Heads kept for an endpoint; the calls of one client share theirs but for the length."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PATH = re.compile(r"/[\x21-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9._\-:]+")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))


def endpoint_of(origin: str) -> Endpoint | None:
    """Where connections to an origin go; None for one out of the ordinary, which is left to the fallback."""
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not _HOST.fullmatch(host):
        return None
    if _CONTROL.search(origin) or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        return None
    tls = parts.scheme == "https"
    usual = 443 if tls else 80
    name = f"[{host}]" if ":" in host else host
    authority = name if port in (None, usual) else f"{name}:{port}"
    return Endpoint(origin, host, port or usual, tls=tls, authority=authority.encode("ascii"))


def head_of(endpoint: Endpoint, call: Call) -> bytes:
    """The request's head, blank line included. Raises `ConfigError`, which names a bad header but not its value."""
    key = (id(call.headers), call.path, call.method)
    known = endpoint.heads.get(key)
    if known is not None and known[0] is call.headers:
        head = known[1]
    else:
        head = _encode(endpoint, call)
        if len(endpoint.heads) >= HEADS_MAX:
            endpoint.heads.clear()
        endpoint.heads[key] = (call.headers, head)  # holds the tuple, so that its id stays its own
    length = len(call.body)
    if length or call.method in _WITH_BODY:
        return b"%bcontent-length: %d\r\n\r\n" % (head, length)
    return head + b"\r\n"


def check(call: Call) -> None:
    """Raise `ConfigError` where the request would break out of its lines, as a line break in a header does."""
    if not _TOKEN.fullmatch(call.method):
        raise ConfigError(f"the method {call.method!r} is no HTTP method; use one like POST")
    if _CONTROL.search(call.path):
        raise ConfigError("the path holds a line break or a control character; percent-encode it")
    for name, value in call.headers:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(f"the header name {name!r} is not allowed in HTTP; use letters, digits and hyphens")
        if not _VALUE.fullmatch(value):
            raise ConfigError(
                f"the value of the header {name!r} holds a line break, a control character or one outside Latin-1; "
                "take it out"
            )


def _encode(endpoint: Endpoint, call: Call) -> bytes:
    check(call)
    path = call.path
    if not _PATH.fullmatch(path) or "#" in path:
        path = quote(path.partition("#")[0], safe=_ASCII)
        path = path if path.startswith("/") else f"/{path}"
    named: set[str] = set()
    for name, value in call.headers:
        if name.lower() == "connection":  # what it names is for this connection alone, too
            named.update(option.strip().lower() for option in value.split(","))
    lines = [f"{call.method} {path} HTTP/1.1\r\nhost: ".encode("ascii"), endpoint.authority, b"\r\n"]
    for name, value in call.headers:
        lower = name.lower()
        if lower not in HOP_BY_HOP and lower not in named:
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
    lines.append(b"accept-encoding: identity\r\n")  # what is read must not be compressed
    return b"".join(lines)
