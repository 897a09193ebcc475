"""One question, asked and timed: what `headway ask` does with an engine.

Times are the caller's: from hand-over to the first text and to the end, our own wait and connecting included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from statistics import median

import msgspec

from headway.engine import Engine
from headway.engine.question import Question, Texts, posed
from headway.engine.sentences import CUT, failure
from headway.errors import HeadwayError
from headway.types import Reply, Trace, Usage

__all__ = ["Asked", "Question", "Summed", "ask", "summed"]


class Asked(msgspec.Struct, kw_only=True):
    """What came of it, so far: it is filled in while the answer comes, and stands when it is interrupted."""

    model: str
    text: str = ""
    outcome: str = ""
    """"ok", an `Outcome`, or "" while it is under way."""
    error: str = ""
    """One sentence; "" when it was answered."""
    wrong_call: bool = False
    """The error is the caller's: a setting, the key, the request."""
    ttft_s: float | None = None
    """Until the first text."""
    total_s: float = 0.0
    tokens_per_s: float | None = None
    """Visible tokens after the first one, over the time they took; None where that cannot be told."""
    usage: Usage | None = None
    dollars: float | None = None
    """None: unknown."""
    maybe_billed: bool = False
    cache: str = ""
    cut: bool = False
    """It ended at its token bound."""
    attempts: int = 0


class Summed(msgspec.Struct, frozen=True, kw_only=True):
    """One model's answers: medians of the times, the sum of the dollars (None: unknown)."""

    model: str
    answered: int
    errors: int
    ttft_s: float | None
    total_s: float | None
    tokens_per_s: float | None
    dollars: float | None
    answers: tuple[Asked, ...]


async def ask(
    engine: Engine,
    question: Question,
    asked: Asked,
    *,
    on_text: Callable[[str], None] | None = None,
) -> Asked:
    """Ask once, and fill in `asked`, whatever happens; `on_text` gets each piece of text as it comes.

    A failure is a sentence in `asked.error`. Only cancellation, and what `on_text` raises, comes through; `asked` is
    filled in by then.
    """
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    reply: Reply | None = None
    trace: Trace | None = None
    try:
        reply = await posed(engine, question)
        trace = reply.trace
        if reply.status >= 400:
            data = await reply.read()
            assert trace is not None  # the engine's replies carry their caller's trace
            asked.error = failure(question.path, reply.status, data, trace)
            asked.wrong_call = reply.status in (400, 401, 403, 404, 422)
        else:
            await _listen(question, reply, asked, started_s, on_text)
    except HeadwayError as error:
        asked.error, trace = str(error), trace or error.trace
    finally:
        if reply is not None:
            await reply.aclose()
        _close(asked, trace, loop.time() - started_s)
    return asked


async def _listen(
    question: Question, reply: Reply, asked: Asked, started_s: float, on_text: Callable[[str], None] | None
) -> None:
    """Take the text out of the answer as it comes."""
    loop = asyncio.get_running_loop()
    parts: list[str] = []
    texts = Texts(question.path, reply)
    try:
        async for text in texts:
            if asked.ttft_s is None:
                asked.ttft_s = loop.time() - started_s
            parts.append(text)
            if on_text is not None:
                on_text(text)
    finally:
        asked.text, asked.cut, asked.error = "".join(parts), texts.cut, texts.error


def _close(asked: Asked, trace: Trace | None, total_s: float) -> None:
    asked.total_s = total_s
    if trace is None:
        return
    asked.outcome, asked.usage, asked.dollars = trace.outcome or "", trace.usage, trace.dollars
    asked.maybe_billed, asked.cache, asked.attempts = trace.maybe_billed, trace.cache, trace.attempts
    asked.cut = asked.cut or trace.finish in CUT
    usage, first_s = asked.usage, asked.ttft_s
    if usage is None or first_s is None or asked.attempts == 0:
        return  # an answer that was kept is played, not generated
    tokens, took_s = usage.output_tokens - usage.reasoning_tokens - 1, total_s - first_s
    if tokens > 0 and took_s > 0:
        asked.tokens_per_s = tokens / took_s


def summed(answers: Sequence[Asked]) -> Summed:
    """One model's answers, at least one, summed up."""
    good = [one for one in answers if not one.error and one.outcome == "ok"]
    costs = [one.dollars for one in answers]
    return Summed(
        model=answers[0].model,
        answered=len(good),
        errors=len(answers) - len(good),
        ttft_s=_median([one.ttft_s for one in good]),
        total_s=_median([one.total_s for one in good]),
        tokens_per_s=_median([one.tokens_per_s for one in good]),
        dollars=None if None in costs else sum(cost for cost in costs if cost is not None),
        answers=tuple(answers),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
