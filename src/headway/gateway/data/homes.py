"""Where a request goes: to the base URL, or to the one configured upstream that has its endpoint and its model.

A *home* is an address with a credential of the gateway's own. The base URL is one; so is every address of
`[[upstream]]` entries that stand in for nothing else. Entries that do stand in are the engine's business
(`attempt.route`), and so is choosing between several entries of one address. Nothing of a request but its path, its
model and the name of an upstream chooses among homes, and none of that becomes part of an address. Source: FACTS
section 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import force_setattr, replace

from headway.attempt.upstreams import Upstream, origin_of
from headway.config import Settings
from headway.errors import ConfigError
from headway.gateway.request import Refused
from headway.policy.fingerprint import tenant_of
from headway.types.secret import Secret
from headway.wire.endpoints import ENDPOINTS, PRESETS

__all__ = ["Home", "Homes", "engine_upstreams"]

_MESSAGES: Final = ENDPOINTS[-1]
_CHOICES_MAX: Final = 1024


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """One address that requests go to."""

    name: str
    base_url: str
    key: Secret | None = None
    endpoints: tuple[str, ...] = ()
    """What can be posted to it ("/chat/completions"); empty: everything."""
    models: frozenset[str] = frozenset()
    """By the client's names; empty: every model."""

    origin: str = ""
    """Scheme, host and port; derived."""
    tenant: str = ""
    """Digest of its credential, as the engine's upstreams have it; derived."""

    def __post_init__(self) -> None:
        """Take the address apart once."""
        force_setattr(self, "origin", origin_of(self.base_url))
        key = self.key.reveal() if self.key is not None else ""
        force_setattr(self, "tenant", tenant_of((("authorization", key),)))

    def has(self, endpoint: str) -> bool:
        """Whether it has an endpoint, or what belongs to it."""
        return not self.endpoints or endpoint in self.endpoints

    @property
    def speaks_messages(self) -> bool:
        """Whether it is of the Messages API alone, keys in its own header."""
        return self.endpoints == (_MESSAGES,)


class Homes:
    """All homes, and the choice among them.

    Args:
        settings: The gateway's engine's.
    """

    def __init__(self, settings: Settings) -> None:
        found = [*_default(settings), *_configured(settings.upstreams)]
        self.all: tuple[Home, ...] = tuple({home.origin: home for home in reversed(found)}.values())[::-1]
        self._chosen: dict[tuple[str, str], Home] = {}
        names = [home.name for home in self.all]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"an [[upstream]] is named {twice!r}, like the home of base_url; give it another name")

    def for_model(self, endpoint: str, model: str) -> Home:
        """The home for a call of an endpoint: one that lists the model, else the first that takes any.

        Raises:
            Refused: There is none.
        """
        found = self._chosen.get((endpoint, model))
        if found is None:
            if len(self._chosen) >= _CHOICES_MAX:
                self._chosen.clear()
            found = self._chosen[endpoint, model] = self._find(endpoint, model)
        return found

    def for_rest(self, path: str, name: str, *, messages: bool) -> Home:
        """The home of anything else.

        Args:
            path: Of the request, without a query.
            name: Of the upstream, where the request says it; "" where not.
            messages: Whether the request is of the Messages API.

        Raises:
            Refused: None takes it, or several do.
        """
        if name:
            named = next((home for home in self.all if home.name == name), None)
            if named is None:
                known = ", ".join(home.name for home in self.all)
                raise Refused(400, f"no upstream is called {name[:64]!r}; there are: {known}", "unknown_upstream")
            return named
        able = [home for home in self.all if home.has(_MESSAGES) or not messages]
        if not messages:
            able = [home for home in able if not home.speaks_messages] or able
        if not able:
            raise Refused(404, f"no upstream here takes {path[:200]}; add one to [[upstream]]", "unknown_path")
        if len(able) > 1:
            names = ", ".join(home.name for home in able)
            raise Refused(
                400,
                f"{path[:200]} could go to several upstreams ({names}); name one in the header headway-upstream",
                "ambiguous_upstream",
            )
        return able[0]

    def _find(self, endpoint: str, model: str) -> Home:
        able = [home for home in self.all if home.has(endpoint)]
        if not able:
            raise Refused(404, f"no upstream here has {endpoint}; add one to [[upstream]]", "unknown_path")
        listing = next((home for home in able if model in home.models), None)
        home = listing or next((home for home in able if not home.models), None) or _by_class(able, model)
        if home is None:
            raise Refused(404, f"no upstream here has the model {model[:100]!r}", "model_not_found")
        return home


def engine_upstreams(settings: Settings) -> tuple[Upstream, ...]:
    """The upstreams as the gateway's engine gets them.

    The first entry of each home *is* that home: its key goes into the requests here, so the engine must not take it for
    a second way to the same place.
    """
    own = {home.origin for home in _default(settings)}
    made = []
    for upstream in settings.upstreams:
        if upstream.stands_in_for in ("", upstream.origin) and upstream.origin not in own:
            own.add(upstream.origin)
            upstream = replace(upstream, key_env="")  # noqa: PLW2901  # the key itself stays
        made.append(upstream)
    return tuple(made)


def _default(settings: Settings) -> list[Home]:
    """The base URL, unless nothing says that it is meant."""
    base_url, usual = settings.base_url.rstrip("/"), Settings().base_url
    described = any(upstream.origin == origin_of(base_url) for upstream in settings.upstreams)
    if settings.upstreams and settings.api_key is None and (base_url == usual or described):
        return []
    name, preset = next(
        ((name, preset) for name, preset in PRESETS.items() if preset.base_url == base_url), ("default", None)
    )
    endpoints = preset.endpoints if preset is not None else ()
    return [Home(name=name, base_url=base_url, key=settings.api_key, endpoints=endpoints)]


def _configured(upstreams: Sequence[Upstream]) -> list[Home]:
    """Entries that stand in for nothing else, those of one address together."""
    groups: dict[str, list[Upstream]] = {}
    for upstream in upstreams:
        if upstream.stands_in_for in ("", upstream.origin):
            groups.setdefault(upstream.origin, []).append(upstream)
    homes = []
    for group in groups.values():
        first = group[0]
        anything = any(not upstream.models for upstream in group)
        everywhere = any(not upstream.endpoints for upstream in group)
        endpoints = () if everywhere else tuple(dict.fromkeys(e for upstream in group for e in upstream.endpoints))
        models = frozenset() if anything else frozenset(name for upstream in group for name in upstream.models)
        homes.append(Home(name=first.name, base_url=first.base_url, key=first.key, endpoints=endpoints, models=models))
    return homes


def _by_class(able: list[Home], model: str) -> Home | None:
    """A latency class ("fast", "auto") is no model that anybody lists: the first home's upstreams answer for it."""
    from headway.policy.objective import alias_of

    return able[0] if alias_of(model) is not None else None
