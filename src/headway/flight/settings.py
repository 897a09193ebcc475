"""The bounds of a flight."""

from __future__ import annotations

import msgspec

from headway.types.call import Allowance

__all__ = ["FlightSettings"]


class FlightSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one flight.

    `window_bytes`: how far the fastest reader may lag behind before the provider is held back. `linger_s`: how long a
    stream whose readers left after its terminal event may take to close, so that its connection and answer are kept.
    """

    flight_bytes_max: int = 8 * 1024 * 1024
    window_bytes: int = 256 * 1024
    linger_s: float = 1.0
    timed: bool = False
    """Note when each chunk comes, for a replay at the same pace."""

    def lag_bytes_max(self, allowance: Allowance | None) -> int:
        """The window.

        A step that holds a stream open may ask again meanwhile, and wait for what its run has set aside for that
        stream: such a stream is not held back before it is as long as a flight may be.
        """
        return self.window_bytes if allowance is None else self.flight_bytes_max
