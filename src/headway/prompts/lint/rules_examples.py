"""Rules on examples and names: examples that teach nothing new, long names said over and over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.guard import STOPWORDS
from headway.prompts.lint.passages import Text, words_of
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.source import Source
from headway.wire.tokens import count_tokens

__all__ = ["RULES"]

ALIKE: Final = 0.4
"""Share of words two examples of one label have in common, from which the second teaches nothing."""
EXAMPLES_MAX, EXAMPLE_CHARS_MAX = 200, 400
NAME_CHARS_MIN, NAME_TIMES_MIN = 24, 3
PHRASE_WORDS_MIN, PHRASE_CHARS_MIN, PHRASE_TIMES_MIN = 3, 30, 4

_ARROW: Final = re.compile(r"[ \t](?:-+>|=+>|\u2192)[ \t]+(?P<label>[^\n{}()]{1,120})$", re.MULTILINE)
_LEAD: Final = re.compile(
    r"[ \t]*(?:[-*][ \t]+|\d+[.)][ \t]+)?(?:example[ \t]*\d*[ \t]*[:.][ \t]*|[A-Za-z]{1,12}[ \t]*:[ \t]*)?",
    re.IGNORECASE,
)
_PAIR: Final = re.compile(
    r"^[ \t]*(?:input|q|text|question|message|user|ticket|sentence)[ \t]*\d*[ \t]*:[ \t]*(?P<text>[^\n]{3,400})\n"
    r"[ \t]*(?:output|a|label|answer|assistant|category|class)[ \t]*\d*[ \t]*:[ \t]*(?P<label>[^\n]{1,200})$",
    re.MULTILINE | re.IGNORECASE,
)
_NAME: Final = re.compile(r"\b[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+){2,}\b|\b[a-z]+(?:[A-Z][a-z0-9]+){2,}\b")
_WORDS: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


class _Example(NamedTuple):
    start: int
    end: int
    words: frozenset[str]
    label: str


def _idle(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        seen: list[_Example] = []
        for example in _examples(source, text):
            twin = next((one for one in seen if one.label == example.label and _alike(one.words, example.words)), None)
            if twin is None:
                seen.append(example)
                continue
            line = source.place(text.key, twin.start, twin.end).line
            yield Hit(
                message=f"an example with the label of line {line} and nearly its words",
                key=text.key,
                start=example.start,
                end=example.end,
                fix=_line_out(text, example.start, example.end),
                input_tokens=count_tokens(text.text[example.start : example.end], source.model),
            )


def _examples(source: Source, text: Text) -> list[_Example]:
    labels = tuple(getattr(source.task.output, "labels", ())) if source.task is not None else ()
    found: list[_Example] = []
    for match in _ARROW.finditer(text.text):
        start = text.text.rfind("\n", 0, match.start()) + 1
        lead = _LEAD.match(text.text, start, match.start())
        said = text.text[lead.end() if lead else start : match.start()]
        if 3 <= len(said) <= EXAMPLE_CHARS_MAX:
            found.append(_example(start, match, said, labels))
    found += [_example(match.start(), match, match["text"], labels) for match in _PAIR.finditer(text.text)]
    return sorted(one for one in found if not text.within(one.end - 1, one.end, "column", "code"))[:EXAMPLES_MAX]


def _example(start: int, match: re.Match[str], said: str, labels: tuple[str, ...]) -> _Example:
    return _Example(start, match.end(), frozenset(words_of(said)), _label(match["label"], labels))


def _label(said: str, labels: tuple[str, ...]) -> str:
    """What an example comes to: the label that its answer names, if there is exactly one; else the answer."""
    named = [one for one in labels if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", said, re.IGNORECASE)]
    return named[0] if len(named) == 1 else " ".join(words_of(said))


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)


def _line_out(text: Text, start: int, end: int) -> Edit:
    if text.text[end : end + 1] == "\n":
        end += 1
    return Edit(key=text.key, start=start, end=end)


def _long_names(source: Source) -> Iterator[Hit]:
    for text in source.texts:
        named = Counter(match.group() for match in _NAME.finditer(text.text) if _is_prose(text, match))
        labels = set(getattr(source.task.output, "labels", ())) if source.task is not None else set()
        long = {
            name: times
            for name, times in named.items()
            if len(name) >= NAME_CHARS_MIN and times >= NAME_TIMES_MIN and name not in labels
        }
        for name, times in [*long.items(), *_phrases(text.open)]:
            at = text.text.find(name)
            tokens = max(0, count_tokens(name, source.model) - 2) * (times - 1)
            yield Hit(
                message=f"{name[:60]!r} stands here {times} times; a short name, explained once, would do",
                key=text.key,
                start=max(at, 0),
                end=max(at, 0) + len(name),
                input_tokens=tokens,
            )


def _is_prose(text: Text, match: re.Match[str]) -> bool:
    return not text.within(match.start(), match.end(), "code", "column")


def _phrases(open_text: str) -> list[tuple[str, int]]:
    """The longest runs of words that come again and again, without overlaps."""
    counts: Counter[str] = Counter()
    for line in open_text.split("\x00"):
        spans = [match.span() for match in _WORDS.finditer(line)]
        for width in range(PHRASE_WORDS_MIN, PHRASE_WORDS_MIN + 4):
            for first in range(len(spans) - width + 1):
                words = line[spans[first][0] : spans[first + width - 1][1]]
                if len(words) >= PHRASE_CHARS_MIN and not set(",.;:!?\n") & set(words) and _substantial(words):
                    counts[words] += 1
    found: list[tuple[str, int]] = []
    for words, times in sorted(counts.items(), key=lambda one: (-len(one[0]) * (one[1] - 1), one[0])):
        if times >= PHRASE_TIMES_MIN and not any(words in known or known in words for known, _ in found):
            found.append((words, times))
    return found[:3]


def _substantial(words: str) -> bool:
    """A name begins and ends with a word of its own, and has more of those than little ones."""
    parts = words.casefold().split()
    little = sum(part in STOPWORDS for part in parts)
    return parts[0] not in STOPWORDS and parts[-1] not in STOPWORDS and 2 * little < len(parts)


RULES: Final = (
    Rule(
        id="HW207",
        name="idle-example",
        tier="suggest",
        title="an example with a known label and nearly known words",
        reason="An example pays when it shows a label, a border case or a form that the others do not.",
        find=_idle,
    ),
    Rule(
        id="HW208",
        name="long-name",
        tier="suggest",
        title="long names and phrases that come again and again",
        reason="A name of six tokens that stands in ten places costs sixty; explained once and shortened, about "
        "twenty.",
        find=_long_names,
    ),
)
