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

from headway.sim.account import Account, bearer, content_of
from headway.sim.ask import Api, Ask, read_ask
from headway.sim.bodies import Meta, chat_body, embeddings_body, output_items, response_object
from headway.sim.content import Author, Completion
from headway.sim.directory import check_key, look_up
from headway.sim.embed import vector
from headway.sim.faults import fault_asked, fault_for
from headway.sim.latency import Timing, error_s, network_s, timing
from headway.sim.ledger import Ledger, price_lookup
from headway.sim.limits import Limits, charge_tokens
from headway.sim.loop import VirtualLoop
from headway.sim.play import Play, cut_off, play_stream, play_whole, refusal_of
from headway.sim.prefix import PrefixCache
from headway.sim.profiles import Profile, profile_for
from headway.sim.refusals import HTML, Refused, invalid, model_not_found, rate_limited
from headway.sim.settings import SimSettings
from headway.sim.text import Memo, count_tokens, dice, digest, memo_key
from headway.types import Call, Headers, Reply, Usage

__all__ = ["MARK", "Simulator"]

MARK: Final = ("x-headway-simulator", "1")
"""On every answer: this is a simulator, not a model."""

_JSON: Final = ("content-type", "application/json")
_POSTS: Final[dict[str, Api]] = {
    "/v1/responses": "responses",
    "/v1/chat/completions": "chat",
    "/v1/embeddings": "embeddings",
}
_CONTENTS_MAX: Final = 200_000
_LONG_TEXT: Final = 200


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
        self._limits = Limits(
            rpm=settings.rpm, tpm=settings.tpm, capacity_s=settings.capacity_s, start_full=settings.start_full
        )
        self._prefixes = PrefixCache(settings.prefix_ttl_s)
        self._author = Author(settings.seed, settings.quality)
        self._attempts: Memo[bytes, int] = Memo(_CONTENTS_MAX)
        self._lengths: Memo[str | bytes, int] = Memo(2_048)
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
        path = path.partition("?")[0]
        api = _POSTS.get(path) if method == "POST" else None
        if api is None:
            return self._look_up(method, path, bearer(headers))
        now_s = asyncio.get_running_loop().time()
        self._first_s = now_s if self._first_s is None else self._first_s
        account = Account(path=path, key=bearer(headers), arrived_s=now_s, wall_s=self._wall(), ledger=self.ledger)
        try:
            return await self._answer(api, account, headers, body)
        except Refused as refused:
            account.status = refused.status
            account.id = account.id or digest("id", str(now_s), body).hex()
            account.close(refused.outcome)
            await _sleep(error_s(self.settings.region, self.settings.latency_scale))
            raw, kind = (HTML, ("content-type", "text/html")) if account.fault == "html" else (refused.body(), _JSON)
            return self._reply(account, raw, kind, refused.headers, status=refused.status)
        except BaseException:
            account.close("aborted")
            raise

    async def _answer(self, api: Api, account: Account, headers: Headers, body: bytes) -> Reply:
        """Everything up to the first byte that goes back."""
        settings = self.settings
        if len(body) > settings.body_bytes_max:
            raise Refused(413, "Request body too large.", "invalid_request_error", None)
        check_key(account.key, settings.api_keys)
        ask = read_ask(api, body)
        words, content = content_of(ask)
        account.number = self._attempts.put(content, (self._attempts.get(content) or 0) + 1)
        account.rng = dice(settings.seed, "attempt", content, account.number)
        account.id = digest("id", settings.seed, content, account.number).hex()
        account.content, account.model, account.stream = content.hex()[:16], ask.model, ask.stream
        round_trip_s = network_s(settings.region, settings.latency_scale, account.rng)
        await _sleep(round_trip_s / 2)
        name, profile = self._admit(ask, account)
        account.fault = self._fault(account, headers)
        if refused := refusal_of(account.fault, stream=ask.stream):
            refused.headers = self._retry_after(1_000) if account.fault == "429" else ()
            raise refused
        tokens = self._prompt_tokens(ask)
        if tokens > profile.context_tokens:
            raise invalid(
                f"This model's maximum context length is {profile.context_tokens} tokens. However, your messages"
                f" resulted in {tokens} tokens. Please reduce the length of the messages.",
                "messages", "context_length_exceeded",
            )  # fmt: skip
        cached = self._cached(ask, name, account.credential, tokens)
        drawn = self._timing(profile, name, account, tokens - cached)
        self._in_flight[name] = self._in_flight.get(name, 0) + 1
        play = Play(
            account=account, timing=drawn, network_s=round_trip_s / 2, stall_s=settings.stall_s,
            leave=lambda: self._leave(name),
        )  # fmt: skip
        try:
            return await self._play(ask, play, profile, words, Usage(input_tokens=tokens, cached_tokens=cached))
        except BaseException:
            play.end("aborted")
            raise

    async def _play(self, ask: Ask, play: Play, profile: Profile, words: bytes, prompt: Usage) -> Reply:
        """Write the answer and let it come in its own time."""
        account = play.account
        if ask.api == "embeddings":
            account.usage = prompt
            raw = self._embeddings(ask, profile, Meta(id=account.id, model=ask.model, created_wall_s=0, usage=prompt))
            return self._whole(await play_whole(play, raw), account, play)
        done = [self._author.write(ask, profile, prompt.input_tokens, words, index) for index in range(ask.answers)]
        if account.fault == "empty":
            done = [Completion(tokens=(), finish="stop") for _ in done]
        usage = Usage(
            input_tokens=prompt.input_tokens,
            cached_tokens=prompt.cached_tokens,
            output_tokens=sum(each.output_tokens for each in done),
            reasoning_tokens=sum(each.reasoning_tokens for each in done),
        )
        account.usage = usage
        play.longest = max(each.output_tokens for each in done)
        play.answers = len(done)
        meta = Meta(id=account.id[:24], model=ask.model, created_wall_s=int(self._wall()), usage=usage)
        if ask.stream:
            await play.start()
            account.status = 200
            stream = play_stream(play, ask, done, meta)
            kind = ("content-type", "text/event-stream; charset=utf-8")
            return self._reply(account, None, kind, (("openai-processing-ms", play.processing_ms()),), stream=stream)
        if ask.api == "chat":
            raw = msgspec.json.encode(chat_body(done, meta))
        else:
            status = "incomplete" if done[0].finish == "length" else "completed"
            raw = msgspec.json.encode(response_object(ask, meta, status=status, output=output_items(done[0], meta)))
        return self._whole(await play_whole(play, raw), account, play)

    def _admit(self, ask: Ask, account: Account) -> tuple[str, Profile]:
        """Find the model and charge the buckets. Raises `Refused`."""
        found = profile_for(ask.model)
        if found is None or bool(found[1].dimensions) != (ask.api == "embeddings"):
            raise model_not_found(ask.model)
        name, profile = found
        if (ask.dimensions or 0) > profile.dimensions:
            raise invalid(f"Invalid value for 'dimensions': must be at most {profile.dimensions}.", "dimensions")
        family = profile.family or name
        bound = ask.tokens_max * ask.answers if ask.tokens_max else None
        now_s = asyncio.get_running_loop().time()
        refusal = self._limits.admit(account.credential, ask.model, family, charge_tokens(ask.chars, bound), now_s)
        if self.settings.headers:
            account.headers = self._limits.headers(account.credential, family, now_s)
        if refusal is not None:
            raise rate_limited(refusal.message, refusal.kind, self._retry_after(refusal.wait_ms))
        return name, profile

    def _retry_after(self, wait_ms: int | None) -> Headers:
        if not self.settings.retry_after or not self.settings.headers or wait_ms is None:
            return ()
        return ("retry-after", str(-(-wait_ms // 1_000))), ("retry-after-ms", str(wait_ms))

    def _fault(self, account: Account, headers: Headers) -> str:
        """The fault of this attempt: the one asked for, else what the dice say."""
        asked = next((value for name, value in headers if name == "x-sim-fault"), "")
        if asked and self.settings.fault_header:
            return fault_asked(asked, account.number)
        elapsed_s = asyncio.get_running_loop().time() - (self._first_s or 0.0)
        return fault_for(self.settings.faults, elapsed_s, account.rng)

    def _timing(self, profile: Profile, name: str, account: Account, uncached: int) -> Timing:
        return timing(
            profile,
            uncached_tokens=uncached,
            in_flight=self._in_flight.get(name, 0),
            capacity=self.settings.capacity,
            scale=self.settings.latency_scale * (10 if account.fault == "slow" else 1),
            rng=account.rng,
        )

    def _prompt_tokens(self, ask: Ask) -> int:
        """Four tokens a message and three for the answer's start, as the provider's cookbook counts them."""
        if ask.api == "embeddings":
            return sum(map(count_tokens, ask.texts))
        total = 3 + 4 * len(ask.turns) + sum(self._length(turn.text) for turn in ask.turns)
        extra = [msgspec.json.encode(part).decode() for part in (ask.schema, ask.tools) if part]
        return total + sum(self._length(text) for text in extra)

    def _length(self, text: str) -> int:
        """Long paragraphs tend to come again (system prompts, schemas): counted once."""
        if len(text) < _LONG_TEXT:
            return count_tokens(text)
        parts = text.split("\n\n")
        return sum(map(self._paragraph, parts)) + len(parts) - 1

    def _paragraph(self, text: str) -> int:
        if len(text) < _LONG_TEXT:
            return count_tokens(text)
        key = memo_key(text)
        return self._lengths.get(key) or self._lengths.put(key, count_tokens(text))

    def _cached(self, ask: Ask, name: str, credential: str, tokens: int) -> int:
        if tokens < 1_024 or ask.api == "embeddings":
            return 0
        scope = digest(credential, name, ask.cache_key, msgspec.json.encode((ask.tools, ask.schema)))
        prompt = "\x00".join(f"{turn.role}\n{turn.text}" for turn in ask.turns)
        return self._prefixes.use(scope, prompt, tokens, asyncio.get_running_loop().time())

    def _embeddings(self, ask: Ask, profile: Profile, meta: Meta) -> bytes:
        size = ask.body.get("dimensions") or profile.dimensions
        if not isinstance(size, int) or not 1 <= size <= profile.dimensions:
            raise invalid(
                f"Invalid value for 'dimensions' = {size}. Must be from 1 to {profile.dimensions}.", "dimensions"
            )
        vectors = [vector(text, size, self.settings.seed) for text in ask.texts]
        return msgspec.json.encode(embeddings_body(vectors, ask, meta))

    def _whole(self, raw: bytes, account: Account, play: Play) -> Reply:
        took = ("openai-processing-ms", play.processing_ms())
        if account.fault == "truncated":
            size = ("content-length", str(len(raw)))
            return self._reply(account, None, _JSON, (took, size), stream=cut_off(raw))
        return self._reply(account, raw, _JSON, (took,))

    def _reply(
        self, account: Account, raw: bytes | None, kind: tuple[str, str], more: Headers,
        *, status: int = 200, stream: Play.Stream | None = None,
    ) -> Reply:  # fmt: skip
        headers = (
            kind,
            ("x-request-id", f"req_{account.id}"),
            ("openai-organization", "org-sim"),
            ("openai-version", "2020-10-01"),
            *((("openai-model", account.model),) if account.model else ()),
            *account.headers,
            *more,
            MARK,
        )
        if stream is None:
            return Reply(status, headers, raw)
        return Reply(status, headers, chunks=stream.chunks, close=stream.close)

    def _look_up(self, method: str, path: str, key: str) -> Reply:
        try:
            return Reply(200, (_JSON, MARK), look_up(method, path, key, self.settings.api_keys, self.ledger))
        except Refused as refused:
            return Reply(refused.status, (_JSON, MARK), refused.body())

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
