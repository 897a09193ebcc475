"""Where settings come from, and which of them holds."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headway.config.checks import TYPES, checked, parsed
from headway.config.settings import Settings
from headway.config.upstreams import with_keys
from headway.errors import ConfigError

__all__ = ["load_settings"]

FOUND = "headway.toml"


def load_settings(
    given: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Put the settings together and check every one.

    Args:
        given: Keyword arguments; None values count as not given.
        file: A TOML file. Without one, `headway.toml` in the working directory is read if it is there.
        environ: The environment; the process's own by default.

    Raises:
        ConfigError: Naming the key, where it was read, and what was expected.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for key in TYPES:
        text = env.get(f"HEADWAY_{key.upper()}")
        if text is not None:
            values[key] = checked(key, parsed(key, text), f"environment variable HEADWAY_{key.upper()}")
    for key, value in (given or {}).items():
        if value is not None:
            values[key] = checked(key, value, "argument")
    if "base_url" not in values and env.get("OPENAI_BASE_URL"):
        values["base_url"] = checked("base_url", env["OPENAI_BASE_URL"], "environment variable OPENAI_BASE_URL")
    from_file = _from_file(file)
    if file is None and "base_url" in from_file and "base_url" not in values:
        _refuse_stranger(from_file["base_url"])
    if file is None and "upstreams" not in values:
        for upstream in from_file.get("upstreams", ()):
            _refuse_stranger(upstream.base_url)
    if file is None and "redis_url" in from_file and "redis_url" not in values:
        _refuse_strange_redis(from_file["redis_url"].reveal())
    values = from_file | values
    if "upstreams" in values:
        values["upstreams"] = with_keys(values["upstreams"], env)
    if "api_key" not in values:
        name = values.get("api_key_env", "OPENAI_API_KEY")
        if env.get(name, "").strip():
            values["api_key"] = checked("api_key", env[name], f"environment variable {name}")
    return Settings(**values)


def _from_file(file: str | Path | None) -> dict[str, Any]:
    path = Path(file) if file is not None else Path(FOUND)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigError(f"{path}: no such file; name an existing headway.toml") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend that line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); make it a readable UTF-8 file") from None
    if "api_key" in table:
        raise ConfigError(
            f"{path}: api_key must not stand in a file; put it into an environment variable "
            "and name that variable with api_key_env"
        )
    for one, many in (("upstream", "upstreams"), ("rule", "rules")):
        if one in table:
            table[many] = table.pop(one)  # a table of tables is named for one of them
    values = {key: checked(key, value, str(path)) for key, value in table.items()}
    if "redis_url" in values and urlsplit(values["redis_url"].reveal()).password:
        raise ConfigError(
            f"{path}: a redis_url with a password must not stand in a file; put it into HEADWAY_REDIS_URL"
        )
    return values


def _refuse_stranger(base_url: str) -> None:
    """A file that merely lies in the working directory does not decide who is sent keys and prompts."""
    parts, default = urlsplit(base_url), urlsplit(Settings().base_url)
    if (parts.scheme, parts.netloc) == (default.scheme, default.netloc) or _is_loopback(parts.hostname or ""):
        return
    raise ConfigError(
        f"{FOUND}: a file that was found here, not named, may not have keys and prompts sent to {base_url!r}; "
        f"if it is yours, name it with config={FOUND!r} or --config {FOUND}, or set HEADWAY_BASE_URL"
    )


def _refuse_strange_redis(url: str) -> None:
    """Likewise, nor who keeps the answers."""
    parts = urlsplit(url)
    if parts.scheme != "unix" and not _is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"{FOUND}: a file that was found here, not named, may not have answers sent to the Redis on "
            f"{parts.hostname!r}; if it is yours, name it with config={FOUND!r} or set HEADWAY_REDIS_URL"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
