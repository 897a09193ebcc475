"""The address: who may reach it, and whether there are keys for them."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from headway.errors import ConfigError
from headway.gateway.data.guard import is_loopback
from headway.gateway.keys import KeyStore, default_path
from headway.gateway.settings import ServeSettings

__all__ = ["is_reachable", "keys_path", "listen", "url_of"]


def listen(settings: ServeSettings, *, shared: bool = False, backlog: int | None = 2_048) -> socket.socket:
    """A socket that listens.

    Args:
        settings: Host and port.
        shared: Several processes listen there, and the system spreads connections among them.
        backlog: Connections that may wait to be accepted; None: it only takes the address.

    Raises:
        ConfigError: The address cannot be had, or others can reach it and there are no keys.
    """
    host, port = settings.host, settings.port
    if is_reachable(host) and not _has_keys(keys_path(settings)):
        raise ConfigError(
            f"--host {host} can be reached by others, and this gateway has no keys: whoever reaches it would spend "
            "your provider's key; make one with `headway keys create`, or listen on 127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if backlog is not None:
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}; choose another with --port") from None
    listener.setblocking(False)  # noqa: FBT003  # positional only
    return listener


def is_reachable(host: str) -> bool:
    """Whether others than this machine can reach it."""
    return not is_loopback(f"[{host}]" if ":" in host else host)


def keys_path(settings: ServeSettings) -> Path:
    """Where its keys are."""
    return Path(settings.keys) if settings.keys else default_path(os.environ)


def url_of(listener: socket.socket) -> str:
    """How it is reached: "http://127.0.0.1:8080"."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _has_keys(path: Path) -> bool:
    """Whether anybody could use it by a key."""
    if not path.exists():
        return False
    with KeyStore(path) as store:
        return store.known().usable(time.time()) > 0
