"""The simulated provider: one model of it, for in-process calls, for HTTP, and for virtual time.

What happens to a request, in the provider's order: half a round trip; key, body and model are checked; the buckets
admit it or refuse it; a fault may befall it; it waits, its prompt is processed, its tokens come one by one; the
ledger books what was generated; half a round trip back. Time is the event loop's, and all dice are seeded by
(seed, content, attempt at that content), so that results do not depend on what runs next to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from headway.sim.account import Account, content_of, key_of, organisation_of, scope_of
from headway.sim.anthropic_limits import AnthropicLimits
from headway.sim.ask import Ask
from headway.sim.batch_rows import RowAuthor
from headway.sim.bodies import Meta
from headway.sim.breakpoints import BreakpointCache, Found
from headway.sim.content import Author, Completion
from headway.sim.counting import PromptCounter
from headway.sim.desk import MARK, Desk
from headway.sim.directory import check_key
from headway.sim.faults import fault_asked, fault_for, retry_after_of
from headway.sim.formats import FORMATS, Route, refusal, route
from headway.sim.latency import Timing, error_s, network_s, timing
from headway.sim.ledger import Ledger, price_lookup
from headway.sim.limits import Limits, charge_tokens
from headway.sim.loop import VirtualLoop
from headway.sim.play import Play, cut_off, play_stream, play_whole, refusal_of
from headway.sim.prefix import PrefixCache
from headway.sim.profiles import Profile
from headway.sim.refusals import Refused, rate_limited, too_large
from headway.sim.served import check_context, flex_scale, lane_of, model_for, vectors_body
from headway.sim.settings import SimSettings
from headway.sim.text import Memo, dice, digest
from headway.types import Call, Headers, Reply, Usage

__all__ = ["MARK", "Simulator"]

_JSON: Final = ("content-type", "application/json")
_CONTENTS_MAX: Final = 200_000


class Simulator:
    """A provider. Make one, then use `handler` in-process, or serve it (`headway.sim.serving`).

    Args:
        settings: What to play; see `SimSettings`.
        wall_s: Calendar time in Unix seconds; the loop's own under virtual time when None, else the machine's.
    """

    def __init__(self, settings: SimSettings | None = None, *, wall_s: Callable[[], float] | None = None) -> None:
        self.settings = settings = settings or SimSettings()
        self.ledger = Ledger(settings.ledger_rows_max, price_lookup())
        self._wall_s = wall_s
        rpm, tpm, capacity_s, full = settings.rpm, settings.tpm, settings.capacity_s, settings.start_full
        self._limits = Limits(rpm=rpm, tpm=tpm, capacity_s=capacity_s, start_full=full)
        self._anthropic = AnthropicLimits(rpm=rpm, tpm=tpm, capacity_s=capacity_s, start_full=full)
        self._prefixes = PrefixCache(settings.prefix_ttl_s)
        self._breakpoints = BreakpointCache()
        self._author = Author(settings.seed, settings.quality, settings.group_drop)
        self._attempts: Memo[bytes, int] = Memo(_CONTENTS_MAX)
        self._counter = PromptCounter()
        rows = RowAuthor(settings.seed, self._author, self._counter, self._attempts, self.ledger)
        self._desk = Desk(settings, self.ledger, rows, self._wall)
        self.jobs = self._desk.jobs
        """The batches; `await simulator.jobs.settle()` before the ledger of an in-process simulator is read."""
        self._in_flight: dict[str, int] = {}
        self._first_s: float | None = None

    async def handler(self, call: Call) -> Reply:
        """The simulator as a Handler; `origin` is not looked at.

        Raises:
            ConnectionLost: A `reset` or `truncated` fault, or the end of a `stall`.
        """
        return await self.respond(call.method, call.path, call.headers, call.body)

    async def respond(self, method: str, path: str, headers: Headers, body: bytes) -> Reply:
        """Answer one request; header names are lower case. Errors are as for `handler`."""
        path, _, query = path.partition("?")
        where = route(path) if method == "POST" else None
        if where is None:
            return await self._desk.answer(method, path, query, headers, body)
        now_s = asyncio.get_running_loop().time()
        self._first_s = now_s if self._first_s is None else self._first_s
        account = Account(
            path=path, api=where.api, key=key_of(headers), arrived_s=now_s, wall_s=self._wall(), ledger=self.ledger
        )
        names = self.settings.organisations
        account.scope, account.organisation = scope_of(account.key, names), organisation_of(account.key, names)
        try:
            return await self._answer(where, account, headers, body)
        except Refused as refused:
            account.id = account.id or self._unread_id(body)
            account.status, kind, raw = refusal(where, refused, account.id)
            account.close(refused.outcome)
            await _sleep(error_s(self.settings.region, self.settings.latency_scale))
            return self._reply(account, raw, ("content-type", kind), more=refused.headers)
        except BaseException:
            account.close("aborted")
            raise

    def _unread_id(self, body: bytes) -> str:
        """Of a request refused before it was read: like any other id, no other request's, nor another provider's."""
        unread = digest("unread", body)
        number = self._attempts.put(unread, (self._attempts.get(unread) or 0) + 1)
        return digest("id", self.settings.seed, unread, number).hex()

    async def _answer(self, where: Route, account: Account, headers: Headers, body: bytes) -> Reply:
        """Everything up to the first byte that goes back."""
        settings = self.settings
        if len(body) > settings.body_bytes_max:
            raise too_large()
        check_key(account.key, settings.api_keys)
        ask = FORMATS[where.api].read(body, where.deployment)
        words, content = content_of(ask)
        account.number = self._attempts.put(content, (self._attempts.get(content) or 0) + 1)
        account.rng = dice(settings.seed, "attempt", content, account.number)
        account.id = digest("id", settings.seed, content, account.number).hex()
        account.content, account.model, account.stream = content.hex()[:16], ask.model, ask.stream
        account.lane = lane_of(ask)
        round_trip_s = network_s(settings.region, settings.latency_scale, account.rng)
        await _sleep(round_trip_s / 2)
        name, profile = model_for(ask)
        tokens = self._counter.prompt(ask)
        found = self._look(ask, name, profile, account)
        account.family = profile.family or name
        slower = flex_scale(ask, profile, settings.flex_unavailable, account.rng)
        self._admit(ask, account, tokens - found.read)
        account.fault = self._fault(account, headers)
        if refused := refusal_of(account.fault, stream=ask.stream):
            told = retry_after_of(settings.faults, account.fault, account.wall_s, account.rng)
            if told is not None:
                refused.headers = (("retry-after", told),) if told else ()
            elif account.fault == "429":
                refused.headers = self._retry_after(ask, 1_000)
            raise refused
        check_context(tokens, profile)
        cached = found.read or self._cached(ask, name, account.scope, tokens)
        drawn = self._timing(profile, name, account, tokens - cached, slower)
        now_s = asyncio.get_running_loop().time()
        self._breakpoints.keep(found, now_s, now_s + drawn.total_s(1))
        account.hour_tokens = found.hour
        prompt = Usage(input_tokens=tokens, cached_tokens=cached, cache_write_tokens=found.written)
        self._in_flight[name] = self._in_flight.get(name, 0) + 1
        play = Play(
            account=account, timing=drawn, network_s=round_trip_s / 2, stall_s=settings.stall_s,
            leave=lambda: self._leave(name),
        )  # fmt: skip
        try:
            return await self._play(ask, play, profile, words, prompt)
        except BaseException:
            play.end("aborted")
            raise

    async def _play(self, ask: Ask, play: Play, profile: Profile, words: bytes, prompt: Usage) -> Reply:
        """Write the answer and let it come in its own time."""
        account = play.account
        if ask.api == "embeddings":
            account.usage = prompt
            meta = Meta(id=account.id, model=ask.model, created_wall_s=0, usage=prompt)
            raw = msgspec.json.encode(vectors_body(ask, profile, meta, self.settings.seed))
            return self._whole(await play_whole(play, raw), account, play)
        done = [self._author.write(ask, profile, prompt.input_tokens, words, index) for index in range(ask.answers)]
        if account.fault == "empty":
            done = [Completion(tokens=(), finish="stop") for _ in done]
        usage = msgspec.structs.replace(
            prompt,
            output_tokens=sum(each.output_tokens for each in done),
            reasoning_tokens=sum(each.reasoning_tokens for each in done),
        )
        account.usage = usage
        play.longest = max(each.output_tokens for each in done)
        play.answers = len(done)
        if ask.api == "messages":
            now_s = asyncio.get_running_loop().time()
            self._anthropic.spend(account.scope, account.family, usage.output_tokens, now_s)
        meta = Meta(
            id=account.id[:24], model=ask.model, created_wall_s=int(self._wall()), usage=usage,
            hour_tokens=account.hour_tokens, usage_told=profile.usage_told, lane=account.lane,
        )  # fmt: skip
        if ask.stream:
            await play.start()
            account.status = 200
            stream = play_stream(play, ask, done, meta)
            kind = ("content-type", "text/event-stream; charset=utf-8")
            return self._reply(account, None, kind, took=play.processing_ms(), stream=stream)
        raw = msgspec.json.encode(FORMATS[ask.api].whole(ask, done, meta))
        return self._whole(await play_whole(play, raw), account, play)

    def _look(self, ask: Ask, name: str, profile: Profile, account: Account) -> Found:
        """What a Messages prompt reads from the prompt cache and writes to it."""
        if not any(block.ttl_s for block in ask.blocks):
            return Found()
        now_s = asyncio.get_running_loop().time()
        least = profile.cache_tokens_min
        scope = digest(account.scope, name)
        return self._breakpoints.look(scope, ask.blocks, self._counter.blocks(ask), least, now_s)

    def _admit(self, ask: Ask, account: Account, uncached: int) -> None:
        """Charge the buckets. Raises `Refused`."""
        family, now_s = account.family, asyncio.get_running_loop().time()
        limits: Limits | AnthropicLimits = self._anthropic if ask.api == "messages" else self._limits
        charge = uncached
        if ask.api not in ("messages", "contents"):
            charge = charge_tokens(ask.chars, (ask.tokens_max or 0) * ask.answers)
        refusal = limits.admit(account.scope, ask.model, family, charge, now_s, account.organisation)
        if self.settings.headers and ask.api != "contents":
            account.headers = limits.headers(account.scope, family, now_s, self._wall())
        if refusal is not None:
            raise rate_limited(refusal.message, refusal.kind, self._retry_after(ask, refusal.wait_ms))

    def _retry_after(self, ask: Ask, wait_ms: int | None) -> Headers:
        """What a 429 says about waiting; Anthropic always does, in seconds."""
        if not self.settings.headers or wait_ms is None:
            return ()
        told = ("retry-after", str(-(-wait_ms // 1_000)))
        if ask.api == "messages":
            return (told,)
        return (told, ("retry-after-ms", str(wait_ms))) if self.settings.retry_after else ()

    def _fault(self, account: Account, headers: Headers) -> str:
        """The fault of this attempt: the one asked for, else what the dice say."""
        asked = next((value for name, value in headers if name == "x-sim-fault"), "")
        if asked and self.settings.fault_header:
            return fault_asked(asked, account.number)
        elapsed_s = asyncio.get_running_loop().time() - (self._first_s or 0.0)
        return fault_for(self.settings.faults, elapsed_s, account.rng)

    def _timing(self, profile: Profile, name: str, account: Account, uncached: int, slower: float) -> Timing:
        return timing(
            profile,
            uncached_tokens=uncached,
            in_flight=self._in_flight.get(name, 0),
            capacity=self.settings.capacity,
            scale=self.settings.latency_scale * slower * (10 if account.fault == "slow" else 1),
            rng=account.rng,
        )

    def _cached(self, ask: Ask, name: str, owner: str, tokens: int) -> int:
        if tokens < 1_024 or ask.api in ("embeddings", "messages"):
            return 0
        scope = digest(owner, name, ask.cache_key, msgspec.json.encode((ask.tools, ask.schema)))
        prompt = "\x00".join(f"{turn.role}\n{turn.text}" for turn in ask.turns)
        return self._prefixes.use(scope, prompt, tokens, asyncio.get_running_loop().time())

    def _whole(self, raw: bytes, account: Account, play: Play) -> Reply:
        took = play.processing_ms()
        if account.fault == "truncated":
            more = (("content-length", str(len(raw))),)
            return self._reply(account, None, _JSON, took=took, more=more, stream=cut_off(raw))
        return self._reply(account, raw, _JSON, took=took)

    def _reply(
        self, account: Account, raw: bytes | None, kind: tuple[str, str],
        *, took: str = "", more: Headers = (), stream: Play.Stream | None = None,
    ) -> Reply:  # fmt: skip
        said = FORMATS[account.api].headers(account, took)
        headers = (kind, *said, *account.headers, *more, MARK)
        if stream is None:
            return Reply(account.status, headers, raw)
        return Reply(account.status, headers, chunks=stream.chunks, close=stream.close)

    def _leave(self, name: str) -> None:
        self._in_flight[name] -= 1

    def _wall(self) -> float:
        if self._wall_s is not None:
            return self._wall_s()
        loop = asyncio.get_running_loop()
        return loop.wall_s() if isinstance(loop, VirtualLoop) else time.time()


async def _sleep(delay_s: float) -> None:
    if delay_s > 0:
        await asyncio.sleep(delay_s)
