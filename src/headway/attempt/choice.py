"""Which upstream a try goes to: who may, who can, who should; and what is learned when it has ended.

See `attempt.route` for the order of decisions; the arithmetic is `policy.balance`, `policy.breaker` and
`policy.objective`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

import msgspec

from headway.attempt.pace import Pace, scope_of, tokens_estimate
from headway.attempt.upstreams import Upstream, UpstreamPrices
from headway.errors import ConfigError
from headway.policy.balance import Load, Ticket, pick
from headway.policy.breaker import Breaker, BreakerSettings
from headway.policy.content import ContentRule, tier_for
from headway.policy.objective import FLEX_WAIT_S, Alias, alias_of, candidates, counts_time, factors, yields
from headway.types import Call, Trace, Usage
from headway.wire.prompt_text import prompt_text

__all__ = ["Choice", "Lane", "Option", "RouteSettings"]

LANES_MAX = 1024
ORIGINS_MAX = 256
FLIGHTS_MAX = 4096
PREFIXES_MAX = 4096
PREFIX_BYTES = 2048
PREFIX_TOKENS_MIN = 1024
PREFIX_TTL_S = 450.0
"""How long a cached prefix is counted on. Source: FACTS section 6 (from 1,024 tokens on) and the 5 to 10 minutes of
OpenAI's guide on prompt caching."""
EXPECTED_S_MIN = 1e-3
"""Differences below a millisecond are no reason to choose."""
_PORTABLE = frozenset(("", "remote URL"))
"""Why a request may not be reused although it may be sent anywhere."""
_FAILURES = frozenset(
    ("server_error", "overloaded", "connect_failed", "provider_timeout", "connection_lost", "bad_reply")
)


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to choose.

    `rules` choose the class of "auto"; `objective` is two of speed, quality and cost, or empty; `quality_min` (0-10)
    holds for every latency class that names no minimum of its own. `priced`: only upstreams whose prices are known, for
    a cap in dollars cannot be kept anywhere else.
    """

    rules: tuple[ContentRule, ...] = ()
    objective: frozenset[str] = frozenset()
    quality_min: float = 0.0
    breaker: BreakerSettings = BreakerSettings()
    priced: bool = False


class Lane:
    """What is known of one (upstream, model, key): its speed, and whether it works."""

    __slots__ = ("breaker", "load")

    def __init__(self, settings: BreakerSettings) -> None:
        self.load = Load()
        self.breaker = Breaker(settings)


class Option:
    """One way a call may go: an upstream, and what it calls the model."""

    __slots__ = ("lane", "model", "upstream")

    def __init__(self, upstream: Upstream, model: str, lane: Lane) -> None:
        self.upstream = upstream
        self.model = model
        self.lane = lane


class Choice:
    """Chooses, and learns. State is bounded: lanes, flights and prefixes that were not used for long are forgotten.

    Args:
        upstreams: As configured.
        settings: See `RouteSettings`.
        prices: For the cost of a call.
        rng: Dice.
        pace: Knows how long a call would wait for its turn; None: nothing is known of that.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        settings: RouteSettings,
        prices: UpstreamPrices,
        rng: Random,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace
        self._upstreams = tuple(upstreams)
        self._settings = settings
        self._prices = prices
        self._rng = rng
        self._own: dict[str, Upstream] = {}
        self._tried: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._prefixes: OrderedDict[tuple[str, int], tuple[str, float]] = OrderedDict()
        self.lanes: OrderedDict[tuple[str, str, str], Lane] = OrderedDict()
        """By (upstream's name, the client's credential or "", model)."""

    def adopt(self, other: Choice) -> None:
        """Go on with what another one has learned of upstreams that are described as they were there."""
        mine = {upstream.name: upstream for upstream in self._upstreams}
        theirs = {upstream.name: upstream for upstream in other._upstreams}
        for key, lane in other.lanes.items():
            if mine.get(key[0]) == theirs.get(key[0]):
                self.lanes[key] = lane

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """Those that are configured."""
        return self._upstreams

    # -- who may ---------------------------------------------------------------------------------------------------

    def options(self, call: Call) -> list[Option]:
        """Every way the call may go, its own origin among them; never empty."""
        view = call.view
        own, model = self._own_of(call.origin), view.model
        portable = view.format and model and (view.reusable or view.why_not_reusable in _PORTABLE)
        serving = [upstream for upstream in self._upstreams if upstream.serves(call)] if portable else []
        if not serving:
            return [self._option(own, model, call)]
        alias = alias_of(model)
        if alias is not None:
            return self._answering(alias, serving, call)
        options = [self._option(up, name, call) for up in serving if (name := up.model_for(model))]
        if not any(up.origin == call.origin and not up.key_env for up in serving):
            options.insert(0, self._option(own, model, call))  # no entry describes it
        return self._affordable(options) or [self._option(own, model, call)]

    def _affordable(self, options: list[Option]) -> list[Option]:
        if not self._settings.priced:
            return options
        return [option for option in options if self._prices.rates(option.model, option.upstream.origin) is not None]

    def _own_of(self, origin: str) -> Upstream:
        own = self._own.get(origin)
        if own is None:
            if len(self._own) >= ORIGINS_MAX:
                self._own.clear()
            own = self._own[origin] = Upstream(name=origin, base_url=origin)
        return own

    def _answering(self, alias: Alias, serving: list[Upstream], call: Call) -> list[Option]:
        tier = alias.tier or tier_for(self._settings.rules, prompt_text(call.body))
        wanted = Alias(tier=tier, quality_min=alias.quality_min or self._settings.quality_min)
        listed = [upstream for upstream in serving if upstream.alias_model]
        able = candidates([up.tier for up in listed], [up.quality for up in listed], wanted)
        if not able:
            raise ConfigError(
                f"no upstream for {call.origin} answers for {call.view.model!r}: none lists models with a tier and a "
                f"quality of at least {wanted.quality_min:g}; add one to [[upstream]], or ask for less"
            )
        options = [self._option(listed[index], listed[index].alias_model, call) for index in able]
        return self._affordable(options) or options

    def _option(self, upstream: Upstream, model: str, call: Call) -> Option:
        key = upstream.name, "" if upstream.key_env else call.tenant, model
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(self._settings.breaker)
            if len(self.lanes) > LANES_MAX:
                # The one that was not used for longest; with all of them busy the bound gives way to the work.
                idle = next((old for old, other in self.lanes.items() if not other.load.pending), key)
                if idle != key:
                    del self.lanes[idle]
        else:
            self.lanes.move_to_end(key)
        return Option(upstream, model, lane)

    # -- who can, and who should -----------------------------------------------------------------------------------

    def choose(self, call: Call, options: list[Option], now_s: float) -> Option:
        """The one to try now, of what `options` gave."""
        trace = call.trace
        tried = self._tried.get(trace.flight_id, ()) if trace.attempt_index else ()
        able = [option for option in options if option.lane.breaker.allows(now_s)]
        fresh = [option for option in able if option.upstream.name not in tried]
        if able:
            chosen = self._best(call, fresh or able, now_s)
        else:
            chosen = min(options, key=lambda option: option.lane.breaker.opens_at_s)
        if len(options) > 1:
            self._tried[trace.flight_id] = (*tried, chosen.upstream.name)
            if len(self._tried) > FLIGHTS_MAX:
                self._tried.popitem(last=False)
        return chosen

    def _best(self, call: Call, options: list[Option], now_s: float) -> Option:
        if len(options) == 1:
            return options[0]
        tokens_max = call.view.output_tokens_max
        if counts_time(self._settings.objective):
            known = [option.lane.load.expected_s(tokens_max, now_s) for option in options]
            least = min((s for s in known if s is not None), default=1.0)
            times = [max(least if s is None else s, EXPECTED_S_MIN) for s in known]
        else:
            times = [1.0] * len(options)
        scores = [option.lane.load.score(s, now_s) for option, s in zip(options, times, strict=True)]
        if self._pace is not None and counts_time(self._settings.objective):
            queues = [self.queue_of(call, option, now_s) for option in options]
            if any(wait_s > 0.0 for wait_s, _ in queues):
                scores = [
                    wait_s + option.lane.load.score(s, now_s, waiting)
                    for option, s, (wait_s, waiting) in zip(options, times, queues, strict=True)
                ]
        if self._settings.objective:
            quality = [option.upstream.quality for option in options]
            prices = [self._estimate(call, option) for option in options]
            weights = factors(self._settings.objective, quality, prices)
            scores = [score * weight for score, weight in zip(scores, weights, strict=True)]
        prefix = self._prefix_of(call)
        affine = None
        if prefix is not None:
            name, until_s = self._prefixes.get(prefix, ("", 0.0))
            names = [option.upstream.name for option in options]
            affine = names.index(name) if name in names and now_s < until_s else None
        chosen = options[pick(scores, self._rng, affine=affine)]
        if prefix is not None:
            self._prefixes[prefix] = chosen.upstream.name, now_s + PREFIX_TTL_S
            self._prefixes.move_to_end(prefix)
            if len(self._prefixes) > PREFIXES_MAX:
                self._prefixes.popitem(last=False)
        return chosen

    def queue_of(self, call: Call, option: Option, now_s: float) -> tuple[float, int]:
        """Seconds that the call would wait there for its turn within the limits, and how many are before it."""
        if self._pace is None:
            return 0.0, 0
        up = option.upstream
        scope = scope_of(up.origin, up.tenant or call.tenant, up.quota, option.model)
        return self._pace.queue_of(scope, tokens_estimate(call.view)[0], now_s)

    def _prefix_of(self, call: Call) -> tuple[str, int] | None:
        """What tells prompts with a long common beginning from others; None for short ones."""
        if call.view.input_tokens < PREFIX_TOKENS_MIN:
            return None
        return call.view.model, hash(call.body[:PREFIX_BYTES])

    def _estimate(self, call: Call, option: Option) -> float | None:
        """Dollars the call should cost there."""
        rates = self._prices.rates(option.model, option.upstream.origin)
        if rates is None:
            return None
        tokens = option.lane.load.tokens(call.view.output_tokens_max)
        return rates.dollars(Usage(input_tokens=call.view.input_tokens, output_tokens=round(tokens)))

    def can_flex(self, call: Call, upstream: Upstream, now_s: float) -> bool:
        """Half the price for whoever can wait; a second try is in no mood to."""
        waits = upstream.flex and yields(self._settings.objective) == "speed" and not call.trace.attempt_index
        return waits and call.deadline_at_s - now_s >= FLEX_WAIT_S

    # -- what came of it -------------------------------------------------------------------------------------------

    def learn(
        self, call: Call, option: Option, ticket: Ticket, epoch: int, trace: Trace, now_s: float, *, refused: bool
    ) -> None:
        """A try has ended: tell its lane. `refused`: its key, bill or model was."""
        load, outcome = option.lane.load, trace.outcome
        load.end(ticket)
        good = outcome == "ok"
        failed = outcome in _FAILURES
        option.lane.breaker.leave(epoch, True if good else (False if failed else None), now_s, hopeless=refused)
        sent_s, first_s, usage = trace.sent_at_s, trace.first_content_at_s, trace.usage
        if failed:
            load.failed(now_s)
        elif good and sent_s is not None and first_s is not None and usage is not None:
            tokens = usage.output_tokens - usage.reasoning_tokens  # those are part of the time to the first
            if call.view.stream:
                load.streamed(first_s - sent_s, now_s - first_s, tokens, now_s)
            else:
                load.whole(first_s - sent_s, tokens, now_s)
        elif outcome in ("abandoned", "deadline") and sent_s is not None and first_s is None:
            load.at_least(now_s - sent_s, now_s)
        if good:
            self._tried.pop(trace.flight_id, None)
