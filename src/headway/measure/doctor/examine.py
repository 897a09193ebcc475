"""All checks, in the order in which one needs the other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from headway.attempt.upstreams import UpstreamPrices
from headway.config.load import Gathered
from headway.measure.doctor.address import Address, addresses_of
from headway.measure.doctor.finding import Finding, ok, skipped
from headway.measure.doctor.local import caches, call_log, extras, redis, state
from headway.measure.doctor.network import connection
from headway.measure.doctor.provider import (
    Heard,
    call_usd,
    clock,
    key_missing,
    limits_of,
    listen_to,
    price,
    try_call,
)
from headway.types import Timeouts
from headway.upstream import Upstream

__all__ = ["Wanted", "examine", "most_usd"]

REPLY_BYTES_MAX: Final = 64 * 1024 * 1024


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be looked at."""

    model: str = ""
    """Whose price to look up, and which to call; "" for those that the provider lists."""
    call: bool = False
    """Make a tiny call of that model at every address; it costs what `most_usd` says."""
    offline: bool = False
    """Leave the network alone."""


def most_usd(gathered: Gathered, model: str) -> float | None:
    """What `Wanted.call` may cost at most, in dollars; None where a price is not known."""
    prices = UpstreamPrices(gathered.settings.upstreams)
    costs = [call_usd(address, _model_at(address, model), prices) for address in addresses_of(gathered.settings)]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


async def examine(
    gathered: Gathered, wanted: Wanted, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Finding]:
    """Look at everything; what is found comes as soon as it is.

    Args:
        gathered: The settings, which are right in themselves.
        wanted: What to look at.
        environ: Where the state directory is named.
    """
    yield _configuration(gathered)
    if wanted.offline:
        yield skipped("network", "key, connection, clock and limits are not looked at: --offline")
    else:
        settings = gathered.settings
        timeouts = Timeouts()
        send = Upstream(timeouts, connections_max=settings.connections_max, reply_bytes_max=REPLY_BYTES_MAX)
        try:
            looks = [_look(address, gathered, wanted, send) for address in addresses_of(settings)]
            for found in await asyncio.gather(*looks):
                for finding in found:
                    yield finding
        finally:
            await send.aclose()
        if (said := await redis(settings)) is not None:
            yield said
    yield state(gathered.settings, environ)
    yield call_log(gathered.settings, environ)
    for finding in caches(gathered.settings, environ):
        yield finding
    yield extras()


def _configuration(gathered: Gathered) -> Finding:
    settings = sum(source != "default" for source in gathered.sources.values())
    file = gathered.file or "no headway.toml here"
    told = "1 setting is" if settings == 1 else f"{settings or 'no'} settings are"
    shown = " (--explain shows them)" if settings else ""
    return ok("configuration", f"{file}; {told} not as by default{shown}", set=settings)


async def _look(address: Address, gathered: Gathered, wanted: Wanted, send: Upstream) -> list[Finding]:
    """Everything about one address."""
    prices = UpstreamPrices(gathered.settings.upstreams)
    model = _model_at(address, wanted.model)
    reached = await connection(address)
    if reached.level == "failure":
        unseen = skipped("key", f"{address.name}: there, but not looked at without a connection")
        heard = Heard(key_missing(address) or unseen)
    else:
        heard = await listen_to(address, send, _source(address, gathered))
    found = [reached, heard.finding, clock(address, heard), price(address, heard, model, prices)]
    if reached.level == "failure" or not wanted.call:
        return [*found, _limits(address, heard)]
    return [*found, *await try_call(address, send, model)]


def _limits(address: Address, heard: Heard) -> Finding:
    """What the list's headers tell; few providers say it there."""
    found = limits_of(address, heard.headers, heard.at_wall_s)
    if found.level == "ok":
        return found
    if not heard.at_wall_s:
        return skipped("limits", f"{address.name}: could not be asked")
    return skipped(
        "limits", f"{address.name}: told with answers only", "--call --model NAME makes one, and says its price"
    )


def _source(address: Address, gathered: Gathered) -> str:
    if address.upstream is None or address.key == gathered.settings.api_key:
        return gathered.sources.get("api_key", "nowhere")
    return f"environment variable {address.key_env}" if address.key_env else "nowhere"


def _model_at(address: Address, model: str) -> str:
    """What an address calls it."""
    if address.upstream is None or not model:
        return model or (address.upstream.alias_model if address.upstream is not None else "")
    return address.upstream.model_for(model) or address.upstream.alias_model
