"""Providers that refuse to be asked for the usage of a stream: their clients' requests go out untouched."""

from __future__ import annotations

__all__ = ["Mute"]

ORIGINS_MAX = 256
_FIELD = b"stream_options"


class Mute:
    """The origins that have refused; bounded, the oldest are asked once more."""

    __slots__ = ("_origins",)

    def __init__(self) -> None:
        self._origins: dict[str, None] = {}

    def __contains__(self, origin: str) -> bool:
        return origin in self._origins

    def named_in(self, refusal: bytes, origin: str) -> bool:
        """Whether a refusal is about what we added; if so, it is not added to requests to that origin any more."""
        if _FIELD not in refusal:
            return False
        if len(self._origins) >= ORIGINS_MAX:
            del self._origins[next(iter(self._origins))]
        self._origins[origin] = None
        return True
