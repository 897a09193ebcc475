"""What the provider says: whether it takes the key, which models it has, what time it is, how much it allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from headway.attempt.route import target_of
from headway.attempt.upstreams import UpstreamPrices
from headway.errors import HeadwayError
from headway.measure.doctor.address import Address
from headway.measure.doctor.finding import Finding, failure, ok, skipped, warning
from headway.report import format as fmt
from headway.types import Call, Handler, Headers, Reply, RequestView, Timeouts, Trace
from headway.wire import reader_for
from headway.wire.endpoints import ENDPOINTS, own_credential
from headway.wire.rate_headers import LimitReading, read_limits

__all__ = ["Heard", "call_usd", "clock", "key_missing", "limits_of", "listen_to", "price", "try_call"]

ANSWER_S: Final = 20.0
CLOCK_S: Final = 5.0
"""A clock that is further off is worth a word: dates in Retry-After, ages of cached answers, leases in Redis."""
OUTPUT_TOKENS_MAX: Final = 16
"""The least that the Responses API takes; plenty for a word."""
PROMPT: Final = "Say ok."
PROMPT_TOKENS: Final = 16
_CHAT, _MESSAGES = ENDPOINTS[0], ENDPOINTS[-1]
_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_byte_s=ANSWER_S, first_event_s=ANSWER_S, idle_s=ANSWER_S)


class Heard(msgspec.Struct, frozen=True):
    """The answer to the question for models."""

    finding: Finding
    models: tuple[str, ...] = ()
    headers: Headers = ()
    at_wall_s: float = 0.0
    """When the headers came, Unix seconds; 0: none came."""
    took_s: float = 0.0


def key_missing(address: Address) -> Finding | None:
    """What is to be said of an address without a key; None where there is one."""
    if address.key is not None:
        return None
    remedy = f"set {address.key_env}" if address.key_env else "name the variable that holds it with key_env"
    if address.is_local or not address.key_env:
        return warning("key", f"{address.name}: none", f"nothing, if it needs none; else {remedy}")
    return failure("key", f"{address.name}: none for {address.base_url}", f"{remedy} to your key, e.g. in the shell")


async def listen_to(address: Address, send: Handler, source: str, wall_s: Callable[[], float] = time.time) -> Heard:
    """Ask for the list of models: it costs nothing, and needs the key.

    Args:
        address: Whom.
        send: Sends a call.
        source: Where the key comes from, to be told.
        wall_s: Calendar time.
    """
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    try:
        reply = await send(_call(address, "GET", "/models", b""))
        body = await reply.read()
    except HeadwayError as error:
        return Heard(skipped("key", f"{address.name}: not looked at, for {fmt.printable(str(error))}"))
    at_wall_s, took_s = wall_s(), loop.time() - start_s
    models = _models(body) if reply.status == 200 else ()
    finding = _verdict(address, reply, source, models, took_s)
    return Heard(finding, models, reply.headers, at_wall_s, took_s)


def _verdict(address: Address, reply: Reply, source: str, models: tuple[str, ...], took_s: float) -> Finding:
    asked = f"GET {address.base_url}/models answered {reply.status} in {fmt.seconds(took_s)}"
    missing = key_missing(address)
    if missing is not None:
        return _without_key(address, reply.status, missing, len(models), asked)
    if reply.status == 200:
        text = f"{address.name}: accepted, from {source}; {len(models)} models, {asked}"
        return ok("key", text, models=len(models), answer_s=took_s)
    if reply.status in (401, 403):
        remedy = f"look whether {address.key_env or source} holds a key for {address.base_url} that is still good"
        return failure("key", f"{address.name}: refused (from {source}); {asked}", remedy)
    if reply.status == 404:
        return warning(
            "key",
            f"{address.name}: not looked at, for it has no list of models ({asked})",
            "look whether base_url ends as the provider says, mostly in /v1; --call --model NAME tells for certain",
        )
    return warning("key", f"{address.name}: not certain; {asked}", "try again in a minute, or with --call --model NAME")


def _without_key(address: Address, status: int, missing: Finding, models: int, asked: str) -> Finding:
    """Lists of models are public in some places where answers are not."""
    if status == 200 and missing.level == "warning":
        return ok("key", f"{address.name}: none needed; {models} models, {asked}", models=models)
    if status in (401, 403):
        return failure("key", f"{address.name}: none, and {asked}", missing.remedy)
    return missing


def _models(body: bytes) -> tuple[str, ...]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return ()
    data: Any = found.get("data") if isinstance(found, dict) else None
    listed = data if isinstance(data, list) else []
    return tuple(one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str))


def clock(address: Address, heard: Heard) -> Finding:
    """The provider's clock against ours, by the Date header, which has whole seconds."""
    dates = [value for name, value in heard.headers if name == "date"]
    if not dates:
        why = "says no time" if heard.at_wall_s else "could not be asked"
        return skipped("clock", f"{address.name}: {why}")
    try:
        theirs_s = parsedate_to_datetime(dates[0]).timestamp()
    except (ValueError, TypeError):
        return skipped("clock", f"{address.name}: says no time that can be read")
    # It was written at some time between question and answer, and cut to the second.
    early_s, late_s = heard.at_wall_s - heard.took_s - theirs_s - 1.0, heard.at_wall_s - theirs_s
    off_s = early_s if early_s > 0 else min(late_s, 0.0)
    if abs(off_s) <= CLOCK_S:
        return ok("clock", f"{address.name}: no more than {CLOCK_S:g} s apart from ours", off_s=off_s)
    how = "ahead" if off_s > 0 else "behind"
    text = f"{address.name}: this machine's clock is {fmt.seconds(abs(off_s))} {how}"
    return warning("clock", text, "set it by the network: timedatectl set-ntp true", off_s=off_s)


def price(address: Address, heard: Heard, model: str, prices: UpstreamPrices) -> Finding:
    """Whether what a model costs is known: without that, no budget in dollars holds, and reports say "unknown"."""
    remedy = f"set input_usd and output_usd, in dollars a million tokens, in the [[upstream]] of {address.origin}"
    if not model:
        if not heard.models:
            return skipped("price", f"{address.name}: no model is known", "name one with --model")
        known = sum(prices.rates(name, address.origin) is not None for name in heard.models)
        text = f"{address.name}: known for {known} of {len(heard.models)} models"
        return ok("price", text, known=known) if known else warning("price", text, remedy, known=0)
    if heard.models and model not in heard.models:
        return warning("price", f"{address.name}: does not list the model {model!r}", "check the name with --model")
    rates = prices.rates(model, address.origin)
    if rates is None:
        return warning("price", f"{address.name}: not known for {model!r}", remedy)
    told = f"${rates.base.input * 1e6:g} in, ${rates.base.output * 1e6:g} out a million tokens"
    return ok(
        "price", f"{address.name}: {model} costs {told}", input_usd=rates.base.input, output_usd=rates.base.output
    )


def limits_of(address: Address, headers: Headers, wall_s: float) -> Finding:
    """What the provider allows, as its headers have it."""
    found = read_limits(headers, wall_s)
    if found is None:
        return skipped("limits", f"{address.name}: its headers say nothing of limits")
    readings = {
        "requests": found.requests,
        "tokens": found.tokens,
        "input tokens": found.input_tokens,
        "output tokens": found.output_tokens,
    }
    told = [_reading(name, reading) for name, reading in readings.items() if reading.limit is not None]
    if not told:
        return skipped("limits", f"{address.name}: its headers say nothing of limits")
    return ok("limits", f"{address.name}: {', '.join(told)}")


def _reading(name: str, reading: LimitReading) -> str:
    left = f", {fmt.count(reading.remaining)} left" if reading.remaining is not None else ""
    return f"{fmt.count(reading.limit)} {name}{left}"


def call_usd(address: Address, model: str, prices: UpstreamPrices) -> float | None:
    """What `try_call` may cost at most, in dollars; None where no price is known."""
    rates = prices.rates(model, address.origin)
    return None if rates is None else rates.worst_case(PROMPT_TOKENS, OUTPUT_TOKENS_MAX)


async def try_call(
    address: Address, send: Handler, model: str, wall_s: Callable[[], float] = time.time
) -> list[Finding]:
    """One tiny call that generates something: whether it is answered, and which limits its headers tell."""
    loop = asyncio.get_running_loop()
    path = _MESSAGES if address.speaks_messages else _CHAT
    start_s = loop.time()
    try:
        for bound in ("max_tokens",) if path == _MESSAGES else ("max_completion_tokens", "max_tokens"):
            asked = {"model": model, "messages": [{"role": "user", "content": PROMPT}], bound: OUTPUT_TOKENS_MAX}
            reply = await send(_call(address, "POST", path, msgspec.json.encode(asked)))
            body = await reply.read()
            if reply.status not in (400, 422):
                break
    except HeadwayError as error:
        return [failure("call", f"{address.name}: {fmt.printable(str(error))}", "see the lines above")]
    took_s = loop.time() - start_s
    limits = limits_of(address, reply.headers, wall_s())
    if reply.status == 200:
        return [ok("call", f"{address.name}: {model} answered in {fmt.seconds(took_s)}", answer_s=took_s), limits]
    reader = reader_for(path)
    error_view = reader.read_answer(reply.status, body).error if reader is not None else None
    said = fmt.printable(error_view.message[:200]) if error_view is not None else ""
    if address.key is not None:
        said = said.replace(address.key.reveal(), "...")  # some repeat it
    return [failure("call", f"{address.name}: {model} answered {reply.status} {said}", "see what it says"), limits]


def _call(address: Address, method: str, below: str, body: bytes) -> Call:
    loop = asyncio.get_running_loop()
    key = address.key.reveal() if address.key is not None else ""
    origin, path = target_of(address.base_url, below)
    # At an address of the Messages API the list of models, too, takes the key in that API's header.
    told = own_credential(_MESSAGES if address.speaks_messages else path, key)
    headers = (("content-type", "application/json"), ("accept", "application/json"), ("user-agent", "headway"), *told)
    reader = reader_for(path) if body else None
    return Call(
        method=method,
        origin=origin,
        path=path,
        headers=headers,
        body=body,
        view=reader.read_request(body, headers) if reader is not None else RequestView(),
        trace=Trace("call", "doctor", loop.time(), time.time()),
        timeouts=_TIMEOUTS,
    )
