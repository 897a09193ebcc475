"""Rules on the prompt's beginning, which providers cache: what changes early, what is too short, what stands first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headway.policy.prefix_cache import PrefixRules, rules_for
from headway.prompts.lint.observed import answered, half, kinds_of
from headway.prompts.lint.passages import Text
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source
from headway.wire import reader_for
from headway.wire.tokens import count_tokens

__all__ = ["RULES", "prefix_tokens"]

JUST_UNDER: Final = 0.7
"""Share of the minimum from which filling the prefix up is worth a thought."""
FIXED_CHARS_MIN: Final = 60
"""Fixed text behind something volatile that makes it matter."""
BEHIND_CHARS_MIN: Final = 200
"""Fixed text behind the row's that is worth moving in front of it."""
CALLS_MIN: Final = 20

_VOLATILE: Final = re.compile(
    r"(?P<id>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"
    r"|(?P<stamp>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d)"
    r"|(?P<named>\$?\{{1,2}\s*(?:current_?)?(?:now|today|date|time|datetime|timestamp|uuid|(?:request|session|trace"
    r"|call|"
    r"run|conversation)_?id)(?:\(\))?\s*\}{1,2})"
    r"|(?P<today>\b(?:today(?:'s date)? is|today:|current (?:date|time)(?: is|:)|date:|it is now|heute ist|hoy es)\s+"
    r"(?=[^\n]{0,20}\d)[^\n.]{4,40})",
    re.IGNORECASE,
)
_WHAT: Final = {"id": "an id", "stamp": "a timestamp", "named": "a value that changes", "today": "today's date"}


def _volatile(source: Source) -> Iterator[Hit]:
    text = source.texts[0] if source.texts else None
    if text is None:
        return
    for match in _VOLATILE.finditer(text.text):
        if text.within(match.start(), match.end(), "code", "quote", "json"):
            continue
        first = next((r.start for r in text.regions if r.kind == "column"), len(text.text))
        if match.start() > first or not _leads(source, text, match.end()):
            return
        behind = count_tokens(text.text[match.end() :], source.model)
        rules = _rules(source)
        pays = rules is not None and prefix_tokens(source) >= rules.tokens_min
        yield Hit(
            message=f"{_WHAT[match.lastgroup or 'named']} in front of {behind:,} fixed tokens, which no cache of "
            "the provider "
            "can reuse then; move it to the end",
            key=text.key,
            start=match.start(),
            end=match.end(),
            cached_tokens=behind if pays else 0.0,
        )
        return


def _leads(source: Source, text: Text, end: int) -> bool:
    """Whether fixed text worth caching stands behind a place."""
    behind = sum(
        region.end - region.start for region in text.regions if region.kind == "column" and region.start >= end
    )
    return len(text.text) - end - behind >= FIXED_CHARS_MIN


def _rules(source: Source) -> PrefixRules | None:
    """How the provider of a task or a request caches; None where that is not known."""
    path = {"text": "", "log": ""}.get(source.kind, _path(source))
    reader = reader_for(path) if path else None
    return rules_for(reader.format, source.model) if reader is not None else None


def _path(source: Source) -> str:
    if source.task is not None:
        return source.task.path
    if "input" in source.settings:
        return "/v1/responses"
    return "/v1/messages" if "system" in source.settings else "/v1/chat/completions"


def prefix_tokens(source: Source) -> int:
    """About how many tokens all requests of a source begin with: up to the first column, the constraint included."""
    tokens = 0
    if (
        source.task is not None
        and source.task.output is not None
        and source.settings.get("output", {}).get("instruct", 1)
    ):
        tokens += count_tokens(source.task.output.instruction(), source.model)
    for text in source.texts:
        column = next((region.start for region in text.regions if region.kind == "column"), None)
        if column is not None and text.key != "system":
            return tokens + count_tokens(text.text[:column], source.model)
        if not text.fixed:
            return tokens
        tokens += count_tokens(text.text, source.model)
    return tokens


def _below_minimum(source: Source) -> Iterator[Hit]:
    if source.kind == "log":
        yield from _below_minimum_seen(source)
        return
    rules = _rules(source)
    if rules is None or not source.texts:
        return
    tokens = prefix_tokens(source)
    if JUST_UNDER * rules.tokens_min <= tokens < rules.tokens_min:
        yield Hit(
            message=f"the fixed part has about {tokens:,} tokens, {rules.tokens_min - tokens:,} fewer than the "
            "provider "
            "caches; another example or two would make all of it cheap",
            key=source.texts[0].key,
            start=0,
            end=0,
            cached_tokens=tokens,
        )


def _below_minimum_seen(source: Source) -> Iterator[Hit]:
    for calls in kinds_of(answered(source.calls)):
        reader = reader_for(calls[0].path)
        rules = rules_for(reader.format, calls[0].model) if reader is not None else None
        if rules is None or len(calls) < CALLS_MIN or any(call.cached_tokens for call in calls):
            continue
        tokens = half(call.input_tokens or 0 for call in calls)
        if JUST_UNDER * rules.tokens_min <= tokens < rules.tokens_min:
            yield Hit(
                message=f"{len(calls):,} calls of {calls[0].model} have about {tokens:,.0f} input tokens; from "
                f"{rules.tokens_min:,} on the provider would cache what they have in common",
            )


def _row_first(source: Source) -> Iterator[Hit]:
    text = next((one for one in source.texts if one.key in ("prompt", "text")), None)
    if text is None:
        return
    columns = [
        region for region in text.regions if region.kind == "column" and not _VOLATILE.match(text.text, region.start)
    ]
    if not columns:
        return
    before, last = text.text[: columns[0].start].strip(), columns[-1]
    behind = text.text[last.end :].strip()
    if len(behind) < BEHIND_CHARS_MIN or len(behind) < 2 * len(before):
        return
    start = last.end + len(text.text[last.end :]) - len(text.text[last.end :].lstrip())
    tokens = count_tokens(behind, source.model)
    rules = _rules(source)
    pays = rules is not None and prefix_tokens(source) + tokens >= rules.tokens_min
    yield Hit(
        message=f"{tokens:,} fixed tokens stand behind the row's text; in front of it the provider can cache them",
        key=text.key,
        start=start,
        end=start + len(behind),
        cached_tokens=tokens if pays else 0.0,
    )


RULES: Final = (
    Rule(
        id="HW301",
        name="volatile-prefix",
        tier="never",
        title="a date, an id or {now} in front of fixed text",
        reason="Providers cache from the first character on; what changes there makes all behind it new, at up to ten "
        "times the price. What it says is yours: it is told, never rewritten.",
        find=_volatile,
    ),
    Rule(
        id="HW302",
        name="prefix-too-short",
        tier="suggest",
        title="a fixed part just under what the provider caches",
        reason="Below the provider's minimum (1,024 tokens with most models, 512 to 4,096 with some) nothing is "
        "cached, "
        "and nothing says so; cached input costs about a tenth.",
        find=_below_minimum,
    ),
    Rule(
        id="HW303",
        name="row-first",
        tier="suggest",
        title="the row's text in front of the instructions",
        reason="Only what all requests begin with is cached: fixed text first, the row last.",
        find=_row_first,
    ),
)
