"""The head of a prompt: what requests of one kind have in common, as a provider's prompt cache sees it."""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from headway.wire.blocks import decode_items, decode_prompt
from headway.wire.decoding import UNREADABLE
from headway.wire.tokens import estimate_tokens

__all__ = ["Head", "cache_key", "head_of", "takes_cache_key"]

TEXT_CHARS_MAX: Final = 16_384
_ABSENT: Final = (b"", b"null")
_OPENAI: Final = "api.openai.com"
_AZURE: Final = ".openai.azure.com"


class Head(NamedTuple):
    """Instructions, tools and leading system messages."""

    digest: bytes
    """16 bytes; equal for equal heads."""
    tokens: int
    """About how many, from the number of characters."""
    text: str
    """The words of it without the tools, the first 16,384 characters."""


class _Message(msgspec.Struct):
    role: Any = None
    content: Any = None


_decode_message: Final = msgspec.json.Decoder(_Message).decode
_decode_any: Final = msgspec.json.Decoder().decode


def head_of(body: bytes) -> Head | None:
    """The head of a request; None where it has none, or cannot be read."""
    try:
        prompt = decode_prompt(body)
        parts = [bytes(part) for part in (prompt.system, prompt.instructions, prompt.tools, prompt.functions)]
        words = [_words(_decode_any(part)) for part in parts[:2] if part not in _ABSENT]
        for raw in (bytes(prompt.messages), bytes(prompt.input)):
            for item in decode_items(raw) if raw.startswith(b"[") else ():
                message = _decode_message(item)
                if message.role not in ("system", "developer"):
                    break
                parts.append(bytes(item))
                words.append(_words(message.content))
    except UNREADABLE:
        return None
    parts = [part for part in parts if part not in _ABSENT]
    if not parts:
        return None
    hashed = blake2b(digest_size=16)
    for part in parts:
        hashed.update(b"%d:" % len(part))
        hashed.update(part)
    return Head(hashed.digest(), estimate_tokens(sum(map(len, parts))), "\n".join(words)[:TEXT_CHARS_MAX])


def cache_key(tenant: str, head: Head) -> str:
    """A `prompt_cache_key` for all requests with that head: it tells neither the credential nor the prompt.

    A digest over both, so that it is not the same for two credentials with one prompt.
    """
    return "hw-" + blake2b(head.digest, key=tenant.encode()[:64], digest_size=16).hexdigest()


def takes_cache_key(origin: str, path: str) -> bool:
    """Whether the server is known to take `prompt_cache_key`: some compatible ones refuse fields they do not know.

    So do the dated versions of Azure's API. A server on this machine is taken to be lenient, as the usual ones are.
    """
    host = urlsplit(origin).hostname or ""
    if host.endswith(_AZURE):
        return path.startswith("/openai/v1/")
    if host in ("localhost", _OPENAI):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _words(content: Any) -> str:
    """The text of a string, or of a list of text blocks."""
    if type(content) is str:
        return content
    blocks = content if type(content) is list else ()
    return "\n".join(text for block in blocks if type(block) is dict and type(text := block.get("text")) is str)
