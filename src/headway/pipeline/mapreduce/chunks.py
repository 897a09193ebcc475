"""A long text in chunks of about equal size, cut at the largest unit that does: headings, paragraphs, sentences, words.

The cuts are `semantic-text-splitter`'s (MIT), which knows Markdown, keeps code blocks whole where they fit and never
cuts a grapheme. It is given a stretch of the text at a time: its work on one stretch grows faster than the stretch.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from headway.errors import ConfigError
from headway.prompts.context import counter_of
from headway.prompts.context.counting import Counter

__all__ = ["Span", "beginning", "check_extra", "counter_for", "equal_spans"]

Span = tuple[int, int]

_HINT: Final = 'pip install "headway[summarize]"'
_FULL: Final = 0.95
"""Chunks are planned to be this full, so that the next good place to cut is still inside of the bound."""
_SLACK: Final = 1.1
"""How far above its share a chunk may go to end at a good place."""
_LOW: Final = 0.7
"""A chunk below this part of its share, as in front of a long paragraph, takes some of what follows it."""
_AHEAD: Final = 1.5


def check_extra() -> None:
    """Find out before anything is sent that the extra is not installed.

    Raises:
        ConfigError: It is not.
    """
    for name in ("regex", "semantic_text_splitter"):
        if find_spec(name) is None:
            raise ConfigError(f"long texts need the package {name}, which is not installed; {_HINT}")


def counter_for(model: str, chars_per_token: float | None = None) -> Counter:
    """What counts a text's tokens: as `headway.fit` does, but that without a tokenizer a token is four bytes.

    Tokenizers work on bytes: for plain English that is the same, and for other scripts and emoji it is no less than
    half of what is billed, where four characters would be a fifth.

    Raises:
        ConfigError: `chars_per_token` is not from 0.5 to 12.
    """
    if chars_per_token is None and find_spec("bpe_openai") is None:
        return _by_bytes
    return partial(_at_least_one, counter_of(model, chars_per_token))


def _by_bytes(text: str) -> int:
    return max(1, (len(text.encode("utf-8", "surrogatepass")) + 3) // 4)


def _at_least_one(count: Counter, text: str) -> int:
    return max(1, count(text))


def equal_spans(text: str, tokens_max: int, count: Counter, pieces: Sequence[Span] = ()) -> list[Span]:
    """The text in as few chunks as fit the bound, of about equal size; together they are the whole text.

    Args:
        text: The text.
        tokens_max: No chunk has more tokens, but for one grapheme that has.
        count: Counts tokens.
        pieces: Spans that the text is made of, in order; chunks end where one ends, but for one that is too long.

    Returns:
        Where they start and end, in characters. None for an empty text.
    """
    if pieces:
        return list(_of_pieces(text, pieces, tokens_max, count))
    return list(_spans(text, 0, len(text), tokens_max, count))


def beginning(text: str, tokens_max: int, count: Counter) -> str:
    """As much of the text's beginning as fits, cut at a good place."""
    return text[: _cut(text, 0, len(text), max(1, int(tokens_max * _FULL)), tokens_max, count)]


def _of_pieces(text: str, pieces: Sequence[Span], tokens_max: int, count: Counter) -> Iterator[Span]:
    sizes = [count(text[start:end]) for start, end in pieces]
    share = _share(sum(sizes), tokens_max)
    start, held = -1, 0
    for (begin, end), size in zip(pieces, sizes, strict=True):
        if held and (held + size > tokens_max or held >= share):
            yield start, begin
            start, held = -1, 0
        if size > tokens_max:
            yield from _spans(text, begin, end, tokens_max, count)
            continue
        start, held = (begin if start < 0 else start), held + size
        last = end
    if held:
        yield start, last


def _share(tokens: int, tokens_max: int) -> int:
    """Tokens of each of the fewest equal chunks."""
    full = max(1, int(tokens_max * _FULL))
    return -(-tokens // max(1, -(-tokens // full)))


def _spans(text: str, start: int, end: int, tokens_max: int, count: Counter) -> Iterator[Span]:
    left, at = count(text[start:end]), start
    while at < end:
        want = min(tokens_max, max(1, _share(left, tokens_max)))
        stop = _cut(text, at, end, want, min(tokens_max, int(want * _SLACK) + 1), count)
        yield at, stop
        left -= count(text[at:stop])
        at = stop
        if left < 2 * tokens_max:  # each count was rounded up: what is really left is counted anew
            left = count(text[at:end])


def _cut(text: str, at: int, end: int, want: int, most: int, count: Counter) -> int:
    """Where the chunk ends that begins at `at`: some `want` tokens behind it, at the best place, `most` at the most."""
    ahead = _stretch(text, at, end, int(most * _AHEAD) + 1, count)
    if ahead == end and count(text[at:end]) <= most:
        return end
    stop, low = at, int(want * _LOW)
    for offset, piece in _splitter(want, most, count).chunk_indices(text[at:ahead]):
        behind: int = at + offset + len(piece)
        if stop > at and count(text[at:behind]) > most:
            break
        stop = behind
        if count(text[at:stop]) >= low:
            return stop
    held = count(text[at:stop])
    if stop == ahead or held >= most:
        return stop
    found = _splitter(max(1, want - held), most - held, count).chunk_indices(text[stop:ahead])
    behind = stop + len(str(found[0][1]))  # a short paragraph in front of a long one: some of the long one as well
    return behind if count(text[at:behind]) <= most else stop


def _stretch(text: str, at: int, end: int, tokens: int, count: Counter) -> int:
    """An end so far behind `at` that at least so many tokens lie between, or the end of all."""
    length = tokens
    while at + length < end and count(text[at : at + length]) < tokens:
        length *= 2
    return min(end, at + length)


def _splitter(want: int, most: int, count: Counter) -> Any:
    module: Any = importlib.import_module("semantic_text_splitter")
    return module.MarkdownSplitter.from_callback(count, (min(want, most), most), trim=False)
