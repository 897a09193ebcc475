"""Where settings come from, and which of them holds."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from headway.config.checks import TYPES, checked, parsed
from headway.config.lines import line_of, line_of_error, syntax_error
from headway.config.settings import Settings
from headway.config.upstreams import with_keys
from headway.errors import ConfigError
from headway.wire.endpoints import key_variables

__all__ = ["Gathered", "gather", "load_settings"]

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
    return gather(given, file=file, environ=environ).settings


class Gathered(msgspec.Struct, frozen=True):
    """Settings, and where each was read that is not as it is by default."""

    settings: Settings
    sources: dict[str, str]
    """By key: "argument", "environment variable HEADWAY_CACHE", or the file's path."""
    file: str
    """The file that was read; "" for none."""
    text: str
    """What is in it."""


def gather(
    given: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Gathered:
    """As `load_settings`, sources included."""
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}

    def take(key: str, value: Any, source: str) -> None:
        values[key] = checked(key, value, source)
        sources[key] = source

    for key in TYPES:
        text = env.get(f"HEADWAY_{key.upper()}")
        if text is not None:
            take(key, parsed(key, text), f"environment variable HEADWAY_{key.upper()}")
    for key, value in (given or {}).items():
        if value is not None:
            take(key, value, "argument")
    if "base_url" not in values and env.get("OPENAI_BASE_URL"):
        take("base_url", env["OPENAI_BASE_URL"], "environment variable OPENAI_BASE_URL")
    path, toml, from_file = _from_file(file)
    if file is None:
        _refuse_stranger({key: value for key, value in from_file.items() if key not in values})
    values = from_file | values
    sources = dict.fromkeys(from_file, path) | sources
    if "upstreams" in values:
        values["upstreams"] = with_keys(values["upstreams"], env)
    if "api_key" not in values:
        names = key_variables(values.get("base_url", Settings().base_url))
        name = values.get("api_key_env") or next((one for one in names if env.get(one, "").strip()), names[0])
        if env.get(name, "").strip():
            take("api_key", env[name], f"environment variable {name}")
    return Gathered(Settings(**values), sources, path, toml)


def _from_file(file: str | Path | None) -> tuple[str, str, dict[str, Any]]:
    """The file's path, its text, and what it sets; all empty where there is none."""
    path = Path(file) if file is not None else Path(FOUND)
    text = ""
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text)
    except FileNotFoundError:
        if file is None:
            return "", "", {}
        raise ConfigError(f"{path}: no such file; name an existing headway.toml") from None
    except tomllib.TOMLDecodeError as error:
        line, said = syntax_error(text, error)
        raise ConfigError(f"{path}, line {line}: not valid TOML ({said}); mend that line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); make it a readable UTF-8 file") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        said = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path}: not valid TOML ({said}); take that out") from None
    if "api_key" in table:
        raise ConfigError(
            f"{_place(path, line_of(text, 'api_key'))}: api_key must not stand in a file; put it into an environment "
            "variable and name that variable with api_key_env"
        )
    for one, many in (("upstream", "upstreams"), ("rule", "rules")):
        if one in table:
            table[many] = table.pop(one)  # a table of tables is named for one of them
    values = {key: _checked(key, value, path, text) for key, value in table.items()}
    if "redis_url" in values and _has_password(values["redis_url"].reveal()):
        raise ConfigError(
            f"{_place(path, line_of(text, 'redis_url'))}: a redis_url with a password must not stand in a file; "
            "put it into HEADWAY_REDIS_URL"
        )
    return str(path), text, values


def _checked(key: str, value: Any, path: Path, text: str) -> Any:
    """A value of the file; its line is looked for only where it is wrong."""
    try:
        return checked(key, value, str(path))
    except ConfigError as error:
        said = str(error).removeprefix(f"{path}: ")
        raise ConfigError(f"{_place(path, line_of_error(text, key, said))}: {said}") from None
    except (ValueError, OverflowError, RecursionError):  # it can hardly be shown either
        raise ConfigError(f"{_place(path, line_of(text, key))}: {key} is too large, or nests too deeply") from None


def _place(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}, line {line}"


def _refuse_stranger(values: Mapping[str, Any]) -> None:
    """What a file that merely lies in the working directory does not decide: it may be somebody else's.

    Args:
        values: Those of its settings that would hold.

    Raises:
        ConfigError: It chooses who is sent keys and prompts, which secret is a key, or what is written where.
    """
    upstreams = values.get("upstreams", ())
    for url in (values.get("base_url", ""), *(upstream.base_url for upstream in upstreams)):
        if url and not _is_familiar(url):
            raise _stranger(f"have keys and prompts sent to {url!r}", "HEADWAY_BASE_URL")
    for name in (values.get("api_key_env", ""), *(upstream.key_env for upstream in upstreams)):
        if name and not name.endswith("_API_KEY"):
            raise _stranger(f"have {name!r} sent as a key, only variables called ..._API_KEY", "HEADWAY_API_KEY_ENV")
    redis = urlsplit(values["redis_url"].reveal() if "redis_url" in values else "")
    if redis.hostname and not _is_loopback(redis.hostname):
        raise _stranger(f"have answers sent to the Redis on {redis.hostname!r}", "HEADWAY_REDIS_URL")
    if values.get("log", "on") not in ("on", "off"):
        raise _stranger("choose the call log's file", "HEADWAY_LOG")
    if values.get("cache_path"):
        raise _stranger("choose the cache's file", "HEADWAY_CACHE_PATH")
    if values.get("log_prompts"):
        raise _stranger("have prompts kept in the call log", "HEADWAY_LOG_PROMPTS")


def _stranger(deed: str, variable: str) -> ConfigError:
    return ConfigError(
        f"{FOUND}: a file that was found here, not named, may not {deed}; "
        f"if it is yours, name it with config={FOUND!r} or --config {FOUND}, or set {variable}"
    )


def _is_familiar(base_url: str) -> bool:
    parts, default = urlsplit(base_url), urlsplit(Settings().base_url)
    return (parts.scheme, parts.netloc) == (default.scheme, default.netloc) or _is_loopback(parts.hostname or "")


def _has_password(url: str) -> bool:
    """Before the host, or in the query, where the redis package reads one, too."""
    parts = urlsplit(url)
    return bool(parts.password) or any("password" in name.lower() for name, _ in parse_qsl(parts.query))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
