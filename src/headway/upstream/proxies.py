"""Transports of the HTTP client families through a proxy that the environment names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from headway.errors import ConfigError

__all__ = ["through"]

T = TypeVar("T")


def through(made: Callable[..., T], limits: Any, proxy: str | None) -> T:
    """A family's transport.

    Args:
        made: Its class.
        limits: Of its connections.
        proxy: A URL, or None.

    Raises:
        ConfigError: The proxy is of a kind that this installation cannot speak to.
    """
    try:
        return made(limits=limits, proxy=proxy)
    except (ImportError, ValueError) as error:
        if proxy is None:
            raise
        scheme = urlsplit(proxy).scheme  # the rest may hold a password
        remedy = "install socksio" if scheme.startswith("socks") else "use an http:// or https:// proxy"
        raise ConfigError(
            f"the environment names a {scheme}:// proxy, which cannot be used here; {remedy}, "
            "or unset ALL_PROXY, HTTPS_PROXY and HTTP_PROXY for this program"
        ) from error
