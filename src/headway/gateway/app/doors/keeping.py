"""What an asker may keep of `/stream`'s answer, for how long, and the tag that he asks about it by."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

import msgspec

from headway.engine.question import Question
from headway.gateway.app.doors.sending import NO_STORE, OURS, TYPES
from headway.types import Headers, Reply

__all__ = ["head_of", "keeping", "tag_of"]

_VARY: Final = ("vary", "Accept, Authorization, Cookie, X-API-Key")
_TTL: Final = re.compile(r"headway; hit; ttl=(\d+)")


def head_of(reply: Reply, question: Question, form: str) -> Headers:
    """The headers of an answer."""
    trace = reply.trace
    told = [("content-type", TYPES[form]), *OURS, ("x-accel-buffering", "no")]
    told += [pair for pair in reply.headers if pair[0] in ("headway-id", "headway-cache")]
    if trace is None or trace.cache in ("", "off"):
        return (*told, NO_STORE)
    return (*told, *keeping(reply, tag_of(reply, question, form)))


def keeping(reply: Reply, tag: str) -> Headers:
    """What may be kept of an answer, and for how long."""
    found = _TTL.match(reply.header("cache-status"))
    ttl_s = int(found[1]) if found is not None else 0
    how = f"private, max-age={ttl_s}" if ttl_s > 0 else "private, no-cache"
    return (("cache-control", how if tag else "no-store"), _VARY, *((("etag", tag),) if tag else ()))


def tag_of(reply: Reply, question: Question, form: str) -> str:
    """The answer's tag: of the question, its asker, and the one request to the provider that the answer came of.

    It is known before the answer is. The text of one answer is the same to the byte, its events are not, as the last
    of them says what it took this time. "" where the provider names no request: then nobody could tell two apart.
    """
    request_id = reply.header("x-request-id") or reply.header("request-id")
    if not request_id:
        return ""
    trace = reply.trace
    parts = (request_id, form, trace.tenant if trace is not None else "", msgspec.json.encode(question).decode())
    digest = sha256(msgspec.json.encode(parts)).hexdigest()[:32]
    return f'"{digest}"' if form == "text" else f'W/"{digest}"'
