"""Which headers are the connection's own business, and cheap names for those that come in."""

from __future__ import annotations

from headway.types import Headers

__all__ = ["HOP_BY_HOP", "HeaderNames", "end_to_end"]

_CONNECTION = ("connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
HOP_BY_HOP = frozenset((*_CONNECTION, "proxy-authenticate", "proxy-authorization", "accept-encoding"))
_HIDDEN = HOP_BY_HOP - {"content-length"}

NAMES_MAX = 512
NAME_BYTES_MAX = 64


class HeaderNames(dict[bytes, str]):
    """Raw names to lower-case ones, remembered: answers repeat the same twenty. Bounded; long names are not kept."""

    def __missing__(self, raw: bytes) -> str:
        name = raw.decode("latin-1").lower()
        if len(raw) <= NAME_BYTES_MAX:
            if len(self) >= NAMES_MAX:
                self.clear()
            self[raw] = name
        return name


def end_to_end(headers: Headers) -> Headers:
    """The headers a caller may see: hop-by-hop ones are the connection's own business."""
    kept = [pair for pair in headers if pair[0] not in _HIDDEN]
    return headers if len(kept) == len(headers) else tuple(kept)
