"""The addresses that a configuration sends to, each with its key."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from headway.attempt.upstreams import Upstream, origin_of
from headway.config import Settings
from headway.types.secret import Secret
from headway.wire.endpoints import ENDPOINTS, PRESETS

__all__ = ["Address", "addresses_of"]

_MESSAGES = ENDPOINTS[-1]


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One of them."""

    name: str
    """"base_url", or the upstream's."""
    base_url: str
    key: Secret | None
    key_env: str
    """The variable that holds the key, or should; "" for none."""
    endpoints: tuple[str, ...] = ()
    """What can be posted to it; empty: everything."""
    upstream: Upstream | None = None

    @property
    def speaks_messages(self) -> bool:
        """Whether it is of the Messages API alone, keys in its own header."""
        return self.endpoints == (_MESSAGES,)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return origin_of(self.base_url)

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, where servers of one's own need no key."""
        return urlsplit(self.base_url).hostname in ("localhost", "127.0.0.1", "::1")


def addresses_of(settings: Settings) -> list[Address]:
    """The base URL, and every upstream; those with the same address and key once."""
    found: dict[tuple[str, Secret | None], Address] = {}
    for address in _all(settings):
        found.setdefault((address.base_url, address.key), address)
    return list(found.values())


def _all(settings: Settings) -> Iterator[Address]:
    base_url = settings.base_url.rstrip("/")
    described = {upstream.origin for upstream in settings.upstreams}
    usual = base_url == Settings().base_url or origin_of(base_url) in described
    if not settings.upstreams or settings.api_key is not None or not usual:
        preset = next((one for one in PRESETS.values() if one.base_url == base_url), None)
        yield Address(
            name="base_url",
            base_url=base_url,
            key=settings.api_key,
            key_env=_variable(settings, preset.key_env if preset is not None else ""),
            endpoints=preset.endpoints if preset is not None else (),
        )
    for upstream in settings.upstreams:
        shares = upstream.origin == origin_of(base_url) and not upstream.key_env
        yield Address(
            name=upstream.name,
            base_url=upstream.base_url,
            key=settings.api_key if shares else upstream.key,
            key_env=settings.api_key_env if shares else upstream.key_env,
            endpoints=upstream.endpoints,
            upstream=upstream,
        )


def _variable(settings: Settings, own: str) -> str:
    """What `api_key_env` says, unless it was left as it is: then the provider's own."""
    return own if own and settings.api_key_env == Settings().api_key_env else settings.api_key_env
