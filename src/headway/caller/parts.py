"""What a key was made of, as checksums part by part: enough to say later which part made a miss, and no text.

Made off the event loop, when the disk tier writes an entry.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from headway.policy.fingerprint import version_headers_of
from headway.types import Call
from headway.wire import reader_for
from headway.wire.decoding import UNREADABLE

__all__ = ["PARTS_MAX", "packed_parts", "parts_of", "unpacked_parts"]

PARTS_MAX = 96
_LISTS = ("messages", "input", "tools")

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_parts = msgspec.msgpack.Decoder(dict[str, bytes]).decode
_encode = msgspec.msgpack.Encoder().encode


def parts_of(call: Call) -> dict[str, bytes]:
    """A checksum of 6 bytes for each part: "tenant", "path", "header x", "model", "messages[0]" ..."""
    parts: dict[str, Any] = {"tenant": call.tenant, "origin": call.origin, "path": call.path}
    if call.namespace:
        parts["namespace"] = call.namespace
    if call.sample:
        parts["sample"] = call.sample
    for name, value in version_headers_of(call.headers):
        parts[f"header {name}"] = value
    reader = reader_for(call.path)
    canonical = reader.canonical(call.body) if reader is not None else None
    if canonical is not None:
        parts |= _of_body(canonical)
    if len(parts) > PARTS_MAX:
        kept = list(parts.items())
        rest = "".join([name for name, _ in kept[PARTS_MAX - 1 :]]) + "".join(
            [str(v) for _, v in kept[PARTS_MAX - 1 :]]
        )
        parts = dict(kept[: PARTS_MAX - 1]) | {"...": rest}
    return {name: _digest(value) for name, value in parts.items()}


def packed_parts(call: Call) -> bytes:
    """The same, to be stored."""
    return _encode(parts_of(call))


def unpacked_parts(packed: bytes) -> dict[str, bytes]:
    """What `packed_parts` made; empty where that cannot be read."""
    try:
        return _decode_parts(packed) if packed else {}
    except msgspec.MsgspecError:
        return {}


def _of_body(canonical: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        for name, raw in _decode_fields(canonical).items():
            value = bytes(raw)
            if name in _LISTS and value.startswith(b"["):
                found |= {f"{name}[{at}]": bytes(item) for at, item in enumerate(_decode_items(value))}
            else:
                found[name] = value
    except UNREADABLE:
        return {"body": canonical}
    return found


def _digest(value: str | bytes) -> bytes:
    """A checksum and a length: it tells a part from another, it proves nothing, and it costs a tenth of a hash."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return (crc32(data) << 16 | len(data) & 0xFFFF).to_bytes(6, "big")
