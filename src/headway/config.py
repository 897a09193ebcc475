"""Settings: keyword arguments over environment over `headway.toml` over defaults; every value checked by name.

    [headway.toml]                          [environment]                       [keyword]
    base_url = "https://api.openai.com/v1"  HEADWAY_BASE_URL, OPENAI_BASE_URL   Engine(base_url=...)
    api_key_env = "OPENAI_API_KEY"          HEADWAY_API_KEY, OPENAI_API_KEY     Engine(api_key=...)
    limits = "openai/tier-1"                HEADWAY_LIMITS                      Engine(limits=...)

Every key may be given in each of the three ways; the environment's name is HEADWAY_ and the key in capitals. Keys of
providers never stand in a file: `api_key_env` names the variable that holds one.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

import msgspec

from headway.errors import ConfigError
from headway.policy.limits import LimitSettings
from headway.policy.presets import LIMIT_PRESETS

__all__ = ["Secret", "Settings", "load_settings", "state_dir"]


class Secret:
    """A credential: its repr and str never show it; ask `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The credential itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine can be told. Times in seconds, sizes in bytes, money in US dollars; None means "none"."""

    # where to
    base_url: str = "https://api.openai.com/v1"
    """The provider's base URL, version included, as the SDKs write it."""
    api_key: Secret | None = None
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key when none is given."""
    # how long
    timeout_s: float = 600.0
    """From hand-over to answer, our own wait included. The SDKs' default."""
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 600.0
    first_event_timeout_s: float = 60.0
    idle_timeout_s: float = 300.0
    # how much at once
    connections_max: int = 1024
    queue_max: int = 100_000
    reply_bytes_max: int = 64 * 1024 * 1024
    # limits: learned where they are not given, and learned ones win
    limits: str = ""
    """A preset of published limits, such as "openai/tier-1"; "" to learn them."""
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    # trying again
    attempts_max: int = 3
    # not asking twice
    cache: str = "off"
    """"off", "memory", or "disk" (memory in front of SQLite). True and False are read as "disk" and "off"."""
    cache_ttl_s: float = 86_400.0
    cache_stale_if_error_s: float = 604_800.0
    cache_stale_while_revalidate_s: float = 0.0
    cache_memory_bytes_max: int = 256 * 1024 * 1024
    cache_disk_bytes_max: int = 4 * 1024 * 1024 * 1024
    cache_path: str = ""
    """The SQLite file; "" for cache.sqlite in the state directory."""
    # money
    budget_usd: float | None = None
    budget_tokens: int | None = None
    # the record
    log: str = "on"
    """"on", "off", or the call log's file; "on" is calls.sqlite in the state directory."""
    log_rows_max: int = 1_000_000
    log_prompts: bool = False
    """Keep prompts and answers in the call log. Off: they are nowhere but in the caches."""
    log_level: str = "warning"
    """What goes to the structured log on stderr: debug (every call), info, warning (failures), off."""
    # dice
    seed: int | None = None
    """Seeds back-off jitter, ids and cache jitter; for simulations. None: from the operating system."""

    def limit_settings(self) -> LimitSettings:
        """The limits that are known beforehand."""
        known = LIMIT_PRESETS.get(self.limits, LimitSettings())
        return LimitSettings(
            requests_per_min=self.requests_per_min or known.requests_per_min,
            tokens_per_min=self.tokens_per_min or known.tokens_per_min,
            capacity_s=known.capacity_s,
        )


def state_dir(environ: Mapping[str, str]) -> Path:
    """Where caches and the call log live: $HEADWAY_HOME, else $XDG_STATE_HOME/headway, else ~/.local/state/headway."""
    if home := environ.get("HEADWAY_HOME"):
        return Path(home).expanduser()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "headway"


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
    for key, value in _from_file(file).items():
        if key == "api_key":
            raise ConfigError(
                "headway.toml: api_key must not stand in a file; put it into an environment variable "
                "and name that variable with api_key_env"
            )
        values[key] = _checked(key, value, _where(file))
    for key in _TYPES:
        text = env.get(f"HEADWAY_{key.upper()}")
        if text is not None:
            values[key] = _checked(key, _parsed(key, text), f"environment variable HEADWAY_{key.upper()}")
    for key, value in (given or {}).items():
        if value is not None:
            values[key] = _checked(key, value, "argument")
    if "base_url" not in values and env.get("OPENAI_BASE_URL"):
        values["base_url"] = _checked("base_url", env["OPENAI_BASE_URL"], "environment variable OPENAI_BASE_URL")
    if "api_key" not in values:
        key = env.get(values.get("api_key_env", "OPENAI_API_KEY"), "")
        if key:
            values["api_key"] = Secret(key.strip())
    return Settings(**values)


def _from_file(file: str | Path | None) -> dict[str, Any]:
    path = Path(file) if file is not None else Path("headway.toml")
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if file is None:
            return {}
        raise ConfigError(f"{path}: no such file; name an existing headway.toml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); make it a readable UTF-8 file") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend that line") from None


def _where(file: str | Path | None) -> str:
    return str(file or "headway.toml")


_TYPES = {name: hint for name, hint in get_type_hints(Settings).items() if name in Settings.__struct_fields__}

_POSITIVE = frozenset(
    """
    timeout_s connect_timeout_s first_byte_timeout_s first_event_timeout_s idle_timeout_s connections_max queue_max
    reply_bytes_max requests_per_min tokens_per_min attempts_max cache_memory_bytes_max cache_disk_bytes_max cache_ttl_s
    log_rows_max
    """.split()
)


def _checked(key: str, value: Any, where: str) -> Any:
    """The value in its right type, or a sentence."""
    if key not in _TYPES:
        near = difflib.get_close_matches(key, _TYPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(_TYPES))}"
        raise ConfigError(f"{where}: unknown key {key!r}{hint}")
    check = _CHECKS.get(key)
    if check is not None:
        value, expected = check(value)
        if expected:
            raise ConfigError(f"{where}: {key} must be {expected}, not {_shown(value)}")
        return value
    kind = _TYPES[key]
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
    return "a secret" if isinstance(value, Secret) else repr(value)[:80]


def _parsed(key: str, text: str) -> Any:
    """An environment variable's text as TOML would have it, where the key wants no text."""
    if _TYPES[key] in (str, Secret | None):
        return text
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_url(value: Any) -> tuple[Any, str]:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return value, 'a URL such as "https://api.openai.com/v1"'
    if parts.username or parts.password or parts.query or parts.fragment:
        return "a URL with more in it", "a URL without credentials, query or fragment"
    return value.rstrip("/"), ""


def _check_key(value: Any) -> tuple[Any, str]:
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text.strip() or any(ord(c) < 33 or ord(c) > 126 for c in text.strip()):
        return Secret(""), "a printable text without white space"
    return Secret(text.strip()), ""


def _check_cache(value: Any) -> tuple[Any, str]:
    value = {True: "disk", False: "off"}.get(value, value) if isinstance(value, bool) else value
    return value, "" if value in ("off", "memory", "disk") else '"off", "memory", "disk", true or false'


def _check_limits(value: Any) -> tuple[Any, str]:
    return (
        value,
        "" if value == "" or value in LIMIT_PRESETS else f"one of {', '.join(sorted(LIMIT_PRESETS))}",
    )


def _check_level(value: Any) -> tuple[Any, str]:
    return value, "" if value in (
        "debug",
        "info",
        "warning",
        "off",
    ) else '"debug", "info", "warning" or "off"'


def _check_log(value: Any) -> tuple[Any, str]:
    value = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    return value, "" if isinstance(value, str) and value else '"on", "off" or the path of a file'


_CHECKS: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "base_url": _check_url,
    "api_key": _check_key,
    "cache": _check_cache,
    "limits": _check_limits,
    "log": _check_log,
    "log_level": _check_level,
}
