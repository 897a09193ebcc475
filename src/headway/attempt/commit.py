"""The commit point of streams."""

from __future__ import annotations

import msgspec

__all__ = ["CommitSettings"]


class CommitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a stream is handed on although it has said nothing yet, and how large an event may be."""

    commit_bytes: int = 64 * 1024
    commit_s: float = 10.0
    event_bytes_max: int = 16 * 1024 * 1024
