"""A row of the call log: its fields (which are the columns of the views), and how a `Trace` becomes one.

What is kept is one JSON text a row: to bind 45 values would cost more than all the rest. Only what is searched by has
columns of its own; views show the rest as columns, and `row_of` reads it back exactly. It is made where the trace ends,
on the event loop: there it takes a microsecond, while in the writer's thread the loop would have to give it the
interpreter's lock for that.

A call whose flight made a single try has one row for both: they share all but a few fields (`Tried`). `try_of` and the
view `attempts` make the try's row of it again.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from headway.types import Tags, Trace, Usage

__all__ = [
    "SINCE_START",
    "SNAPSHOT",
    "TAGS",
    "USAGE",
    "LogRow",
    "Taken",
    "Tried",
    "encoded",
    "folded",
    "row_of",
    "snapshot",
    "taken",
    "try_of",
]


class LogRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One caller (table `calls`) or one try (table `attempts`); the two share their columns and `flight_id`.

    Times are seconds after `start_wall_s`; None means that it did not happen, or is not known.
    """

    id: str
    flight_id: str
    """What joins callers to tries; "" for a caller that needed none (a hit)."""
    start_wall_s: float
    """Unix seconds."""
    wait_s: float
    """Ours: queue and pacing."""
    connect_s: float | None
    """How long connecting took (a duration, as `wait_s`); None: a kept connection was used."""
    sent_s: float | None
    first_byte_s: float | None
    first_content_s: float | None
    end_s: float | None
    provider_queue_s: float | None
    provider_processing_s: float | None
    provider_estimated: bool
    """The provider's two times are an estimate, not its own word."""
    model: str
    upstream: str
    path: str
    format: str
    stream: bool
    status: int | None
    outcome: str | None
    error_code: str
    finish: str
    request_id: str
    cache: str
    attempts: int
    """Of a caller: how many tries its flight made."""
    attempt_index: int
    """Of a try: its place in its flight, from 0."""
    output_tokens_max: int | None
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_estimated: bool | None
    """All six are None when no usage is known."""
    dollars: float | None
    saved_dollars: float | None
    maybe_billed: bool
    run: str
    step: str
    parent: str
    session: str
    tenant: str
    """Digest of the credential, never the credential."""
    block_hashes: str
    """Joined by ","."""
    body_bytes: int
    reply_bytes: int
    prompt: str | None
    """Text, like `answer`: None unless it was asked for."""
    answer: str | None


class Tried(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a call's only try does not share with the call. New ones go to the end, with a default."""

    start_wall_s: float
    started_at_s: float
    ended_at_s: float | None
    block_hashes: tuple[str, ...]
    body_bytes: int
    reply_bytes: int


class Taken(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row as it is kept: attributes of `Trace`, then the two texts. New ones go to the end, with a default."""

    id: str
    flight_id: str
    start_wall_s: float
    started_at_s: float
    wait_s: float
    connect_s: float | None
    sent_at_s: float | None
    first_byte_at_s: float | None
    first_content_at_s: float | None
    ended_at_s: float | None
    provider_queue_s: float | None
    provider_processing_s: float | None
    provider_estimated: bool
    model: str
    upstream: str
    path: str
    format: str
    stream: bool
    status: int | None
    outcome: str | None
    error_code: str
    finish: str
    request_id: str
    cache: str
    attempts: int
    attempt_index: int
    output_tokens_max: int | None
    usage: Usage | None
    dollars: float | None
    saved_dollars: float | None
    maybe_billed: bool
    tags: Tags
    tenant: str
    block_hashes: tuple[str, ...]
    body_bytes: int
    reply_bytes: int
    prompt: str | None = None
    answer: str | None = None
    tried: Tried | None = None
    """Of a call whose only try is kept in its own row: see `folded`, and `try_of`."""


SNAPSHOT: tuple[str, ...] = Taken.__struct_fields__[: Taken.__struct_fields__.index("prompt")]
"""The attributes that a snapshot takes, in its order."""

snapshot: Callable[[Trace], tuple[Any, ...]] = attrgetter(*SNAPSHOT)
"""What a trace holds now, as a tuple of references; the trace may change afterwards."""

taken: Callable[[str], Taken] = msgspec.json.Decoder(Taken).decode
"""A row, of what is kept as its `data`: 1.3 us. Raises `msgspec.MsgspecError`."""

_encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=tuple).encode
USAGE: Final = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
TAGS: Final = ("run", "step", "parent", "session")
SINCE_START: Final = {f"{moment}_s": f"{moment}_at_s" for moment in ("sent", "first_byte", "first_content")}
SINCE_START["end_s"] = "ended_at_s"
"""Fields of `LogRow` that are seconds after the start, to the moments they are made of."""
_USED, _TAGGED = SNAPSHOT.index("usage"), SNAPSHOT.index("tags")
_own: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*map(SNAPSHOT.index, Tried.__struct_fields__))
# What a call and its only try share is not compared one by one (0.6 us), but in the stretches between what they do not.
_ID, _FLIGHT_ID, _CACHE, _ATTEMPTS = map(SNAPSHOT.index, ("id", "flight_id", "cache", "attempts"))
_TIMES = slice(SNAPSHOT.index("wait_s"), SNAPSHOT.index("ended_at_s"))
_ANSWER = slice(SNAPSHOT.index("provider_queue_s"), _CACHE)
_CALL = slice(SNAPSHOT.index("attempt_index"), SNAPSHOT.index("block_hashes"))
_AS_TAKEN = tuple(name for name in LogRow.__struct_fields__ if name in Taken.__struct_fields__)
_as_taken = attrgetter(*_AS_TAKEN)
_NO_TAGS, _NOTHING = Tags(), dict[str, str]()


def folded(call: tuple[Any, ...], tried: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Of the snapshots of a call and of its first try: what the row of both has as `Tried`.

    None: they differ in more than that, and each needs a row of its own.
    """
    if (
        call[_ANSWER] == tried[_ANSWER]
        and call[_TIMES] == tried[_TIMES]
        and call[_CALL] == tried[_CALL]
        and not tried[_CACHE]
        and not tried[_ATTEMPTS]
        and tried[_ID] == f"{call[_ID]}.0"
        and call[_FLIGHT_ID] == call[_ID] == tried[_FLIGHT_ID]
    ):
        return _own(tried)
    return None


def encoded(row: tuple[Any, ...], *further: Any) -> str:
    """A snapshot, with the two texts and what `folded` gave behind it if there are any, as it is kept.

    Block hashes may be any iterable. Zeros of the usage and empty tags are left out: a third of the bytes.
    """
    kept = [*row, *further]
    usage = row[_USED]
    if type(usage) is Usage and not (
        usage.cached_tokens
        or usage.cache_write_tokens
        or usage.cache_write_1h_tokens
        or usage.reasoning_tokens
        or usage.estimated
    ):
        kept[_USED] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    if row[_TAGGED] == _NO_TAGS:
        kept[_TAGGED] = _NOTHING
    return _encode(kept).decode()


def try_of(call: Taken) -> Taken | None:
    """The try that is kept in its call's row; None where it has a row of its own, or there was none."""
    tried = call.tried
    if tried is None:
        return None
    return replace(
        call,
        id=f"{call.id}.0",
        start_wall_s=tried.start_wall_s,
        started_at_s=tried.started_at_s,
        ended_at_s=tried.ended_at_s,
        body_bytes=tried.body_bytes,
        reply_bytes=tried.reply_bytes,
        block_hashes=tried.block_hashes,
        cache="",
        attempts=0,
        prompt=None,
        answer=None,
        tried=None,
    )


def row_of(row: Taken) -> LogRow:
    """The row with its fields as the views show them."""
    fields = dict(zip(_AS_TAKEN, _as_taken(row), strict=True))
    started_at_s = row.started_at_s
    for name, moment in SINCE_START.items():
        at_s = getattr(row, moment)
        fields[name] = None if at_s is None else at_s - started_at_s
    usage = row.usage
    for name in USAGE:
        fields[name] = getattr(usage, name, None)
    fields["usage_estimated"] = getattr(usage, "estimated", None)
    tags = row.tags
    for name in TAGS:
        fields[name] = getattr(tags, name)
    fields["block_hashes"] = ",".join(row.block_hashes)
    return LogRow(**fields)
