"""The stack, built in one place, innermost layer first. What is switched off is not in it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from headway.attempt.attempt import Attempt
from headway.attempt.budget import Allowed, Budget
from headway.attempt.commit import CommitSettings
from headway.attempt.mute import Mute
from headway.attempt.pace import Pace
from headway.attempt.prefix import PrefixCaching
from headway.attempt.route import Router
from headway.caller.cache import Cache
from headway.caller.join import Join
from headway.caller.record import Record, outcome_of
from headway.config import Settings
from headway.engine.caches import Caches
from headway.engine.company import Company, Totals, inherit, same
from headway.engine.hedges import NONE, Hedges
from headway.engine.record import HANDOVER_S, Recorder, attempt_trace, state_file
from headway.engine.routing import open_group, open_prices, open_route, priced
from headway.engine.state import StateSampler
from headway.engine.ways import Utility, is_utility
from headway.errors import Closed, HeadwayError
from headway.flight import Deadlines, Flight, FlightSettings, Lone
from headway.policy.budget import RetryBudget, SpendCap
from headway.policy.flight import FlightPolicy, RetrySettings
from headway.policy.limits import Limits
from headway.types import Call, Handler, Outcome, Reply, Timeouts, Trace
from headway.upstream import InProcess, Upstream
from headway.wire import reader_for
from headway.wire.blocks import BLOCKS_BODY_BYTES_MIN, PromptBlocks
from headway.wire.prices import Prices
from headway.wire.prices import load as load_prices

__all__ = ["Stack"]

ORIGINS_MAX = 256
_CONNECTING = tuple("connect first_ idle_timeout_s reply_bytes_max".split())


class Stack:
    """All layers of one engine on one loop, and what they share."""

    def __init__(
        self,
        settings: Settings,
        handler: Handler | None,
        wall_s: Callable[[], float] | None,
        rng: Random,
        refresh: Callable[[Call], asyncio.Task[Reply | None] | None],
        recorder: Recorder,
        company: Company,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self.rng = rng
        self._id, self._tag = 0, f"{rng.getrandbits(24):06x}"  # microseconds, and what tells processes apart
        loop_wall_s: Callable[[], float] = getattr(self._loop, "wall_s", time.time)
        self.wall_s = wall_s or loop_wall_s
        self.prices = open_prices(settings)
        self._commit = CommitSettings()
        self._mute = Mute()
        self._timeouts = timeouts_of(settings)
        self._flight = FlightSettings(timed=settings.cache != "off" and settings.cache_replay == "paced")
        self._retry = RetrySettings(attempts_max=settings.attempts_max)
        self._retry_budgets: dict[str, RetryBudget] = {}
        self._hedges = Hedges(settings.hedge_ratio, self.prices) if settings.hedge_ratio > 0 else None
        self.totals = Totals()
        before = company.before._open() if company.before is not None else None
        # Threads have no place under virtual time: there, writes are made inline.
        virtual = bool(getattr(self._loop, "is_virtual", False))
        path = Path(settings.cache_path) if settings.cache_path else state_file("cache.sqlite")
        self.caches = Caches(settings, path, self.wall_s, inline=virtual, handover_s=HANDOVER_S, before=before)
        self._recorder = recorder
        self._upstream: Upstream | InProcess
        self._handed_on = False
        """Whether the connections are another stack's by now."""
        if handler is None and before is not None and same(before._settings, settings, *_CONNECTING):
            self._upstream = before._upstream
        else:
            self._upstream = open_upstream(settings, handler, settings.reply_bytes_max)
        if handler is None:
            # The price list takes a tenth of a second to import: not on the loop, between two calls.
            threading.Thread(target=load_prices, daemon=True).start()

        # -- attempt layers
        self._pace: Pace
        known: Callable[[Call], Limits] = lambda call: self._pace.limits(call)  # noqa: E731, PLW0108 - made below
        self._shared = self.caches.shared_pace(self._upstream, known, company.limits)
        self._pace = Pace(self._shared or self._upstream, settings.limit_settings(), settings.queue_max)
        self._utility = Utility(lambda bytes_max: open_upstream(settings, handler, bytes_max))
        self._group = open_group(self._pace, settings, self.prices)
        attempt: Handler = priced(self._pace, settings, self.prices, self._group)
        self.budget = _budget(attempt, settings, self.prices)
        attempt = Allowed(self.budget or attempt, self.prices)
        if settings.prompt_cache != "off":
            attempt = PrefixCaching(attempt, self.prices)
        self._attempt: Handler = open_route(attempt, settings, self.prices, rng, self._pace)
        self._router = self._attempt if isinstance(self._attempt, Router) else None
        self._sampler = StateSampler(self._pace, self._router.choice if self._router is not None else None)

        # -- caller layers
        self._join = Join(self._new_flight, self._landed if self.caches.spaces else None)
        handle: Handler = self._join
        self.cache: Cache | None = None
        if self.caches.spaces:
            handle = self.cache = self.caches.layer(self._join, rng=rng, refresh=refresh, tries=self._ways)
        finished, starts, texts = self._recorder.finished, self._recorder.starts, settings.log_prompts
        self._record = Record(handle, finished, timeout_s=settings.timeout_s, texts=texts, starts=starts)
        self.handle: Handler = self._record
        """Sends a call through every layer."""
        self._requests = Record(self._join, finished, timeout_s=inf, starts=starts)
        self.request: Handler = self._requests
        """Sends a utility call; see `engine.ways`."""
        if before is not None:
            inherit(self, before)

    def new_trace(self) -> Trace:
        """A caller's trace that starts now."""
        wall_s = self.wall_s()
        # In the order of time: the log's index grows at its end, where random ids would dirty a page for every row.
        self._id = number = max(self._id + 1, int(wall_s * 1e6))
        return Trace("call", f"{number:014x}{self._tag}", self._loop.time(), wall_s)

    def book(self, trace: Trace, error: HeadwayError) -> None:
        """See `Engine.book`."""
        trace.error_code, trace.dollars = error.code, 0.0
        trace.on_end(self._recorder.finished)
        trace.end(outcome_of(error), self._loop.time())

    def settle(self, attempt: Trace, caller: Trace, outcome: Outcome, now_s: float) -> None:
        """Book a try that went another way, and its caller: both rows, the dollars, and what is left of the cap."""
        attempt.on_end(self._attempt_ended)
        attempt.end(outcome, now_s)
        if self.budget is not None and attempt.usage is not None:
            tokens = attempt.usage.input_tokens + attempt.usage.output_tokens
            self.budget.cap.book(attempt.dollars or 0.0, tokens)
        caller.on_end(self._recorder.finished)
        caller.end(outcome, now_s)

    @property
    def idle(self) -> bool:
        """Whether there is room for what nobody waits for: a cache, no queue, and half the budget left."""
        cap = self.budget.cap if self.budget is not None else None
        spent = cap is not None and (
            cap.dollars_spent + cap.dollars_reserved > cap.dollars_max / 2
            or cap.tokens_spent + cap.tokens_reserved > cap.tokens_max / 2
        )
        return self.cache is not None and not spent and not any(len(lane.queue) for lane in self._pace.lanes.values())

    def snapshot(self) -> dict[str, Any]:
        """See `Engine.snapshot`."""
        lanes = self._pace.lanes.values()
        allowed = [rpm for lane in lanes if (rpm := lane.limits.requests_per_min) is not None]
        return {
            "in_flight": len(self._join),
            "queued": sum(len(lane.queue) for lane in lanes) + (self._shared.queued if self._shared is not None else 0),
            "throttled": sum(lane.limits.refusals for lane in lanes),
            "attempts": self.totals.attempts,
            "allowed_rpm": max(allowed, default=None),
            "dollars": self.totals.dollars,
            "cache": self.caches.stats(),
            "grouping": self._group.stats() if self._group is not None else None,
            **self._sampler.state(self._loop.time()),
        }

    async def aclose(self) -> None:
        """End what is under way, write what is pending, close connections."""
        self.handle = self.request = _closed
        await asyncio.gather(*self._join.close(), return_exceptions=True)
        await self._record.aclose()
        await self._requests.aclose()
        if self._group is not None:
            await self._group.aclose()
        if self._shared is not None:
            await self._shared.aclose()
        await self.caches.aclose()
        self._pace.close()
        if not self._handed_on:
            await self._upstream.aclose()
        await self._utility.aclose()
        self._recorder.close()

    def _new_flight(self, call: Call, over: Callable[[Flight | Lone], None], deadlines: Deadlines) -> Flight | Lone:
        policy = self._policy(call)
        lone = call.key is None and not call.view.stream and not policy.hedges
        return (Lone if lone else Flight)(
            call,
            attempt=self._new_attempt,
            policy=policy,
            settings=self._flight,
            rng=self.rng,
            landed=over,
            deadlines=deadlines,
        )

    def _policy(self, call: Call) -> FlightPolicy:
        hedge, dollars = self._hedges.backup(call) if self._hedges is not None else NONE
        budget = self._retry_budgets.get(call.origin)
        if budget is None:
            if len(self._retry_budgets) >= ORIGINS_MAX:
                self._retry_budgets.clear()
            retry = self._retry
            budget = RetryBudget(ratio=retry.ratio, per_s=retry.per_s, reserve=retry.reserve)
            self._retry_budgets[call.origin] = budget
        elsewhere = 0 if self._router is None else self._ways(call) - 1
        return FlightPolicy(self._retry, budget, call.attempts_max, hedge, dollars, elsewhere)

    def _ways(self, call: Call) -> int:
        """How many upstreams the call may go to."""
        elsewhere = self._router is not None and not is_utility(call)
        return len(self._router.choice.options(call)) if elsewhere and self._router is not None else 1

    def _new_attempt(self, call: Call, index: int, on_commit: Callable[[Attempt], None] | None) -> Attempt:
        caller = call.trace
        trace = attempt_trace(caller, index, self._loop.time(), self.wall_s())
        trace.body_bytes = len(call.body)
        utility = is_utility(call)
        if trace.body_bytes >= BLOCKS_BODY_BYTES_MIN and not utility:
            trace.block_hashes = PromptBlocks(call.body)
        trace.on_end(self._attempt_ended)
        return Attempt(
            self._loop,
            replace(call, trace=trace),
            handler=self._utility if utility else self._attempt,
            reader=None if utility else reader_for(call.path),
            prices=self.prices,
            settings=self._commit,
            first_content_s=(call.timeouts or self._timeouts).first_content_s,
            mute=self._mute,
            on_commit=on_commit,
        )

    def _attempt_ended(self, trace: Trace) -> None:
        totals = self.totals
        totals.attempts += trace.sent_at_s is not None
        if trace.dollars is None or totals.dollars is None:
            totals.dollars = None
        else:
            totals.dollars += trace.dollars
        self._recorder.finished(trace)

    def _landed(self, flight: Flight) -> None:
        """Keep the answer where it may be kept."""
        key = flight.call.key
        if self.cache is None or key is None or not flight.complete:
            return
        if flight.log.bytes_logged <= self._flight.flight_bytes_max:
            self.cache.keep(key, flight)


def _budget(next_: Handler, settings: Settings, prices: Prices) -> Budget | None:
    """The cap on dollars and tokens, where there is one."""
    if settings.budget_usd is None and settings.budget_tokens is None:
        return None
    cap = SpendCap(
        dollars_max=inf if settings.budget_usd is None else settings.budget_usd,
        tokens_max=inf if settings.budget_tokens is None else settings.budget_tokens,
    )
    return Budget(next_, cap, prices, queue_max=settings.queue_max)


async def _closed(call: Call) -> Reply:
    raise Closed("this engine is closed; open a new one")


def open_upstream(settings: Settings, handler: Handler | None, reply_bytes_max: int) -> Upstream | InProcess:
    """The network, or what stands in for it."""
    if handler is not None:
        return InProcess(handler, reply_bytes_max=reply_bytes_max)
    return Upstream(timeouts_of(settings), connections_max=settings.connections_max, reply_bytes_max=reply_bytes_max)


def timeouts_of(settings: Settings) -> Timeouts:
    """How long each kind of silence may last."""
    return Timeouts(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        first_event_s=settings.first_event_timeout_s,
        first_content_s=settings.first_content_timeout_s,
        idle_s=settings.idle_timeout_s,
    )
