"""Where a try goes: the request's own origin and credential, or a configured upstream that stands in for it.

`Route` is the layer where none is configured: one assignment. `Router` chooses, for each try anew:

1. who may: the request's own origin, and the upstreams that stand in for it, have its endpoint and its model. Requests
   that depend on something stored at the provider stay at home. A latency class in the model's place ("fast",
   "fast:7") is answered by listed models of that class and quality; "auto" lets the content rules choose the class.
2. who can: not those whose breaker is open, nor those that this flight has tried; if that leaves nobody, those tried
   before, and if all breakers are open the one that would be probed first: better a doubtful try than a failure.
3. who should: the objective's price and quality times the balancer's expected time (`policy.balance`), unless the one
   that has the prompt's prefix cached is about as good.

An own origin without stand-ins has no breaker: there is nowhere else to go, and retry budget and back-off are what
spares it. What comes of a try is fed back when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from urllib.parse import urlsplit

from headway.attempt.choice import Choice
from headway.attempt.upstreams import UpstreamPrices, to_upstream
from headway.errors import ConnectFailed
from headway.types import Call, Handler, Reply, Trace
from headway.wire import reader_for

__all__ = ["Priced", "Route", "Router", "target_of"]

_HOPELESS = frozenset((401, 402, 403, 404))


def target_of(base_url: str, path: str) -> tuple[str, str]:
    """Join an SDK-style base URL and a path into (origin, path).

    ("https://host/v1", "/v1/responses") and ("https://host/v1", "/responses") both give "/v1/responses": the SDKs'
    base URLs end in the version, while people write paths with it.
    """
    parts = urlsplit(base_url)
    prefix = parts.path.rstrip("/")
    last = prefix.rpartition("/")[2]
    if last and path.startswith(f"/{last}/"):
        path = path[len(last) + 1 :]
    return f"{parts.scheme}://{parts.netloc}", prefix + path


class Route:
    """Names the upstream in the trace: all there is to do where no other is configured."""

    __slots__ = ("_next",)

    def __init__(self, next_: Handler) -> None:
        self._next = next_

    def __call__(self, call: Call) -> Awaitable[Reply]:
        call.trace.upstream = call.origin
        return self._next(call)


class Router:
    """See the module; `choice` does the choosing."""

    __slots__ = ("_next", "choice")

    def __init__(self, next_: Handler, choice: Choice) -> None:
        self._next = next_
        self.choice = choice

    async def __call__(self, call: Call) -> Reply:
        trace, choice = call.trace, self.choice
        options = choice.options(call)
        only = options[0]
        if len(options) == 1 and only.upstream.origin == call.origin and not only.upstream.key_env:
            trace.upstream = only.upstream.name
            return await self._next(to_upstream(call, only.upstream, only.model, flex=False))
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        chosen = choice.choose(call, options, now_s)
        upstream, load = chosen.upstream, chosen.lane.load
        sent = to_upstream(call, upstream, chosen.model, flex=choice.can_flex(call, upstream, now_s))
        trace.upstream, trace.model = upstream.name, chosen.model
        probe = chosen.lane.breaker.enter()
        turn_s, _ = choice.queue_of(call, chosen, now_s)  # a call that waits for its turn is not late
        ticket = load.begin(turn_s + (load.expected_s(call.view.output_tokens_max, now_s) or 1.0), now_s)
        refused = False

        def ended(trace: Trace) -> None:
            choice.learn(call, chosen, ticket, probe, trace, loop.time(), refused=refused)

        trace.on_end(ended)
        reply = await self._next(sent)
        others = upstream.key_env or upstream.origin != call.origin  # not the client's own credential
        if others and reply.status >= 400 and await _refuses_us(sent, reply):
            refused = True
            await reply.aclose()
            raise ConnectFailed(
                f"upstream {upstream.name!r} refused the request with {reply.status}; check "
                f"{upstream.key_env or 'whether it needs a key_env'}, and that it serves model {chosen.model!r}"
            )
        return reply


class Priced:
    """Sits below the budget and corrects a try's dollars to what its upstream charges.

    The attempt bills what the client asked for; here the address, the model and the tier are those that were sent.
    """

    __slots__ = ("_next", "_prices")

    def __init__(self, next_: Handler, prices: UpstreamPrices) -> None:
        self._next = next_
        self._prices = prices

    async def __call__(self, call: Call) -> Reply:
        def priced(trace: Trace) -> None:
            if trace.usage is not None:
                trace.dollars = self._prices.dollars(call, trace.usage)

        call.trace.on_end(priced)
        return await self._next(call)


async def _refuses_us(call: Call, reply: Reply) -> bool:
    """Whether an upstream refuses the key, the bill or the model that were configured for it.

    That is no answer to the client's request, which is good elsewhere.
    """
    if reply.status in _HOPELESS:
        return True
    if reply.status != 429:
        return False
    reader = reader_for(call.path)
    error = reader.read_answer(429, await reply.read()).error if reader is not None else None
    return error is not None and error.outcome == "billing"
