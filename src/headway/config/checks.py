"""Every value checked by its key, wherever it was read: the right type and range, or one sentence."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from headway.config.settings import CacheSettings, Secret, Settings
from headway.config.upstreams import read_rules, read_upstreams
from headway.errors import ConfigError
from headway.policy.objective import read_objective
from headway.policy.presets import LIMIT_PRESETS

__all__ = ["CACHE_NAME", "TYPES", "checked", "parsed"]

_CACHES_MAX = 64
CACHE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a named cache may be called: it is a part of a file's name."""

TYPES = {name: hint for name, hint in get_type_hints(Settings).items() if name in Settings.__struct_fields__}

_POSITIVE = frozenset(
    """
    timeout_s connect_timeout_s first_byte_timeout_s first_event_timeout_s first_content_timeout_s idle_timeout_s
    connections_max queue_max
    reply_bytes_max requests_per_min tokens_per_min attempts_max cache_memory_bytes_max cache_disk_bytes_max cache_ttl_s
    log_rows_max redis_timeout_s
    """.split()
)


def checked(key: str, value: Any, where: str) -> Any:
    """The value in its right type.

    Raises:
        ConfigError: Naming the place, the key, what was expected, and what was found unless it may be a secret.
    """
    if key not in TYPES:
        near = difflib.get_close_matches(key, TYPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(TYPES))}"
        raise ConfigError(f"{where}: unknown key {key!r}{hint}")
    if key in _TABLES:
        return _TABLES[key](value, where)
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where}: {key} must be text without NUL characters; take them out")
    check = _CHECKS.get(key)
    if check is not None:
        value, expected = check(value)
        if expected:
            raise ConfigError(f"{where}: {key} must be {expected}, not {_shown(value)}")
        return value
    kind = TYPES[key]
    if kind is bool:
        good, expected = isinstance(value, bool), "true or false"
    elif kind in (int, int | None):
        good, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif kind in (float, float | None):
        good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        expected = "a number"
    else:
        good, expected = isinstance(value, str), "text"
    if "number" in expected:
        expected += " above 0" if key in _POSITIVE else " of at least 0"
        good = good and (value > 0 or (value == 0 and key not in _POSITIVE))
    if not good:
        raise ConfigError(f"{where}: {key} must be {expected}, not {_shown(value)}")
    return float(value) if kind in (float, float | None) else value


def _shown(value: Any) -> str:
    return "what was given" if isinstance(value, Secret) else repr(value)[:80]


def parsed(key: str, text: str) -> Any:
    """An environment variable's text as TOML would have it, where the key wants no text."""
    if key in ("cache", "log", "otel") and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    if TYPES[key] in (str, Secret | None):
        return text
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_url(value: Any) -> tuple[Any, str]:
    expected = 'a URL such as "https://api.openai.com/v1"'
    if not isinstance(value, str):
        return value, expected
    url = value.strip()
    try:
        parts = urlsplit(url)
        port = parts.port  # raises beyond 65535
    except ValueError:
        parts, port = urlsplit(""), None
    good = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not good or any(char <= " " for char in url):
        return Secret("") if "@" in url or "?" in url else value, expected
    if parts.username or parts.password or parts.query or parts.fragment:
        return Secret(""), "a URL without credentials, query or fragment"
    return url.rstrip("/"), ""


def _check_key(value: Any) -> tuple[Any, str]:
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text.strip() or any(ord(c) < 33 or ord(c) > 126 for c in text.strip()):
        return Secret(""), "a printable text without white space"
    return Secret(text.strip()), ""


def _check_cache(value: Any) -> tuple[Any, str]:
    value = {True: "disk", False: "off"}.get(value, value) if isinstance(value, bool) else value
    expected = '"off", "memory", "disk", "redis", "disk+redis", true or false'
    if isinstance(value, Mapping):
        expected += " (named caches are tables called [caches.NAME])"
    return value, "" if value in ("off", "memory", "disk", "redis", "disk+redis") else expected


def _check_caches(value: Any) -> tuple[Any, str]:
    if isinstance(value, tuple) and all(isinstance(one, CacheSettings) for one in value):
        return value, ""
    if not isinstance(value, Mapping) or len(value) > _CACHES_MAX:
        return value, f"at most {_CACHES_MAX} tables such as [caches.faq]"
    found = []
    for name, table in value.items():
        if not isinstance(name, str) or not CACHE_NAME.fullmatch(name):
            return name, 'tables named by up to 64 letters, digits, "-", "_" or ".", a letter or digit first'
        fields = CacheSettings.__struct_fields__[1:]
        if not isinstance(table, Mapping) or (unknown := [key for key in table if key not in fields]):
            return unknown[0] if isinstance(table, Mapping) else table, f"tables that hold {', '.join(fields)}"
        own = {key: checked(f"cache_{key}", setting, f"caches.{name}") for key, setting in table.items()}
        found.append(CacheSettings(name=name, **own))
    return tuple(found), ""


def _check_prompt_cache(value: Any) -> tuple[Any, str]:
    return value, "" if value in ("off", "auto") else '"off" or "auto"'


def _check_grouping(value: Any) -> tuple[Any, str]:
    return value, "" if value in ("off", "load", "always") else '"off", "load" or "always"'


def _check_ratio(value: Any) -> tuple[Any, str]:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if good else value, "" if good else "a share from 0 to 1, such as 0.02"


def _check_replay(value: Any) -> tuple[Any, str]:
    return value, "" if value in ("instant", "paced") else '"instant" or "paced"'


def _check_redis_url(value: Any) -> tuple[Any, str]:
    """Never shown: it may hold a password."""
    text = value.reveal() if isinstance(value, Secret) else value
    expected = 'a URL such as "redis://localhost:6379/0", "rediss://..." or "unix:///path"'
    try:
        parts = urlsplit(text.strip()) if isinstance(text, str) else urlsplit("")
        good = parts.port != 0  # raises beyond 65535
    except ValueError:
        return Secret(""), expected
    good = good and bool(parts.path if parts.scheme == "unix" else parts.hostname)
    if not good or parts.scheme not in ("redis", "rediss", "unix"):
        return Secret(""), expected
    return Secret(parts.geturl()), ""


def _check_limits(value: Any) -> tuple[Any, str]:
    good = isinstance(value, str) and (value == "" or value in LIMIT_PRESETS)
    return value, "" if good else f"one of {', '.join(sorted(LIMIT_PRESETS))}"


def _check_objective(value: Any) -> tuple[Any, str]:
    good = isinstance(value, str) and read_objective(value) is not None
    return value, "" if good else 'two of speed, quality and cost, such as "speed+cost"'


def _check_quality(value: Any) -> tuple[Any, str]:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10
    return float(value) if good else value, "" if good else "a number from 0 to 10"


def _check_level(value: Any) -> tuple[Any, str]:
    good = value in ("debug", "info", "warning", "off")
    return value, "" if good else '"debug", "info", "warning" or "off"'


def _check_log_format(value: Any) -> tuple[Any, str]:
    return value, "" if value in ("auto", "json", "console") else '"auto", "json" or "console"'


def _check_otel(value: Any) -> tuple[Any, str]:
    value = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    return value, "" if value in ("on", "off") else '"on" or "off"'


def _check_metrics(value: Any) -> tuple[Any, str]:
    return value, "" if value in ("key", "loopback") else '"key" or "loopback"'


def _check_log(value: Any) -> tuple[Any, str]:
    value = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    return value, "" if isinstance(value, str) and value else '"on", "off" or the path of a file'


_CHECKS: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "base_url": _check_url,
    "api_key": _check_key,
    "cache": _check_cache,
    "cache_replay": _check_replay,
    "hedge_ratio": _check_ratio,
    "caches": _check_caches,
    "redis_url": _check_redis_url,
    "limits": _check_limits,
    "log": _check_log,
    "log_format": _check_log_format,
    "log_level": _check_level,
    "metrics": _check_metrics,
    "objective": _check_objective,
    "otel": _check_otel,
    "prompt_cache": _check_prompt_cache,
    "prompt_grouping": _check_grouping,
    "quality_min": _check_quality,
}
_TABLES: dict[str, Callable[[Any, str], Any]] = {"upstreams": read_upstreams, "rules": read_rules}
