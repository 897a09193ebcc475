"""The commit point of streams, and the patience until there is something to commit to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from headway.errors import ProviderTimeout
from headway.types import Headers, Trace

__all__ = ["CommitSettings", "in_time", "is_stream"]


class CommitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a stream is handed on although it has said nothing yet, and how large an event may be."""

    commit_bytes: int = 64 * 1024
    commit_s: float = 10.0
    event_bytes_max: int = 16 * 1024 * 1024


def is_stream(headers: Headers, *, wanted: bool) -> bool:
    """Whether an answer is one: by its content type, in doubt by what was asked for."""
    for name, kind in headers:
        if name == "content-type":
            return kind.startswith("text/event-stream") or (wanted and not kind.startswith("application/"))
    return wanted


async def in_time(chunks: AsyncIterator[bytes], trace: Trace, first_content_s: float) -> bytes:
    """The next chunk of a stream that has said nothing yet.

    Raises:
        ProviderTimeout: The provider keeps the stream open, with pings perhaps, and says nothing for too long.
    """
    sent_at_s = trace.started_at_s if trace.sent_at_s is None else trace.sent_at_s
    limit = asyncio.timeout_at(sent_at_s + first_content_s)
    try:
        async with limit:
            return await anext(chunks)
    except TimeoutError:
        if not limit.expired():
            raise
        raise ProviderTimeout(
            f"{trace.upstream} kept the stream open without a word of the answer for {first_content_s:g} s; "
            "raise first_content_timeout_s if its answers take that long to begin",
            maybe_billed=True,
        ) from None
