"""The text of a key: ``hw-<id>-<secret>``, a public id to find it by and 256 random bits that nobody can guess.

Only the SHA-256 of the secret is kept. Slow hashes (Argon2, PBKDF2) are for passwords, which can be guessed from a
list; one of 2^256 equally likely secrets cannot, however fast a guess is, and every request would pay for the slowness.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

from headway.types import Headers
from headway.types.secret import Secret

__all__ = ["PREFIX", "digest_of", "in_headers", "looks_like_key", "new_id", "new_secret", "split"]

PREFIX: Final = "hw-"
_TEXT: Final = re.compile(r"hw-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
_KEYS: Final = frozenset(("hw-", "sk-", "bea"))
_KEY: Final = re.compile(r"(?:bearer\s+)?(?:hw-[0-9a-f]{12}-|sk-[a-z0-9_-]{16})", re.IGNORECASE)
_NAMES: Final = frozenset(("authorization", "x-api-key", "api-key"))
"""Where clients put their key: OpenAI's, Anthropic's, Azure's."""


def new_id() -> str:
    """12 hex digits, to find something by; no secret."""
    return secrets.token_hex(6)


def new_secret(id_: str) -> tuple[Secret, bytes]:
    """A key's text, and the digest of its secret."""
    secret = secrets.token_urlsafe(32)
    return Secret(f"{PREFIX}{id_}-{secret}"), digest_of(secret)


def digest_of(secret: str) -> bytes:
    """32 bytes."""
    return sha256(secret.encode()).digest()


def split(text: str) -> tuple[str, str] | None:
    """Id and secret of a key's text; None when it is none."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found is not None else None


def looks_like_key(text: str) -> bool:
    """Whether a text that should be something else, such as a model's name, is a key of ours or of a provider."""
    return text[:3].lower() in _KEYS and _KEY.match(text) is not None


def in_headers(headers: Headers) -> str | None:
    """The one key that a request's headers hold; "" when there is none, None when there are different ones.

    Anything that does not look like a key of ours is no key: SDKs send a placeholder beside it where they are told so.
    """
    found = ""
    for name, value in headers:
        if name in _NAMES:
            text = value[7:].strip() if name == "authorization" and value[:7].lower() == "bearer " else value.strip()
            if text.startswith(PREFIX):
                if found and found != text:
                    return None
                found = text
    return found
