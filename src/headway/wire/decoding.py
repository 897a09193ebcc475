"""What every JSON format shares: what decoding may raise, and the canonical body that a cache key is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

__all__ = ["UNREADABLE", "canonical", "count_or_none", "has_markers"]

UNREADABLE: Final = (ValueError, RecursionError)
"""What decoding may raise: broken or wrongly shaped JSON, broken UTF-8, brackets nested too deep."""

_DENIED: Final = frozenset(
    {"cache_control", "metadata", "safety_identifier", "service_tier", "stream", "stream_options", "user"}
)
_DENIED_PREFIX: Final = "prompt_cache_"

_decode: Final = msgspec.json.Decoder().decode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def canonical(body: bytes, strip_markers: Callable[[dict[str, Any]], None]) -> bytes | None:
    """The body with sorted keys, less what does not change the answer; None if it is no JSON object.

    Dropped are the deny-listed top-level fields and, inside the prompt, the cache breakpoints. All else
    stays, known or not; arrays keep their order, text and numbers their value (`1`, `1.0` and `true` stay
    apart).

    Args:
        body: The request.
        strip_markers: Takes the format's cache breakpoints out of the decoded body, in place.

    Source: FACTS section 5.
    """
    try:
        tree = _decode(body)
        if type(tree) is not dict:
            return None
        for field in [field for field in tree if field in _DENIED or field.startswith(_DENIED_PREFIX)]:
            del tree[field]
        if has_markers(body):
            strip_markers(tree)
        return _encode_sorted(tree)
    except UNREADABLE:
        return None


def has_markers(body: bytes) -> bool:
    """Whether the body may hold cache breakpoints, in letters or in the escapes that stand for letters."""
    return b"cache_" in body or b"\\u00" in body


def count_or_none(value: Any) -> int | None:
    """`value` if it is a whole number >= 0, else None."""
    return value if type(value) is int and value >= 0 else None
