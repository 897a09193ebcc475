"""Rules on calls: the same asked again, whole documents, calls to merge, calls to split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

from headway.prompts.labels import Labels
from headway.prompts.lint.observed import answered, half, kinds_of, whole_prompt
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source
from headway.prompts.output import Sentence
from headway.store.rows import LogRow
from headway.wire.tokens import count_tokens

__all__ = ["RULES", "mergeable"]

REPEATED_MIN: Final = 0.02
"""Share of calls that a cache would have answered, from which it is worth saying."""
DOCUMENT_TOKENS_MIN: Final = 3_000
KEPT_TOKENS: Final = 1_500
"""What top-k chunks are taken to leave of a document: five of 300 tokens."""
ROWS_MAX: Final = 200
MERGED_MAX: Final = 6
"""Source: FACTS section 7 (at most 6 homogeneous, independent, short-output calls of the same source)."""
SHORT_TOKENS: Final = 64
LONG_TOKENS: Final = 1_000
SPLIT_PART_TOKENS, SPLIT_MAX = 500, 4
GROUPS_MIN, CALLS_MIN = 5, 20

_WHOLE: Final = re.compile(
    r"summar|translat|rewrite|proofread|correct the|whole (?:document|text)|entire|every |all (?:the )?\w+s\b"
    r"|zusammenfass|"
    r"\u00fcbersetz|r\u00e9sum|tradu",
    re.IGNORECASE,
)


def _repeated(source: Source) -> Iterator[Hit]:
    for calls in kinds_of(answered(source.calls)):
        asked = [call for call in calls if call.cache in ("", "off") and whole_prompt(call)]
        again = sum(times - 1 for times in Counter(map(whole_prompt, asked)).values())
        if len(asked) < CALLS_MIN or again < REPEATED_MIN * len(asked):
            continue
        share = again / len(asked)
        prices = [call.dollars for call in asked if call.dollars is not None]
        yield Hit(
            message=f"{again:,} of {len(asked):,} calls of {calls[0].model} ask what was asked before, with the "
            "cache off; "
            "switch it on",
            input_tokens=share * half(call.input_tokens or 0 for call in asked),
            output_tokens=share * half(call.output_tokens or 0 for call in asked),
            dollars=share * sum(prices) / len(prices) if prices else None,
            ms=share * 1e3 * half(call.end_s or 0.0 for call in asked),
        )


def _whole_document(source: Source) -> Iterator[Hit]:
    if not source.rows or any(_WHOLE.search(text.open) for text in source.texts):
        return
    for text in source.texts:
        for region in text.regions:
            if region.kind != "column":
                continue
            name = text.text[region.start : region.end].strip("${} ")
            values = [str(row[name]) for row in source.rows[:ROWS_MAX] if row.get(name)]
            tokens = half(count_tokens(value, source.model) for value in values) if values else 0
            if tokens < DOCUMENT_TOKENS_MIN:
                continue
            yield Hit(
                message=f"{name} holds {tokens:,.0f} tokens in half of the rows; the chunks that bear on the question "
                f"take about {KEPT_TOKENS:,}",
                key=text.key,
                start=region.start,
                end=region.end,
                input_tokens=tokens - KEPT_TOKENS,
            )


def _to_merge(source: Source) -> Iterator[Hit]:
    """Short calls one after the other within a session, about prompts of one size: one call could answer them."""
    groups = [group for group in _sessions(source.calls) if _alike(group)]
    if len(groups) < GROUPS_MIN:
        return
    many = half(len(group) for group in groups)
    input_tokens = half(sum(call.input_tokens or 0 for call in group[1:]) for group in groups)
    first_s = [call.first_content_s or call.end_s or 0.0 for group in groups for call in group]
    yield Hit(
        message=f"{len(groups):,} sessions make about {many:.0f} short calls each, one after the other, on prompts "
        "of one "
        "size; one call with several outputs could answer them",
        input_tokens=input_tokens / many,
        ms=(many - 1) / many * 1e3 * half(first_s),
    )


def _sessions(calls: Sequence[LogRow]) -> list[list[LogRow]]:
    sessions: dict[str, list[LogRow]] = defaultdict(list)
    for call in answered(calls):
        if name := call.parent or call.session:
            sessions[name].append(call)
    return [sorted(group, key=lambda call: call.start_wall_s) for group in sessions.values()]


def _alike(group: list[LogRow]) -> bool:
    """Two to six calls of one model and size, short answers, none begun before the one before it had ended."""
    if not 2 <= len(group) <= MERGED_MAX or len({call.model for call in group}) > 1:
        return False
    sizes = [call.input_tokens or 0 for call in group]
    short = all((call.output_tokens or 0) <= SHORT_TOKENS for call in group)
    if not short or max(sizes) > 1.2 * min(sizes):
        return False
    ends = [call.start_wall_s + (call.end_s or 0.0) for call in group]
    return all(call.start_wall_s >= end for call, end in zip(group[1:], ends, strict=False))


def mergeable(sources: Sequence[Source]) -> Iterator[tuple[Source, Hit]]:
    """Of several tasks, those that ask short things of the same columns and model: at the first of each group."""
    groups: dict[tuple[object, ...], list[Source]] = defaultdict(list)
    for source in sources:
        task = source.task
        if task is None or not isinstance(task.output, Labels | Sentence):
            continue
        group = groups[task.model, task.path, frozenset(task.columns)]
        if task.output not in [other.task.output for other in group if other.task is not None]:
            group.append(source)  # one with the same labels is another version of the same question
    for group in groups.values():
        if 2 <= len(group) <= MERGED_MAX and len({source.file for source in group}) == len(group):
            row = max((count_tokens(str(one), group[0].model) for one in group[0].rows[:ROWS_MAX]), default=0)
            others = ", ".join(source.file for source in group[1:])
            yield (
                group[0],
                Hit(
                    message=f"asks the same columns of the same model as {others}; one call with {len(group)} "
                    "outputs would "
                    "read the row once",
                    input_tokens=float(row * (len(group) - 1)) or None,
                ),
            )


def _to_split(source: Source) -> Iterator[Hit]:
    """Long answers whose time is nearly all generation: parts side by side are done sooner, for more input."""
    kinds = kinds_of(answered(source.calls)) if source.kind == "log" else [answered(source.calls)]
    for calls in kinds:
        if len(calls) < CALLS_MIN:
            continue
        out = half(call.output_tokens or 0 for call in calls)
        timed = [call for call in calls if call.stream and call.first_content_s is not None and call.end_s]
        if out < LONG_TOKENS or not timed:
            continue
        generation_s = half((call.end_s or 0.0) - (call.first_content_s or 0.0) for call in timed)
        if generation_s < 0.8 * half(call.end_s or 0.0 for call in timed):
            continue
        parts = min(SPLIT_MAX, max(2, ceil(out / SPLIT_PART_TOKENS)))
        yield Hit(
            message=f"{len(calls):,} calls of {calls[0].model} write {out:,.0f} tokens each; {parts} calls side by "
            "side, if the "
            "parts are independent, end sooner, for more input",
            input_tokens=-(parts - 1) * half(call.input_tokens or 0 for call in calls),
            ms=(1 - 1 / parts) * generation_s * 1e3,
        )


RULES: Final = (
    Rule(
        id="HW304",
        name="repeated-uncached",
        tier="suggest",
        title="the same asked again, with the cache off",
        reason="An answer that is kept costs nothing and takes microseconds. Where each answer has to be a new one, "
        "leave "
        "it off.",
        find=_repeated,
        needs="a log",
    ),
    Rule(
        id="HW501",
        name="whole-document",
        tier="suggest",
        title="a whole document where a few chunks would do",
        reason="Input is paid and read in full with every question; the chunks that bear on it are a fraction. "
        "Verify: what "
        "is left out cannot be answered from.",
        find=_whole_document,
        needs="rows",
    ),
    Rule(
        id="HW502",
        name="calls-to-merge",
        tier="suggest",
        title="2 to 6 short, alike calls on one source",
        reason="One call reads the source once and saves round trips. It pays for calls one after the other with short "
        "outputs; parallel ones get slower by it, and chains cannot be merged.",
        find=_to_merge,
        needs="a log, or several tasks",
    ),
    Rule(
        id="HW503",
        name="calls-to-split",
        tier="suggest",
        title="long answers that could be written side by side",
        reason="Output comes one token after the other: independent parts side by side take the time of the "
        "longest, for "
        "more input tokens.",
        find=_to_split,
        needs="a log",
    ),
)
