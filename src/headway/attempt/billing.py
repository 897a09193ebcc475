"""What a try took: tokens and dollars, reported or estimated, never a zero that is not known to be one."""

from __future__ import annotations

from headway.types import Answer, Call, Outcome, Usage
from headway.wire.prices import Prices, tier_ratio
from headway.wire.tokens import estimate_tokens

__all__ = ["bill"]

_CUT_SHORT = frozenset(("abandoned", "deadline", "connection_lost", "provider_timeout", "bad_reply", "closed"))


def bill(call: Call, answer: Answer, outcome: Outcome, prices: Prices, *, content_bytes: int) -> None:
    """Fill in the trace's usage, dollars and finish.

    A request that was sent and cut short may have been billed: its usage is estimated from the prompt and the
    `content_bytes` that came, and the trace says so. One that was never sent, or was refused, cost nothing.
    """
    trace, usage = call.trace, answer.usage
    # An error inside a stream that had begun ends an answer that was being generated, whatever the error is.
    cut = trace.sent_at_s is not None and (outcome in _CUT_SHORT or (outcome != "ok" and content_bytes > 0))
    if usage is None and (outcome == "ok" or cut):
        output = estimate_tokens(content_bytes)
        usage = Usage(input_tokens=call.view.input_tokens, output_tokens=output, estimated=True)
    trace.maybe_billed = cut
    trace.usage = usage
    trace.finish = answer.finish
    if usage is None:
        trace.dollars = 0.0
        return
    model, origin = call.view.model, call.origin
    rates = prices.rates(answer.model or model, origin) or prices.rates(model, origin)
    trace.dollars = rates.dollars(usage) * tier_ratio(call.body) if rates is not None else None
