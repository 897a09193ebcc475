"""The configured upstreams' part of the stack: nothing where none are configured."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from headway.attempt.choice import Choice, RouteSettings
from headway.attempt.pace import Pace, scope_of
from headway.attempt.route import Priced, Route, Router
from headway.attempt.upstreams import UpstreamPrices
from headway.config import Settings
from headway.policy.objective import read_objective
from headway.types import Handler
from headway.wire.prices import Prices

__all__ = ["open_prices", "open_route", "priced", "route_digest"]


def open_prices(settings: Settings) -> Prices:
    """The price list, and the upstreams' own prices before it."""
    return UpstreamPrices(settings.upstreams) if settings.upstreams else Prices()


def priced(pace: Pace, settings: Settings, prices: Prices) -> Handler:
    """The pace layer, with what each upstream charges above it, and the limits that are known of each below."""
    if not isinstance(prices, UpstreamPrices):
        return pace
    pace.quotas = {upstream.name: upstream.quota for upstream in settings.upstreams if upstream.quota}
    for upstream in settings.upstreams:
        if upstream.limits is not None:
            for model in upstream.models.values():
                pace.know(scope_of(upstream.origin, upstream.tenant, upstream.quota, model), upstream.limits)
    return Priced(pace, prices)


def open_route(next_: Handler, settings: Settings, prices: Prices, rng: Random) -> Handler:
    """The outermost attempt layer."""
    if not isinstance(prices, UpstreamPrices):
        return Route(next_)
    route = RouteSettings(
        rules=settings.rules,
        objective=read_objective(settings.objective) or frozenset(),
        quality_min=settings.quality_min,
        priced=settings.budget_usd is not None,
    )
    return Router(next_, Choice(settings.upstreams, route, prices, rng))


def route_digest(settings: Settings) -> str:
    """Tells configurations apart by what they let a latency class stand for; "" where nothing is configured."""
    if not settings.upstreams:
        return ""
    offers = [(up.name, up.origin, sorted(up.models.items()), up.tier, up.quality) for up in settings.upstreams]
    chosen = repr((offers, settings.rules, settings.objective, settings.quality_min))
    return sha256(chosen.encode("utf-8", "replace")).hexdigest()[:16]
