"""What goes wrong on a connection, in words: one sentence each, whichever client it happened in."""

from __future__ import annotations

from headway.errors import BadReply, Closed, ConnectFailed, ConnectionLost, ProviderTimeout

__all__ = ["broken", "closed", "not_http", "refused", "silent", "too_large", "unreachable"]


def unreachable(origin: str) -> ConnectFailed:
    """Nobody accepted within `connect_s`."""
    return ConnectFailed(f"{origin} did not accept a connection in time; check the base URL and the network")


def refused(origin: str, reason: str) -> ConnectFailed:
    """No connection came about: refused, unresolvable, TLS."""
    return ConnectFailed(f"no connection to {origin} ({reason}); check that base_url is right and the server is up")


def silent(origin: str, silence_s: float, *, maybe_billed: bool) -> ProviderTimeout:
    """Connected, then nothing for `silence_s` seconds."""
    return ProviderTimeout(
        f"{origin} was silent for {silence_s:g} s; raise the timeout if its answers take that long",
        maybe_billed=maybe_billed,
    )


def broken(origin: str, reason: str, *, maybe_billed: bool) -> ConnectionLost:
    """Reset, or closed before the answer's end."""
    return ConnectionLost(
        f"the connection to {origin} broke before the answer was whole ({reason})", maybe_billed=maybe_billed
    )


def not_http(origin: str, reason: str) -> BadReply:
    """Bytes came, and they are no HTTP answer (or one whose head has no end)."""
    return BadReply(
        f"{origin} sent bytes that are not an HTTP answer ({reason}); check that base_url points at the API itself",
        maybe_billed=True,
    )


def too_large(origin: str, bytes_max: int) -> BadReply:
    """A body beyond `reply_bytes_max`: it would be as large again."""
    return BadReply(
        f"the answer from {origin} is larger than {bytes_max} bytes; raise reply_bytes_max if that is meant",
        maybe_billed=True,
        final=True,
    )


def closed() -> Closed:
    """The engine's end came first."""
    return Closed("the engine was closed while the call was under way; open a new one")
