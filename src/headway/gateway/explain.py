"""What a gateway would do with its configuration, and from where each value comes."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from headway.config import Settings, load_settings
from headway.config.explain import effective
from headway.gateway.data.homes import Home, Homes
from headway.gateway.keys import KeyStore
from headway.gateway.listening import keys_path
from headway.gateway.loops import loop_name
from headway.gateway.settings import ServeSettings

__all__ = ["explained", "keyless", "rootless"]


def explained(settings: ServeSettings) -> str:
    """The effective configuration as text, without a secret in it.

    Raises:
        ConfigError: A setting is wrong.
    """
    found = load_settings(settings.engine, file=settings.config or None)
    lines = [f"listens on   {settings.host}, port {settings.port or 'any free one'}; {_workers(settings.workers)}"]
    if settings.env_file:
        lines.append(f"environment  {settings.env_file}, read anew with every reload")
    lines.append(f"loop         {loop_name(settings.loop)}")
    lines.append(f"keys         {_keys(settings)}")
    lines += [f"upstream     {_home(home)}" for home in Homes(found).all]
    stand_ins = [upstream for upstream in found.upstreams if upstream.stands_in_for not in ("", upstream.origin)]
    lines += [
        f"stand-in     {upstream.name}: {upstream.base_url}, for {upstream.stands_in_for}" for upstream in stand_ins
    ]
    for value in effective(settings.engine, file=settings.config or None):
        if value.name not in ("upstreams", "api_key") and not value.is_default:
            source = "command line" if value.source == "argument" else value.source
            lines.append(f"{value.name:<12} {value.value}  ({source})")
    lines.append("All else is as in docs/settings.md.")
    return "\n".join(lines)


def keyless(settings: ServeSettings) -> list[str]:
    """A sentence for each upstream that has no key."""
    found = load_settings(settings.engine, file=settings.config or None)
    return [
        f"upstream {home.name!r} ({home.base_url}) has no key; {_remedy(home, found)}, unless it needs none"
        for home in Homes(found).all
        if home.key is None
    ]


def rootless(settings: ServeSettings) -> list[str]:
    """A sentence for each address that is a host alone: the APIs are below a path, mostly /v1."""
    found = load_settings(settings.engine, file=settings.config or None)
    return [
        f"upstream {home.name!r} is {home.base_url}, without a path; most providers want {home.base_url.rstrip('/')}/v1"
        for home in Homes(found).all
        if not urlsplit(home.base_url).path.strip("/")
    ]


def _remedy(home: Home, settings: Settings) -> str:
    if home.base_url == settings.base_url.rstrip("/"):
        return f"set {settings.api_key_env}"
    return "name the variable that holds it with key_env"


def _workers(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def _keys(settings: ServeSettings) -> str:
    path, none = keys_path(settings), "none, for this machine only; headway keys create makes one"
    if not path.exists():
        return none
    with KeyStore(path) as store:
        known = store.known()
    if not known.keys and not settings.keys:
        return none
    return f"every request needs one; {known.usable(time.time())} can be used, in {path}"


def _home(home: Home) -> str:
    endpoints = " ".join(home.endpoints) or "every endpoint"
    models = ", ".join(sorted(home.models)) or "any model"
    return f"{home.name}: {home.base_url}, {endpoints}, {models}, {'with a key' if home.key is not None else 'no key'}"
