"""What a gateway would do with its configuration, and from where each value comes."""

from __future__ import annotations

import os
from typing import Any

from headway.config import Settings, load_settings
from headway.gateway.data.homes import Home, Homes
from headway.gateway.settings import ServeSettings

__all__ = ["explained", "keyless"]


def explained(settings: ServeSettings) -> str:
    """The effective configuration as text, without a secret in it.

    Raises:
        ConfigError: A setting is wrong.
    """
    found = load_settings(settings.engine, file=settings.config or None)
    lines = [f"listens on   {settings.host}, port {settings.port or 'any free one'}; {_workers(settings.workers)}"]
    lines += [f"upstream     {_home(home)}" for home in Homes(found).all]
    stand_ins = [upstream for upstream in found.upstreams if upstream.stands_in_for not in ("", upstream.origin)]
    lines += [
        f"stand-in     {upstream.name}: {upstream.base_url}, for {upstream.stands_in_for}" for upstream in stand_ins
    ]
    plain = Settings()
    for name in Settings.__struct_fields__:
        value = getattr(found, name)
        if name not in ("upstreams", "api_key") and value != getattr(plain, name):
            lines.append(f"{name:<12} {_shown(value)}  ({_source(name, settings)})")
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


def _remedy(home: Home, settings: Settings) -> str:
    if home.base_url == settings.base_url.rstrip("/"):
        return f"set {settings.api_key_env}"
    return "name the variable that holds it with key_env"


def _workers(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"


def _home(home: Home) -> str:
    endpoints = " ".join(home.endpoints) or "every endpoint"
    models = ", ".join(sorted(home.models)) or "any model"
    return f"{home.name}: {home.base_url}, {endpoints}, {models}, {'with a key' if home.key is not None else 'no key'}"


def _source(name: str, settings: ServeSettings) -> str:
    if f"HEADWAY_{name.upper()}" in os.environ and name not in settings.engine:
        return f"environment variable HEADWAY_{name.upper()}"
    if name in settings.engine:
        return "command line"
    if name == "base_url" and os.environ.get("OPENAI_BASE_URL"):
        return "environment variable OPENAI_BASE_URL"
    return settings.config or "headway.toml"


def _shown(value: Any) -> str:
    return repr(value) if not isinstance(value, tuple) else f"{len(value)} entries"
