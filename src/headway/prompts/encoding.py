"""Digests of requests, and requests as JSON."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from headway.errors import ConfigError

__all__ = ["digest", "encoded"]


def digest(*parts: bytes) -> str:
    """32 hex digits; lengths are in it, so that parts cannot run into each other."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()


def encoded(value: Any, where: str) -> bytes:
    """A value as JSON. Raises `ConfigError` where it has none."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise ConfigError(f"{where}: cannot be written as JSON: {error}") from None
