"""The effective configuration: every setting with its value and where that comes from, secrets left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headway.attempt.upstreams import Upstream
from headway.config.lines import line_of, line_of_error
from headway.config.load import Gathered, gather
from headway.config.settings import CacheSettings, Settings
from headway.types.secret import Secret

__all__ = ["Value", "effective", "explained", "toml_of"]

_ONE = {"upstreams": "upstream", "rules": "rule"}


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as it holds."""

    name: str
    value: str
    """As headway.toml would have it; "none"; a secret as "set, not shown", without its value."""
    source: str
    """"default", "argument", "environment variable HEADWAY_CACHE", or "headway.toml, line 3"."""

    @property
    def is_default(self) -> bool:
        """Whether nobody has said anything about it."""
        return self.source == "default"


def effective(
    given: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Value]:
    """Every setting, in the order of `Settings`, with its source: keyword, environment, file or default.

    Args:
        given: As for `load_settings`, like the others.

    Raises:
        ConfigError: A setting is wrong, or the file.
    """
    return explained(gather(given, file=file, environ=environ))


def explained(gathered: Gathered) -> list[Value]:
    """The same of settings that were put together already."""
    values = []
    for name in Settings.__struct_fields__:
        source = gathered.sources.get(name, "default")
        if source == gathered.file and source:
            key = _ONE.get(name, name)
            line = line_of(gathered.text, key) or line_of_error(gathered.text, name, "")
            source = f"{source}, line {line}" if line is not None else source
        values.append(Value(name=name, value=_shown(getattr(gathered.settings, name)), source=source))
    return values


def toml_of(value: Any) -> str:
    """A plain setting's value as TOML has it; "none" where there is none.

    Args:
        value: Text, a number, a truth value, None, or a tuple of entries.
    """
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value:_}"


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        host = urlsplit(value.reveal()).hostname if "://" in value.reveal() else None
        return f"set, not shown; host {host}" if host else "set, not shown"
    if isinstance(value, tuple) and value:
        return "; ".join(_entry(one) for one in value)
    return toml_of(value)


def _entry(one: Any) -> str:
    if isinstance(one, Upstream):
        key = "with a key" if one.key is not None else "no key"
        return f"{one.name} ({one.base_url}, {key})"
    if isinstance(one, CacheSettings):
        own = [f"{name} {toml_of(value)}" for name, value in msgspec.structs.asdict(one).items() if name != "name"]
        return f"{one.name} ({', '.join(text for text in own if not text.endswith(' none')) or 'as the default one'})"
    return f"tier {one.tier}"
