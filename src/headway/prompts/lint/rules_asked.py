"""Rules on what is asked for: reasoning that nobody reads, prose where a label would do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headway.prompts.labels import Labels
from headway.prompts.lint.findings import Change
from headway.prompts.lint.passages import open_passages
from headway.prompts.lint.removing import removal
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source
from headway.prompts.output import Sentence

__all__ = ["REASONING_TOKENS", "RULES", "short_answer"]

REASONING_TOKENS: Final = 100
"""What an explanation in a few sentences is taken to have, where no log tells."""

_REASONING: Final = re.compile(
    r"step[- ]by[- ]step|chain of thought|think (?:out )?(?:aloud|loud)|(?:explain|describe|show|write down"
    r"|lay out) your "
    r"(?:reasoning|thinking|thought)|(?:explain|justify|give (?:a |the )?reasons? for) your (?:decision|choice|answer)|"
    r"schritt f\u00fcr schritt|paso a paso|\u00e9tape par \u00e9tape",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(r"\b(?:not|never|no|without|don't|avoid)\b[^.!?,;]{0,30}\Z", re.IGNORECASE)
_DECISION: Final = re.compile(
    r"\b(?:classify|categori[sz]e|decide (?:whether|if|which)|label|sort|assign|determine (?:whether|if)|rate|score)\b",
    re.IGNORECASE,
)
_PROSE: Final = re.compile(
    r"(?:detailed |long |full |complete )?paragraphs?\b(?= (?:that|which|explaining|about|of))|in (?:full"
    r"|complete) sentences"
    r"|detailed explanation|as much detail as|essay (?:on|about|explaining)|at length\b",
    re.IGNORECASE,
)
_ONE_WORD: Final = re.compile(
    r"\b(?:(?:return|answer|reply|respond|output)(?: with)?(?: only| just) (?:the|a|one) (?:single )?(?:label|word"
    r"|category|"
    r"class|name)|(?:the )?label (?:only|alone)|(?:only|just) the (?:label|category|class)|one word(?: only)?)\b",
    re.IGNORECASE,
)

_LABEL_WISHED: Final = re.compile(
    r"\b(?:the|a|one|final|right|best|matching|only|your|its) (?:\w+ )?(?:label|category|class|intent|sentiment)\b"
    r"|\b(?:classify|categori[sz]e)\b",
    re.IGNORECASE,
)


def short_answer(source: Source) -> bool:
    """Whether what is kept of an answer is a label, or one sentence."""
    if source.task is not None:
        return isinstance(source.task.output, Labels | Sentence)
    return any(_ONE_WORD.search(text.prose) for text in source.texts)


def _unused_reasoning(source: Source) -> Iterator[Hit]:
    short = short_answer(source)
    if not short and not _may_read_a_label(source):
        return
    for text, passage in open_passages(source.texts):
        match = _REASONING.search(text.open, passage.start, passage.end)
        if match is None or _NEGATED.search(text.open[passage.start : match.start()]):
            continue
        alone = short and not _DECISION.search(passage.text)
        yield Hit(
            message="asks for reasoning in the answer, of which only a label is kept"
            if short
            else "asks for reasoning before a label; if only the label is read, the reasoning is paid for and not used",
            key=text.key,
            start=passage.start,
            end=passage.end,
            fix=removal(text, passage.start, passage.end) if alone else None,
            output_tokens=_reasoning_tokens(source),
        )
        return


def _may_read_a_label(source: Source) -> bool:
    """Whether a prompt that says nothing of what is read asks for a label, so that it may be all that is."""
    return source.task is None and any(_LABEL_WISHED.search(text.prose) for text in source.texts)


def _reasoning_tokens(source: Source) -> float:
    """What answers have beyond a label: by the log's median, or as assumed; never more than the bound allows."""
    seen = sorted(call.output_tokens for call in source.calls if call.outcome == "ok" and call.output_tokens)
    bound = source.task.max_output_tokens if source.task is not None else None
    label = 8
    expected = seen[len(seen) // 2] - label if seen else REASONING_TOKENS
    return max(0, expected if bound is None else min(expected, bound - label))


def _prose(source: Source) -> Iterator[Hit]:
    decides = any(_DECISION.search(text.open) for text in source.texts)
    if not decides or (source.task is not None and not short_answer(source) and source.settings.get("output")):
        return
    for text, passage in open_passages(source.texts):
        match = _PROSE.search(text.open, passage.start, passage.end)
        if match is not None and not _NEGATED.search(text.open[passage.start : match.start()]):
            yield Hit(
                message="asks for prose about a decision; a label, or three bullets, say it in a few tokens",
                key=text.key,
                start=passage.start,
                end=passage.end,
                output_tokens=REASONING_TOKENS,
            )


def _label_list(source: Source) -> Iterator[Hit]:
    """Labels that stand in the prompt only: as a constraint they bound the answer and check it."""
    if source.task is None or source.settings.get("output"):
        return
    pattern = re.compile(
        r"one of(?: these| the following)?(?: \w+)?:? (?P<list>[\w-]+(?:, (?:or )?[\w-]+)+)", re.IGNORECASE
    )
    for text in source.texts:
        if match := pattern.search(text.open):
            labels = [re.sub(r"^or ", "", one.strip()) for one in match["list"].split(",")]
            yield Hit(
                message="the labels stand in the prompt alone; as output.labels they bound and check the answer",
                key=text.key,
                start=match.start(),
                end=match.end(),
                change=Change(key="output.labels", value=labels),
            )
            return


def _prose_for_label(source: Source) -> Iterator[Hit]:
    yield from _prose(source)
    yield from _label_list(source)


RULES: Final = (
    Rule(
        id="HW205",
        name="unused-reasoning",
        tier="suggest",
        title="reasoning asked for and thrown away",
        reason="Output tokens are the dear and slow ones: an explanation takes a hundred or so, a label five. Where "
        "the "
        "reasoning makes labels better, rows will show it.",
        find=_unused_reasoning,
    ),
    Rule(
        id="HW206",
        name="prose-for-label",
        tier="suggest",
        title="prose where a label or bullets would do",
        reason="A constraint bounds the answer, checks it, and asks for it in fewer words.",
        find=_prose_for_label,
    ),
)
