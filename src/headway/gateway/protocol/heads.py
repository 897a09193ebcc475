"""Heads that were read before: a client's requests differ in their bodies, and in the length that their heads name.

A head that is byte for byte one of these, but for that number, means what that one meant; reading it again would cost a
tenth of all that is done for a request. Only heads that were taken as a whole are kept, and none that announces chunks.
"""

from __future__ import annotations

import re
from typing import Final

from headway.types import Headers

__all__ = ["Head", "Heads"]

HEADS_MAX: Final = 512
HEAD_BYTES_MAX: Final = 4096
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,15})\r\n")


class Head:
    """What a head says, its length apart."""

    __slots__ = ("after", "before", "body", "continues", "headers", "keep", "method", "notes", "old", "target")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        *,
        body: tuple[int, float] = (0, 0.0),
        keep: bool,
        old: bool,
        continues: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        """See `Limits.body_of`."""
        self.keep = keep
        self.old = old
        self.continues = continues
        self.notes: dict[str, object] = {}
        """See `Request.notes`."""
        self.before = self.after = b""
        """Its bytes on both sides of the length that it names; empty for one that is not kept, or names none."""

    def begins(self, data: bytes) -> tuple[int, int] | None:
        """Where `data` begins with a head that is this one but for its length: how many bytes it has, and names."""
        before = self.before
        if before and data.startswith(before):
            at = len(before)
            end = data.find(b"\r", at, at + 16)
            if data.startswith(self.after, end) and (digits := data[at:end]).isdigit():
                return end + len(self.after), int(digits)
        return None


class Heads:
    """Bounded; forgotten all at once. Those with a length and those without one are never taken for each other."""

    def __init__(self) -> None:
        self._sized: dict[bytes, Head] = {}
        self._plain: dict[bytes, Head] = {}

    def find(self, raw: bytes) -> tuple[Head, int] | None:
        """The head and the length it names."""
        named = _LENGTH.search(raw)
        if named is None:
            head = self._plain.get(raw)
            return (head, 0) if head is not None else None
        head = self._sized.get(raw[: named.start(1)] + raw[named.end(1) :])
        return (head, int(named[1])) if head is not None else None

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember one."""
        if len(raw) > HEAD_BYTES_MAX:
            return
        named = _LENGTH.search(raw)
        if named is None and any(name == "content-length" for name, _ in head.headers):
            return  # a length written in another way: taken for none, its body would be read as the next request
        kept, found_by = self._plain, raw
        if named is not None:
            head.before, head.after = raw[: named.start(1)], raw[named.end(1) :]
            kept, found_by = self._sized, head.before + head.after
        if len(kept) >= HEADS_MAX:
            kept.clear()
        kept[found_by] = head
