"""Deterministic unit vectors: texts that share stems lie close together, others nearly at right angles."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from math import sqrt

from headway.sim.text import stems

__all__ = ["vector"]

_PLACES = 8


def vector(text: str, dimensions: int, seed: int) -> bytes:
    """A vector of length 1 as little-endian 32-bit floats.

    Every stem, counted once, moves eight dimensions by +1 or -1, which ones by its hash ("hashing trick"); a text
    without stems is hashed as a whole.
    """
    values = [0.0] * dimensions
    for word in set(stems(text)) or {text}:
        raw = blake2b(f"{seed}:{word}".encode("utf-8", "surrogatepass"), digest_size=4 * _PLACES).digest()
        for at in range(0, len(raw), 4):
            number = int.from_bytes(raw[at : at + 4], "little")
            values[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = sqrt(sum(value * value for value in values))
    if not length:
        values[0], length = 1.0, 1.0
    return array("f", [value / length for value in values]).tobytes()
