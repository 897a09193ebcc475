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

LINES_MAX, LINE_BYTES_MAX = 256, 2048
"""Header lines kept for an endpoint: where each call has headers of its own, most of their lines are still the same."""

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
    if known is not None:
        head = known[1]
    else:
        head = _encode(endpoint, call)
        if len(endpoint.heads) >= HEADS_MAX:
            endpoint.heads.clear()
        endpoint.heads[key] = (call.headers, head)  # it holds the tuple, so that no other gets its id
    length = len(call.body)
    if length or call.method in _WITH_BODY:
        return b"%bcontent-length: %d\r\n\r\n" % (head, length)
    return head + b"\r\n"


def check(call: Call) -> None:
    """Raise `ConfigError` where the request would break out of its lines, as a line break in a header does."""
    _target(call)
    for header in call.headers:
        _line(header)


def _encode(endpoint: Endpoint, call: Call) -> bytes:
    lines, known = [], endpoint.lines
    for header in call.headers:
        line = known.get(header)
        if line is None:
            line = _line(header)
            if len(known) >= LINES_MAX:
                known.clear()
            if len(line) <= LINE_BYTES_MAX:
                known[header] = line
        lines.append(line)
    if b"" in lines:  # there may be a `connection` among them: what that names is for one connection alone, too
        options = [value.lower().split(",") for name, value in call.headers if name.lower() == "connection"]
        named = {option.strip() for each in options for option in each}
        pairs = zip(call.headers, lines, strict=True)
        lines = [line for (name, _), line in pairs if name.lower() not in named]
    # What is read must not be compressed.
    return b"%bhost: %b\r\n%baccept-encoding: identity\r\n" % (_target(call), endpoint.authority, b"".join(lines))


def _target(call: Call) -> bytes:
    """The request line, with what it cannot hold percent-encoded and without a fragment."""
    method, path = call.method, call.path
    if not _TOKEN.fullmatch(method):
        raise ConfigError(f"the method {method!r} is no HTTP method; use one like POST")
    if not _PATH.fullmatch(path) or "#" in path:
        if _CONTROL.search(path):
            raise ConfigError("the path holds a line break or a control character; percent-encode it")
        path = quote(path.partition("#")[0], safe=_ASCII)
        path = path if path.startswith("/") else f"/{path}"
    return f"{method} {path} HTTP/1.1\r\n".encode("ascii")


def _line(header: tuple[str, str]) -> bytes:
    """A header's line; b"" for one that is not handed on."""
    name, value = header
    if not _TOKEN.fullmatch(name):
        raise ConfigError(f"the header name {name!r} is not allowed in HTTP; use letters, digits and hyphens")
    if not _VALUE.fullmatch(value):
        raise ConfigError(
            f"the value of the header {name!r} holds a line break, a control character or one outside Latin-1; "
            "take it out"
        )
    return b"" if name.lower() in HOP_BY_HOP else f"{name}: {value}\r\n".encode("latin-1")
