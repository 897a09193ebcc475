"""`[[upstream]]` and `[[rule]]` entries: every value checked by name, keys taken from the environment.

[[upstream]]                                     [[rule]]                  # what "auto" stands for
name = "azure-eu"                                tier = "quality"
preset = "azure"                                 has_code = true
base_url = "https://RESOURCE.openai.azure.com/openai/v1"
stands_in_for = "https://api.openai.com"
models = { "gpt-5.4-mini" = "my-deployment" }
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from headway.attempt.upstreams import Upstream, origin_of
from headway.errors import ConfigError
from headway.policy.content import ContentRule
from headway.policy.limits import LimitSettings
from headway.policy.objective import CLASSES
from headway.policy.presets import LIMIT_PRESETS
from headway.types.secret import Secret
from headway.wire.endpoints import ENDPOINTS, PRESETS

__all__ = ["read_rules", "read_upstreams", "with_keys"]

UPSTREAMS_MAX = 64
RULES_MAX = 256
_NAME = re.compile(r"[\w.-]{1,64}")
_LANGUAGE = re.compile(r"[a-z]{2}")
_QUALITY = {"ultra_fast": 4.0, "fast": 6.0, "balanced": 7.0, "quality": 9.0}
"""What a class is taken for where no quality is given: round figures of ours; set your own where it matters."""

_ENDPOINTS = {path.removeprefix("/v1").strip("/"): path for path in ENDPOINTS}

Check = Callable[[Any], bool]


def read_upstreams(value: Any, where: str) -> tuple[Upstream, ...]:
    """The entries, without their keys.

    Raises:
        ConfigError: Naming the place, the entry, the key, and what was expected.
    """
    if isinstance(value, tuple) and all(isinstance(item, Upstream) for item in value):
        return value
    entries = _tables(value, "upstream", where, UPSTREAMS_MAX)
    upstreams = tuple(_upstream(entry, f"{where}: upstream {number}") for number, entry in enumerate(entries, 1))
    names = [upstream.name for upstream in upstreams]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where}: two upstreams are called {name!r}; give each a name of its own")
    priced: dict[tuple[str, str], Upstream] = {}
    for upstream in upstreams:
        for model in upstream.models.values() or ("",):
            other = priced.setdefault((upstream.origin, model), upstream)
            if (other.input_usd, other.output_usd) != (upstream.input_usd, upstream.output_usd):
                raise ConfigError(
                    f"{where}: upstreams {other.name!r} and {upstream.name!r} give different prices for the same model "
                    "at the same address; make them equal"
                )
    return upstreams


def read_rules(value: Any, where: str) -> tuple[ContentRule, ...]:
    """The content rules, patterns compiled.

    Raises:
        ConfigError: As for `read_upstreams`.
    """
    if isinstance(value, tuple) and all(isinstance(item, ContentRule) for item in value):
        return value
    return tuple(
        _rule(entry, f"{where}: rule {number}")
        for number, entry in enumerate(_tables(value, "rule", where, RULES_MAX), 1)
    )


def with_keys(upstreams: tuple[Upstream, ...], environ: Mapping[str, str]) -> tuple[Upstream, ...]:
    """The upstreams with their credentials, each from the variable that it names.

    Raises:
        ConfigError: A variable is not set, or holds what no header can carry.
    """
    return tuple(_with_key(upstream, environ) for upstream in upstreams)


def _with_key(upstream: Upstream, environ: Mapping[str, str]) -> Upstream:
    if not upstream.key_env or upstream.key is not None:
        return upstream
    key = environ.get(upstream.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"upstream {upstream.name!r}: environment variable {upstream.key_env} is not set; set it to the key, or "
            "take the entry out"
        )
    if any(not 33 <= ord(char) <= 126 for char in key):
        raise ConfigError(f"environment variable {upstream.key_env} must be a printable text without white space")
    return replace(upstream, key=Secret(key))


def _tables(value: Any, kind: str, where: str, most: int) -> list[Mapping[str, Any]]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise ConfigError(f"{where}: {kind} must be a list of tables ([[{kind}]]), not {type(value).__name__}")
    if len(value) > most:
        raise ConfigError(f"{where}: {len(value)} entries of {kind} are more than the {most} that are allowed")
    return list(value)


def _check(entry: Mapping[str, Any], checks: Mapping[str, tuple[Check, str]], where: str) -> None:
    for key, value in entry.items():
        if key not in checks:
            near = difflib.get_close_matches(str(key), checks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(sorted(checks))}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
        good, expected = checks[key]
        if not good(value):
            shown = "what was given" if key in ("base_url", "stands_in_for", "key_env") else repr(value)[:80]
            raise ConfigError(f"{where}: {key} must be {expected}, not {shown}")


def _upstream(entry: Mapping[str, Any], where: str) -> Upstream:
    if "name" in entry and _is_name(entry["name"]):
        where = f"{where} ({entry['name']})"
    for secret in ("key", "api_key"):
        if secret in entry:
            raise ConfigError(f"{where}: {secret} must not stand here; name the variable that holds it with key_env")
    _check(entry, _UPSTREAM, where)
    preset = PRESETS.get(entry.get("preset", ""))
    base_url = str(entry.get("base_url", preset.base_url if preset is not None else "")).rstrip("/")
    if "name" not in entry or not base_url:
        missing = "base_url" if "name" in entry else "name"
        raise ConfigError(f"{where}: {missing} is missing; every upstream needs a name and a base_url (or a preset)")
    models = entry.get("models", {})
    endpoints = [_ENDPOINTS[name] for name in entry.get("endpoints", ())]
    known = LIMIT_PRESETS.get(entry.get("limits", ""), LimitSettings())
    limits = LimitSettings(
        requests_per_min=entry.get("requests_per_min", known.requests_per_min),
        tokens_per_min=entry.get("tokens_per_min", known.tokens_per_min),
        capacity_s=known.capacity_s,
    )
    tier = entry.get("tier", "")
    if limits != LimitSettings() and not models:
        raise ConfigError(f"{where}: limits hold for one model each; list the models, too")
    stands_in_for = entry.get("stands_in_for", "")
    return Upstream(
        name=entry["name"],
        base_url=base_url,
        key_env=entry.get("key_env", preset.key_env if preset is not None else ""),
        stands_in_for=origin_of(stands_in_for) if stands_in_for else "",
        region=entry.get("region", ""),
        models=dict(models) if isinstance(models, Mapping) else {model: model for model in models},
        tier=tier,
        quality=float(entry.get("quality", _QUALITY.get(tier, 5.0))),
        input_usd=entry.get("input_usd"),
        output_usd=entry.get("output_usd"),
        flex=entry.get("flex", False),
        endpoints=tuple(endpoints or (preset.endpoints if preset is not None else ())),
        limits=None if limits == LimitSettings() else limits,
        quota=entry.get("quota", ""),
    )


def _rule(entry: Mapping[str, Any], where: str) -> ContentRule:
    _check(entry, _RULE, where)
    if "tier" not in entry or len(entry) < 2:
        raise ConfigError(f"{where}: a rule needs a tier and at least one condition ({', '.join(sorted(_RULE))})")
    pattern = None
    if "pattern" in entry:
        try:
            pattern = re.compile(entry["pattern"])
        except re.error as error:
            raise ConfigError(f"{where}: pattern is no regular expression ({error}); mend it") from None
    return ContentRule(
        tier=entry["tier"],
        chars_min=entry.get("chars_min", 0),
        chars_max=entry.get("chars_max"),
        language=entry.get("language", ""),
        has_code=entry.get("has_code"),
        pattern=pattern,
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_number(least: float, most: float) -> Check:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and least <= value <= most
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_url(value: Any) -> bool:
    if not isinstance(value, str) or any(char <= " " for char in value):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port  # raises beyond 65535
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain


def _is_models(value: Any) -> bool:
    names = [*value, *value.values()] if isinstance(value, Mapping) else value
    return isinstance(names, list) and bool(names) and all(isinstance(name, str) and name for name in names)


def _is_endpoints(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(n, str) and n in _ENDPOINTS for n in value)


def _is_limits(value: Any) -> bool:
    return isinstance(value, str) and value in LIMIT_PRESETS


_URL = (_is_url, 'a URL without credentials, query or fragment, such as "https://api.openai.com/v1"')
_TIER = (lambda value: value in CLASSES, f"one of {', '.join(CLASSES)}")
_PRICE = (_is_number(0, 1e6), "dollars per million tokens, a number of at least 0")
_RATE = (_is_number(1e-9, 1e12), "a number above 0")
_TRUTH = (lambda value: isinstance(value, bool), "true or false")
_COUNT = (_is_count, "a whole number of characters of at least 0")
_TEXT = (lambda value: isinstance(value, str), "text")

_UPSTREAM: Mapping[str, tuple[Check, str]] = {
    "name": (_is_name, "1 to 64 letters, digits, dots, dashes or underscores"),
    "preset": (lambda value: isinstance(value, str) and value in PRESETS, f"one of {', '.join(PRESETS)}"),
    "base_url": _URL,
    "key_env": (lambda value: isinstance(value, str) and value.isidentifier(), "the name of an environment variable"),
    "stands_in_for": _URL,
    "region": _TEXT,
    "models": (_is_models, "a list of models, or a table from the client's name to the upstream's"),
    "tier": _TIER,
    "quality": (_is_number(0, 10), "a number from 0 to 10"),
    "input_usd": _PRICE,
    "output_usd": _PRICE,
    "flex": _TRUTH,
    "endpoints": (_is_endpoints, f"a list of {', '.join(_ENDPOINTS)}"),
    "limits": (_is_limits, f"one of {', '.join(sorted(LIMIT_PRESETS))}"),
    "quota": (_is_name, "1 to 64 letters, digits, dots, dashes or underscores"),
    "requests_per_min": _RATE,
    "tokens_per_min": _RATE,
}
_RULE: Mapping[str, tuple[Check, str]] = {
    "tier": _TIER,
    "chars_min": _COUNT,
    "chars_max": _COUNT,
    "language": (
        lambda value: isinstance(value, str) and _LANGUAGE.fullmatch(value) is not None,
        'two letters such as "en"',
    ),
    "has_code": _TRUTH,
    "pattern": (lambda value: isinstance(value, str) and 0 < len(value) <= 1_000, "a regular expression"),
}
