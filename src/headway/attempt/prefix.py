"""Requests arranged for the provider's prompt cache: a key that keeps them together, a breakpoint where it pays.

Sits between route and budget: what is decided depends on who is asked. Nothing that the client set is changed, and no
word of its prompt is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from msgspec.structs import replace

from headway.policy.prefix_cache import PrefixRules, Reuse, break_even, rules_for
from headway.policy.volatile import volatile_between, warning
from headway.types import Call, Handler, Reply, Trace, Usage
from headway.wire.prefix import Head, cache_key, head_of, takes_cache_key
from headway.wire.prices import Prices, Rates
from headway.wire.splice import with_cache_breakpoint, with_prompt_cache_key
from headway.wire.tokens import estimate_tokens

__all__ = ["PrefixCaching", "threshold_of"]

PREFIXES_MAX = 4_096
SCOPES_MAX = 256
"""Upstreams, credentials and models whose last head is kept, to see what changes in it."""
_UNIT = 1_000


class PrefixCaching:
    """The layer.

    Args:
        next_: The budget layer, or what is below it.
        prices: What reads and writes cost.
        warn: Told one sentence, once per upstream, credential and model, about what spoils a prefix.
    """

    __slots__ = ("_heads", "_loop", "_next", "_prefixes", "_prices", "_warn", "_warned")

    def __init__(self, next_: Handler, prices: Prices, warn: Callable[[str], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._prices = prices
        self._warn = warn or _log
        self._prefixes: OrderedDict[bytes, Reuse] = OrderedDict()
        self._heads: OrderedDict[tuple[str, str, str], Head] = OrderedDict()
        self._warned: set[tuple[str, str, str]] = set()

    async def __call__(self, call: Call) -> Reply:
        rules = rules_for(call.view.format, call.view.model)
        head = head_of(call.body) if rules is not None else None
        if rules is None or head is None or head.tokens < rules.tokens_min:
            return await self._next(call)
        self._watch(call, head)
        body = self._marked(call, head, rules) if rules.marked else self._keyed(call, head)
        return await self._next(call if body is None else replace(call, body=body))

    def _keyed(self, call: Call, head: Head) -> bytes | None:
        """With a key that is the same for all requests of this head and credential; None where it may not be."""
        if not takes_cache_key(call.origin, call.path):
            return None
        return with_prompt_cache_key(call.body, cache_key(call.tenant, head))

    def _marked(self, call: Call, head: Head, rules: PrefixRules) -> bytes | None:
        """With a breakpoint behind the head, where that is expected to pay; else None."""
        marked = with_cache_breakpoint(call.body)
        if marked is None:
            return None  # the client set one itself, or nothing can be marked
        reuse = self._reuse(call, head)
        threshold = threshold_of(self._prices.rates(call.view.model, call.origin), rules)
        if not reuse.mark(self._loop.time(), rules, threshold):
            return None

        def ended(trace: Trace) -> None:
            reuse.ended(self._loop.time(), rules, trace.usage)

        call.trace.on_end(ended)
        return marked

    def _reuse(self, call: Call, head: Head) -> Reuse:
        key = head.digest + f"{call.origin} {call.tenant} {call.view.model}".encode()
        reuse = self._prefixes.get(key)
        if reuse is None:
            reuse = self._prefixes[key] = Reuse()
            if len(self._prefixes) > PREFIXES_MAX:
                self._prefixes.popitem(last=False)
        else:
            self._prefixes.move_to_end(key)
        return reuse

    def _watch(self, call: Call, head: Head) -> None:
        """Compare the head with the last one, and tell what keeps them from being the same."""
        scope = (call.origin, call.tenant, call.view.model)
        before = self._heads.get(scope)
        if before is not None and before.digest == head.digest:
            return
        self._heads[scope] = head
        if len(self._heads) > SCOPES_MAX:
            self._warned.discard(self._heads.popitem(last=False)[0])
        found = volatile_between(before.text, head.text) if before is not None and scope not in self._warned else None
        if found is not None:
            self._warned.add(scope)
            after = max(0, head.tokens - estimate_tokens(found.start))
            self._warn(warning(found, where=f"the system prompt for {call.view.model!r}", tokens_after=after))


def threshold_of(rates: Rates | None, rules: PrefixRules) -> float:
    """The break-even hit rate at a model's own prices, where they are known."""
    if rates is None:
        return break_even(rules.write_ratio, rules.read_ratio)
    plain = rates.dollars(Usage(input_tokens=_UNIT))
    if plain <= 0:
        return 1.0
    write = rates.dollars(Usage(input_tokens=_UNIT, cache_write_tokens=_UNIT))
    read = rates.dollars(Usage(input_tokens=_UNIT, cached_tokens=_UNIT))
    return break_even(write / plain, read / plain)


def _log(sentence: str) -> None:
    logging.getLogger("headway.prompt_cache").warning("%s", sentence)
