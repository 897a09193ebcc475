"""The configured upstreams' part of the stack: nothing where none are configured."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from random import Random

from headway.attempt.choice import Choice, RouteSettings
from headway.attempt.group import Group, would_wait
from headway.attempt.pace import Pace, scope_of
from headway.attempt.route import Priced, Route, Router
from headway.attempt.upstreams import UpstreamPrices
from headway.config import Settings
from headway.policy.objective import read_objective
from headway.types import Handler
from headway.wire.prices import Prices

__all__ = ["open_group", "open_prices", "open_route", "priced", "route_digest"]


def open_prices(settings: Settings) -> Prices:
    """The price list, and the upstreams' own prices before it."""
    return UpstreamPrices(settings.upstreams) if settings.upstreams else Prices()


def open_group(pace: Pace, settings: Settings, prices: Prices) -> Group | None:
    """What sends small requests several to a prompt; None where that is off."""
    if settings.prompt_grouping == "off":
        return None
    loop = asyncio.get_running_loop()
    always = settings.prompt_grouping == "always"
    return Group(pace, prices, lambda call: would_wait(pace, call, loop.time()), always=always)


def priced(pace: Pace, settings: Settings, prices: Prices, group: Group | None = None) -> Handler:
    """The pace layer, with what each upstream charges above it, and the limits that are known of each below."""
    if not isinstance(prices, UpstreamPrices):
        return group or pace
    pace.quotas = {upstream.name: upstream.quota for upstream in settings.upstreams if upstream.quota}
    for upstream in settings.upstreams:
        if upstream.limits is not None:
            for model in upstream.models.values():
                pace.know(scope_of(upstream.origin, upstream.tenant, upstream.quota, model), upstream.limits)
    return Priced(group or pace, prices)


def open_route(next_: Handler, settings: Settings, prices: Prices, rng: Random, pace: Pace) -> Handler:
    """The outermost attempt layer."""
    if not isinstance(prices, UpstreamPrices):
        return Route(next_)
    route = RouteSettings(
        rules=settings.rules,
        objective=read_objective(settings.objective) or frozenset(),
        quality_min=settings.quality_min,
        priced=settings.budget_usd is not None,
    )
    return Router(next_, Choice(settings.upstreams, route, prices, rng, pace))


def route_digest(settings: Settings) -> str:
    """Tells configurations apart by what they let a latency class stand for; "" where nothing is configured."""
    if not settings.upstreams:
        return ""
    offers = [(up.name, up.origin, sorted(up.models.items()), up.tier, up.quality) for up in settings.upstreams]
    chosen = repr((offers, settings.rules, settings.objective, settings.quality_min))
    return sha256(chosen.encode("utf-8", "replace")).hexdigest()[:16]
