"""How much, and for how long, one client may take of the gateway."""

from __future__ import annotations

import msgspec

__all__ = ["DOOR_LIMITS", "LIMITS", "DoorLimits", "Limits"]

FILES = "/v1/files"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes. Source: FACTS section 9 (limits of gateways)."""

    head_s: float = 10.0
    """From a request's first byte to the end of its headers."""
    head_bytes_max: int = 64 * 1024
    headers_max: int = 200
    body_s: float = 60.0
    """From the end of the headers to the end of the body; for uploads, as often as they are larger than a body."""
    body_bytes_max: int = 32 * 1024 * 1024
    """As it comes, the framing of chunks included."""
    file_bytes_max: int = 208 * 1024 * 1024
    """The same of an upload: a batch's file of 200 MB, and its form around it. Source: FACTS section 3."""
    bodies_bytes_max: int = 512 * 1024 * 1024
    """Of all connections together, while they are read and answered."""
    idle_s: float = 75.0
    """Between two requests. nginx's `keepalive_timeout`."""
    write_s: float = 60.0
    """A client that takes none of what is written to it for so long has left."""
    write_bytes_min: int = 16 * 1024
    """What it has to take in that time, while more than a window waits: 273 bytes a second."""
    linger_s: float = 2.0
    """How long the rest of a refused request is read and dropped, so that the refusal can be read."""
    connections_max: int = 4096
    ahead_bytes_max: int = 64 * 1024
    """What a client may send ahead of its turn (pipelining) before it is held back."""

    def body_of(self, method: str, target: str) -> tuple[int, float]:
        """The largest body of a request in bytes, and how many seconds it may take."""
        if method == "POST" and target.partition("?")[0] == FILES:
            return self.file_bytes_max, self.body_s * max(1.0, self.file_bytes_max / self.body_bytes_max)
        return self.body_bytes_max, self.body_s


class DoorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Of the simple doors. Times in seconds, sizes in bytes."""

    sockets_max: int = 1024
    """WebSockets at once in one process."""
    strangers_max: int = 64
    """Those of them that have not shown the key yet that they need; they take nobody else's place."""
    hello_s: float = 10.0
    """Until a socket without a key in its headers has shown one."""
    idle_s: float = 600.0
    """Without a frame from the client while nothing is answered; pings do not count."""
    chat_frame_bytes_max: int = 256 * 1024
    turns_max: int = 100
    """Of a conversation, questions and answers; older ones are forgotten."""
    turns_bytes_max: int = 512 * 1024
    """The same in bytes of UTF-8."""
    realtime_frame_bytes_max: int = 16 * 1024 * 1024
    """One `input_audio_buffer.append` may hold 15 MiB. Source: OpenAI API reference, "Realtime client events"."""
    realtime_frames_max: int = 4
    """Frames of the provider that wait for the client's, before the provider is held back."""


DOOR_LIMITS = DoorLimits()
LIMITS = Limits()
