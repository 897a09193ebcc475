"""Rules on the answer's length: no bound, no stop, a bound far above what comes, thinking that is not kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil
from typing import Final

from headway.policy.output_bound import BOUND_MIN, MARGIN, STEP
from headway.prompts.lint.findings import Change
from headway.prompts.lint.observed import answered, half, kinds_of, p99
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.rules_asked import short_answer
from headway.prompts.lint.source import Source
from headway.prompts.output import Bullets, Json, Text
from headway.store.rows import LogRow

__all__ = ["RULES"]

FAR: Final = 3.0
"""How many times the bound that answers need makes one far too wide."""
THINKING_MIN, SHORT_MAX, CALLS_MIN = 64, 16, 20

_BOUNDS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_LENGTH: Final = re.compile(
    r"\d+ (?:words?|sentences?|bullets?|lines?|characters?|paragraphs?|items?|tokens?|w\u00f6rter|s\u00e4tze|mots"
    r"|palabras)\b"
    r"|\b(?:one|a single|two|three|four|five)(?: short)? (?:words?|sentences?|bullets?|lines?|paragraphs?|numbers?)\b"
    r"|\b(?:brief(?:ly)?|concise(?:ly)?|short|yes or no|alone|nothing else|only the|just the)\b",
    re.IGNORECASE,
)
_CUE: Final = re.compile(r"^(?P<cue>[A-Z][A-Za-z]{0,11}[ \t]*:)", re.MULTILINE)


def _unbounded(source: Source) -> Iterator[Hit]:
    if source.kind not in ("task", "request") or any(source.settings.get(name) for name in _BOUNDS):
        return
    task = source.task
    if task is not None:
        open_ended = isinstance(task.output, Text) or (isinstance(task.output, Json) and task.output.schema is None)
        open_ended = open_ended or (isinstance(task.output, Bullets) and task.output.words_max is None)
        if not open_ended:
            return
    if any(_LENGTH.search(text.text) for text in source.texts):
        return
    bound = _bound_for(answered(source.calls))
    yield Hit(
        message="nothing bounds the answer: neither max_output_tokens nor a length in the prompt",
        key="max_output_tokens",
        change=None if bound is None else Change(key="max_output_tokens", value=bound),
    )


def _no_stop(source: Source) -> Iterator[Hit]:
    """Examples in turns ("Q: ... A: ...") whose last turn the model is to write: it may go on with the next."""
    task, settings = source.task, source.settings
    if source.kind not in ("task", "request") or settings.get("stop") or settings.get("stop_sequences"):
        return
    if "input" in settings or (task is not None and (task.api == "responses" or task.stops)):
        return
    last = source.texts[-1] if source.texts else None
    cues = [match["cue"] for match in _CUE.finditer(last.text)] if last is not None else []
    if last is None or len(cues) < 4 or not last.text.rstrip().endswith(cues[-1]) or cues.count(cues[-1]) < 2:
        return
    first = next(cue for cue in cues if cue != cues[-1]) if len(set(cues)) > 1 else cues[-1]
    start = last.text.rstrip().rindex(cues[-1])
    yield Hit(
        message=f"the examples' form invites the model to go on with the next one; stop at a new line and {first!r}",
        key=last.key,
        start=start,
        end=start + len(cues[-1]),
        change=Change(key="stop", value=["\n" + first]),
    )


def _far_over(source: Source) -> Iterator[Hit]:
    for calls in _kinds(source):
        bound, wanted = _bound_of(source, calls), _bound_for(calls)
        if bound is None or wanted is None or bound < FAR * wanted:
            continue
        most = p99([call.output_tokens or 0 for call in calls])
        yield Hit(
            message=f"{_of(source, calls)} a bound of {bound:,} tokens, where 99 of 100 answers take {most:,} or "
            "fewer; "
            f"{wanted:,} would do",
            key="max_output_tokens",
            change=Change(key="max_output_tokens", value=wanted),
        )


def _unused_thinking(source: Source) -> Iterator[Hit]:
    for calls in _kinds(source):
        if len(calls) < CALLS_MIN:
            continue
        thinking = half(call.reasoning_tokens or 0 for call in calls)
        said = half((call.output_tokens or 0) - (call.reasoning_tokens or 0) for call in calls)
        if thinking < THINKING_MIN or (said > SHORT_MAX and not short_answer(source)):
            continue
        yield Hit(
            message=f"{_of(source, calls)} {thinking:,.0f} tokens of thinking for {said:,.0f} of answer; try less "
            "effort",
            key="reasoning_effort",
            output_tokens=thinking,
            change=Change(key="reasoning_effort", value="low"),
        )


def _kinds(source: Source) -> list[list[LogRow]]:
    """A task's calls are of one kind; a log's are told apart."""
    calls = answered(source.calls)
    return kinds_of(calls) if source.kind == "log" else [calls] if calls else []


def _of(source: Source, calls: list[LogRow]) -> str:
    step = f", step {calls[0].step}" if calls[0].step else ""
    return f"{len(calls):,} calls of {calls[0].model}{step} have"


def _bound_of(source: Source, calls: list[LogRow]) -> int | None:
    """What bounds the answers now: the task's own word, else the greatest that the log shows."""
    if source.task is not None:
        return source.task.max_output_tokens
    return max((call.output_tokens_max for call in calls if call.output_tokens_max), default=None)


def _bound_for(calls: list[LogRow]) -> int | None:
    """What would do: the 99th percentile and a quarter, as `policy.output_bound` has it; None for too few calls."""
    most = p99([call.output_tokens or 0 for call in calls])
    return None if most is None else max(BOUND_MIN, STEP * ceil(MARGIN * most / STEP))


RULES: Final = (
    Rule(
        id="HW401",
        name="unbounded-output",
        tier="suggest",
        title="an answer without a bound",
        reason="Output is the dear and slow part, and providers charge the bound against tokens a minute before "
        "they know "
        "the answer; without one, a single answer may run to the model's limit.",
        find=_unbounded,
        needs="a task or a request",
    ),
    Rule(
        id="HW402",
        name="missing-stop",
        tier="suggest",
        title="examples in turns without a stop text",
        reason="A model that has answered goes on with the next example; the tokens are paid for and cut off later.",
        find=_no_stop,
        needs="a task or a request",
    ),
    Rule(
        id="HW403",
        name="bound-too-wide",
        tier="suggest",
        title="max_tokens far over what answers take",
        reason="Limits in tokens a minute are charged with the bound, not with the answer: one that is far too wide is "
        "rate that is not used.",
        find=_far_over,
        needs="a log",
    ),
    Rule(
        id="HW404",
        name="unused-thinking",
        tier="suggest",
        title="much thinking for a short answer",
        reason="Thinking is billed and waited for as output. Less effort may do; rows will show it.",
        find=_unused_thinking,
        needs="a log",
    ),
)
