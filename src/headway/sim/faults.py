"""What goes wrong with providers, on demand: by rate, by schedule, or by request header.

| kind | what happens |
|---|---|
| 429 | refused as rate-limited although the buckets had room |
| 500, 503, 529 | server error, overloaded, overloaded (the other provider's number) |
| quota, billing | 429 `insufficient_quota` or `billing_hard_limit_reached`: no money left |
| html, html200 | a web page, as a proxy in between sends it: with a 502, or with a 200 |
| reset | the connection is dropped before the answer, or in the middle of a stream |
| stall | silence: before the answer, or in the middle of a stream |
| pings | a stream of nothing but comments, every 15 s; silence where nothing is streamed |
| truncated | the answer stops half way: a stream ends without its last events, a body is cut off |
| malformed | a 200 that is not JSON; in a stream, one event that is not |
| empty | a whole answer without any text |
| slow | ten times the latency |
| event | an error event inside a 200 stream (500 where nothing is streamed) |
"""

from __future__ import annotations

import re
from email.utils import formatdate
from math import inf, isfinite
from random import Random
from typing import Final

import msgspec

from headway.errors import ConfigError

__all__ = ["FAULTS", "Fault", "fault_asked", "fault_for", "parse_fault", "retry_after_of"]

FAULTS: Final = (
    "429", "500", "503", "529", "quota", "billing", "html", "html200", "reset", "stall", "pings", "truncated",
    "malformed", "empty", "slow", "event",
)  # fmt: skip

DATE_WAIT_S: Final = 30
"""How far ahead the date of a `retry-after` that is one lies."""

_SPEC: Final = re.compile(r"(?P<kind>[a-z0-9]+)(?::(?P<rate>[0-9.e-]+))?(?:@(?P<start>[0-9.]+)-(?P<end>[0-9.]*))?")
_ASKED: Final = re.compile(r"(?P<kind>[a-z0-9]+?)(?:x(?P<times>[0-9]{1,6}))?")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of fault: how often, and from when to when.

    Raises:
        ConfigError: An unknown kind, a rate outside 0..1, a window that ends before it starts.
    """

    kind: str
    rate: float = 1.0
    """The share of requests it befalls, 0 to 1."""
    start_s: float = 0.0
    """Seconds after the simulator's first request."""
    end_s: float | None = None
    """None for no end."""
    retry_after: tuple[str, ...] = ()
    """What its refusals say in `retry-after`, one of them by the dice; "date" is a date 30 s ahead, "" for none."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.kind not in FAULTS:
            raise ConfigError(f"fault: {self.kind!r} is not a kind of fault; the kinds are {', '.join(FAULTS)}")
        if not (isfinite(self.rate) and 0 <= self.rate <= 1):
            raise ConfigError(f"fault: the rate of {self.kind} must be a number from 0 to 1, not {self.rate:g}")
        if not 0 <= self.start_s < (inf if self.end_s is None else self.end_s):
            raise ConfigError(f"fault: the window of {self.kind} must end after it starts, at 0 s or later")


def parse_fault(text: str) -> Fault:
    """Read "429:0.02" (2 % of requests), "503:1@60-90" (all of them from second 60 to 90), or "reset" (all).

    Raises:
        ConfigError: It is none of these.
    """
    found = _SPEC.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigError(f"fault: {text!r} was not understood; write it like 429:0.02 or 503:1@60-90")
    try:
        rate, start, end = (float(found[name]) if found[name] else None for name in ("rate", "start", "end"))
    except ValueError:
        raise ConfigError(f"fault: {text!r} has a number that is none; write it like 429:0.02") from None
    return Fault(kind=found["kind"], rate=1.0 if rate is None else rate, start_s=start or 0.0, end_s=end)


def fault_for(faults: tuple[Fault, ...], elapsed_s: float, rng: Random) -> str:
    """The kind that befalls this request, or "". One throw per fault whether or not it is due, in their order."""
    kind = ""
    for fault in faults:
        thrown = rng.random() < fault.rate
        if thrown and not kind and fault.start_s <= elapsed_s < (inf if fault.end_s is None else fault.end_s):
            kind = fault.kind
    return kind


def retry_after_of(faults: tuple[Fault, ...], kind: str, wall_s: float, rng: Random) -> str | None:
    """The `retry-after` that the settings give refusals of this kind; None where they say nothing about it."""
    texts = next((fault.retry_after for fault in faults if fault.kind == kind and fault.retry_after), ())
    text = rng.choice(texts) if texts else None
    return formatdate(wall_s + DATE_WAIT_S, usegmt=True) if text == "date" else text


def fault_asked(text: str, attempt: int) -> str:
    """What the header `x-sim-fault` asks for: "503" always, "503x2" for the first two attempts; else "".

    Args:
        text: The header's value; unknown ones ask for nothing.
        attempt: Which attempt at this content it is, from 1.
    """
    found = _ASKED.fullmatch(text.strip().lower())
    if found is None or found["kind"] not in FAULTS:
        return ""
    return found["kind"] if found["times"] is None or attempt <= int(found["times"]) else ""
