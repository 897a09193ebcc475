"""The configured upstreams side by side: time to first token, total, spread, errors, cost, and which one is fastest.

Short streamed requests in rounds; within a round every upstream is asked at the same time, so that a busy minute is
everybody's. One more request to each goes ahead of them: it opens the connection, and its times do not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import sqrt
from statistics import median, stdev

import msgspec

from headway.attempt.route import target_of
from headway.attempt.upstreams import Upstream, UpstreamPrices, to_upstream
from headway.config import Settings
from headway.engine import Engine
from headway.errors import ConfigError, HeadwayError
from headway.types import Call, Headers, RequestView
from headway.wire import reader_for

__all__ = ["OUTPUT_TOKENS_MAX", "Measured", "Target", "Winner", "measure", "targets_of", "winner_of", "worst_case_usd"]

PROMPT = "Count from one to twenty in words, separated by commas."
PROMPT_TOKENS = 20
OUTPUT_TOKENS_MAX = 64
DEADLINE_S = 60.0
_BOUNDS = ("max_completion_tokens", "max_tokens")
_CHAT, _MESSAGES = "/chat/completions", "/v1/messages"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream and the model it is asked for."""

    upstream: Upstream
    model: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one upstream. Times in seconds, from when a request was sent; None: no answer came."""

    name: str
    region: str
    model: str
    answers: int
    errors: int
    ttft_s: float | None = None
    """Median time to the first token."""
    ttft_sd_s: float | None = None
    """Its standard deviation; None below two answers."""
    ttft_worst_s: float | None = None
    total_s: float | None = None
    """Median time to the last token."""
    total_sd_s: float | None = None
    connect_s: float | None = None
    """What opening the connection took, once."""
    tokens_per_s: float | None = None
    dollars: float | None = None
    """All requests together, the one ahead of them included; None: the price is unknown."""
    error: str = ""
    """The first failure, in a sentence."""


class Winner(msgspec.Struct, frozen=True, kw_only=True):
    """The one with the lowest median TTFT, and whether it leads by more than chance.

    `clear`: the lead over the next is more than twice its standard error (Welch's, with medians for means).
    """

    name: str
    clear: bool
    next_name: str = ""
    faster_ratio: float = 0.0
    """How much lower its TTFT is than the next one's, 0 to 1."""


class _Sample(msgspec.Struct, frozen=True, kw_only=True):
    ttft_s: float | None = None
    total_s: float | None = None
    connect_s: float | None = None
    tokens: int = 0
    dollars: float | None = None
    error: str = ""


def targets_of(settings: Settings, model: str) -> list[Target]:
    """Everything that is configured: `base_url` itself, and every upstream.

    Args:
        settings: As loaded.
        model: What to ask for; an upstream that does not have it is asked for the first model that it lists.

    Raises:
        ConfigError: There is nothing to compare.
    """
    origin = target_of(settings.base_url, "")[0]
    key = settings.api_key
    targets = []
    if not any(upstream.origin == origin and not upstream.key_env for upstream in settings.upstreams):
        targets.append(Target(upstream=Upstream(name="base_url", base_url=settings.base_url, key=key), model=model))
    for upstream in settings.upstreams:
        own = upstream.origin == origin and not upstream.key_env
        known = msgspec.structs.replace(upstream, key=key) if own else upstream
        targets.append(Target(upstream=known, model=upstream.model_for(model) or upstream.alias_model))
    if not settings.upstreams:
        raise ConfigError(
            "there is no [[upstream]] to compare with base_url; add entries to headway.toml (docs/routing.md), or name "
            "the file with --config"
        )
    return targets


def worst_case_usd(targets: Sequence[Target], runs: int) -> float | None:
    """What `measure` may cost at most, in dollars, as far as prices are known; None when none is."""
    prices = UpstreamPrices(tuple(target.upstream for target in targets))
    known = [prices.rates(target.model, target.upstream.origin) for target in targets]
    if not any(known):
        return None
    return sum((runs + 1) * rates.worst_case(PROMPT_TOKENS, OUTPUT_TOKENS_MAX) for rates in known if rates is not None)


async def measure(
    engine: Engine, targets: Sequence[Target], *, runs: int, progress: Callable[[int], None] | None = None
) -> list[Measured]:
    """Ask every target `runs` times (and once ahead), and sum up; in the order of `targets`.

    Args:
        engine: Without upstreams, cache and retries of its own; see `cli.regions`.
        targets: From `targets_of`.
        runs: Rounds, >= 1.
        progress: Called with the number of rounds that are done.
    """
    prices = UpstreamPrices(tuple(target.upstream for target in targets))
    ahead = await asyncio.gather(*[_bound_of(engine, target, prices) for target in targets])
    samples: list[list[_Sample]] = [[] for _ in targets]
    for done in range(1, runs + 1):
        asked = [_ask(engine, target, bound, prices) for target, (bound, _) in zip(targets, ahead, strict=True)]
        for found, sample in zip(samples, await asyncio.gather(*asked), strict=True):
            found.append(sample)
        if progress is not None:
            progress(done)
    return [_summed(target, first, found) for target, (_, first), found in zip(targets, ahead, samples, strict=True)]


def winner_of(measured: Sequence[Measured]) -> Winner | None:
    """The fastest to its first token of those that answered most of the time; None when there is none."""
    able = [one for one in measured if one.ttft_s is not None and one.answers > one.errors]
    if not able:
        return None
    ranked = sorted(able, key=lambda one: one.ttft_s or 0.0)
    best = ranked[0]
    if len(ranked) == 1:
        return Winner(name=best.name, clear=True)
    after = ranked[1]
    lead_s = (after.ttft_s or 0.0) - (best.ttft_s or 0.0)
    spread = [(one.ttft_sd_s or 0.0) ** 2 / one.answers for one in (best, after)]
    clear = min(best.answers, after.answers) > 1 and lead_s > 2.0 * sqrt(sum(spread))
    ratio = lead_s / after.ttft_s if after.ttft_s else 0.0
    return Winner(name=best.name, clear=clear, next_name=after.name, faster_ratio=ratio)


async def _bound_of(engine: Engine, target: Target, prices: UpstreamPrices) -> tuple[str, _Sample]:
    """The request ahead: it opens the connection, and finds out which name for the output's bound is understood."""
    sample = _Sample()
    for bound in _BOUNDS:
        sample = await _ask(engine, target, bound, prices)
        if not sample.error.startswith(("400", "422")):
            return bound, sample
    return _BOUNDS[0], sample


async def _ask(engine: Engine, target: Target, bound: str, prices: UpstreamPrices) -> _Sample:
    upstream = target.upstream
    call = _call(engine, target, bound)
    trace = call.trace
    try:
        reply = await engine.handle(call)
        body = await reply.read()
        error = "" if reply.status == 200 else f"{reply.status} {_said(call, reply.status, body)}"
    except HeadwayError as failure:
        error = str(failure)
    usage, sent_s, first_s, end_s = trace.usage, trace.sent_at_s, trace.first_content_at_s, trace.ended_at_s
    rates = prices.rates(target.model, upstream.origin)
    dollars = trace.dollars if rates is None or usage is None else rates.dollars(usage)
    if error or sent_s is None or first_s is None or end_s is None:
        return _Sample(error=error or "no token came", connect_s=trace.connect_s, dollars=dollars)
    return _Sample(
        ttft_s=first_s - sent_s,
        total_s=end_s - sent_s,
        connect_s=trace.connect_s,
        tokens=usage.output_tokens if usage is not None else 0,
        dollars=dollars,
    )


def _call(engine: Engine, target: Target, bound: str) -> Call:
    upstream = target.upstream
    path = _MESSAGES if upstream.endpoints == (_MESSAGES,) else _CHAT
    body = msgspec.json.encode(
        {
            "model": target.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "stream": True,
            "max_tokens" if path == _MESSAGES else bound: OUTPUT_TOKENS_MAX,
        }
    )
    headers: Headers = (("content-type", "application/json"), ("accept", "application/json"), ("user-agent", "headway"))
    if path == _MESSAGES:
        headers = (*headers, ("anthropic-version", "2023-06-01"))
    reader = reader_for(path)
    trace = engine.new_trace()
    call = Call(
        origin="",
        path=path,
        headers=headers,
        body=body,
        view=reader.read_request(body, headers) if reader is not None else RequestView(),
        trace=trace,
        deadline_at_s=trace.started_at_s + DEADLINE_S,
        attempts_max=1,
    )
    call = to_upstream(call, upstream, target.model, flex=False)
    trace.path, trace.model, trace.upstream, trace.stream = call.path, target.model, upstream.name, True
    return call


def _said(call: Call, status: int, body: bytes) -> str:
    reader = reader_for(call.path)
    error = reader.read_answer(status, body).error if reader is not None else None
    return error.message[:200] if error is not None else ""


def _summed(target: Target, first: _Sample, samples: Sequence[_Sample]) -> Measured:
    good = [sample for sample in samples if sample.ttft_s is not None and sample.total_s is not None]
    ttft = [sample.ttft_s for sample in good if sample.ttft_s is not None]
    total = [sample.total_s for sample in good if sample.total_s is not None]
    costs = [sample.dollars for sample in (first, *samples)]
    rates = [
        (sample.tokens - 1) / (end_s - first_s)
        for sample, first_s, end_s in zip(good, ttft, total, strict=True)
        if sample.tokens > 1 and end_s > first_s
    ]
    return Measured(
        name=target.upstream.name,
        region=target.upstream.region,
        model=target.model,
        answers=len(good),
        errors=len(samples) - len(good),
        ttft_s=median(ttft) if ttft else None,
        ttft_sd_s=stdev(ttft) if len(ttft) > 1 else None,
        ttft_worst_s=max(ttft, default=None),
        total_s=median(total) if total else None,
        total_sd_s=stdev(total) if len(total) > 1 else None,
        connect_s=first.connect_s,
        tokens_per_s=median(rates) if rates else None,
        dollars=None if None in costs else sum(cost for cost in costs if cost is not None),
        error=next((sample.error for sample in samples if sample.error), ""),
    )
