"""`headway.fit`: a text in at most so many tokens, cut where it may be cut, with all that must be kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from headway.errors import ConfigError, InputError
from headway.prompts.context.choose import best, ends_of
from headway.prompts.context.counting import Counter, counter_of
from headway.prompts.context.keep import check_keep, keep_spans, unmarked
from headway.prompts.context.layout import Part, Span, hard_spans, headings, parts_of
from headway.prompts.context.regexes import check_extra

__all__ = ["HOW", "MARKER", "TOKENS_MIN", "Fitted", "check_fit", "cut_to", "fit"]

HOW: Final = ("truncate", "sections", "top_k")
MARKER: Final = "[... {tokens} tokens left out ...]"
TOKENS_MIN: Final = 16
_MARKER_SHARE: Final = 0.25
"""A marker that would take more than this share of the budget is left off."""
_TRIES_MAX: Final = 16


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A text that fits."""

    text: str
    tokens: int
    """Of `text`, by the counter in use."""
    tokens_before: int
    """Of the text as it was, without its marks."""
    how: str
    """"whole" where nothing was cut; else "truncate", "sections", "top_k", or "summarise"."""
    kept: tuple[str, ...] = ()
    """The passages that had to be kept, in order, as they stand in `text`."""
    dollars: float | None = 0.0
    """Spent on a summary; None where the model's price is unknown."""

    @property
    def cut(self) -> bool:
        """Whether anything was left out."""
        return self.how != "whole"

    @property
    def left_out_tokens(self) -> int:
        """Tokens saved: those of the text as it was, less those of this one."""
        return max(0, self.tokens_before - self.tokens)


def fit(
    text: str,
    *,
    tokens_max: int,
    how: Literal["truncate", "sections", "top_k"] = "truncate",
    query: str = "",
    keep: Sequence[str] = (),
    model: str = "",
    tail: float = 0.0,
    marker: str = MARKER,
    marks: bool = True,
    chunk_tokens: int | None = None,
    chars_per_token: float | None = None,
) -> Fitted:
    """Bring a text under a number of tokens. A text that fits is left as it is.

    Code blocks in fences, JSON objects and arrays, and graphemes are never cut; the rest is cut between paragraphs,
    else between sentences, else between words. The same arguments give the same text, and fitting twice is fitting
    once. Needs ``pip install "headway[context]"``.

    Args:
        text: The text.
        tokens_max: Tokens of the result, markers included, from 16. Counted with the tokenizer of ``headway[tokens]``,
            else estimated at four characters a token.
        how: "truncate" keeps the beginning; "top_k" the passages that answer the query best, in the text's order;
            "sections" the sections that do, by their headings, and of one that is too long its best passages. Where
            no word of the query occurs, the beginning is kept.
        query: What "sections" and "top_k" judge by; words are what counts.
        keep: What must stay: "## Terms" (that heading and all below it), "re:^WARNING" (lines), any other text
            (wherever it stands). A rule that touches a code block or JSON keeps all of it.
        model: Whose tokens are counted.
        tail: The share of the room, 0 to 1, that "truncate" gives to the text's end.
        marker: Stands where something was left out; ``{tokens}`` says how much. "" for none; also left off where
            it would take more than a quarter of `tokens_max`.
        marks: Whether ``<keep>...</keep>`` in the text marks what must stay. The marks themselves are taken out.
        chunk_tokens: The size of "top_k"'s passages, from 16; by default an eighth of `tokens_max`, from 64 to 256.
        chars_per_token: Estimate by this many, 0.5 to 12, and count nothing; see `Calibration`.

    Raises:
        ConfigError: An argument is wrong, or the extra is not installed.
        InputError: What must be kept is longer than `tokens_max`; or nothing of the text fits without cutting what
            may not be cut.
    """
    check_fit(how=how, tokens_max=tokens_max, tail=tail, chunk_tokens=chunk_tokens, keep=keep)
    count = counter_of(model, chars_per_token)
    marked: list[Span] = []
    if marks:
        text, marked = unmarked(text)
    before = count(text)
    if before <= tokens_max:
        kept = tuple(text[start:end] for start, end in marked)
        return Fitted(text=text, tokens=before, tokens_before=before, how="whole", kept=kept)
    hard = hard_spans(text)
    heads = headings(text, hard) if keep or how != "truncate" else []
    parts = parts_of(text, hard, [*marked, *keep_spans(text, keep, heads)])
    page = _Page(text, parts, count, marker if count(marker) <= _MARKER_SHARE * tokens_max else "")
    choose: Callable[[int], list[Span]] | None = None
    if how != "truncate" and query.strip():
        size = chunk_tokens or min(256, max(64, tokens_max // 8))
        choose = best(text, parts, heads if how == "sections" else (), heads, query, count, size)
    used = "truncate" if choose is None else how
    out = page.filled(choose or ends_of(text, parts, count, tail), tokens_max)
    return Fitted(text=out, tokens=count(out), tokens_before=before, how=used, kept=page.kept)


def cut_to(text: str, tokens_max: int, count: Counter) -> str:
    """The beginning of a text, without a word on what is left out. Raises `InputError` where nothing of it fits."""
    if count(text) <= tokens_max:
        return text
    parts = parts_of(text, hard_spans(text), [])
    return _Page(text, parts, count, "").filled(ends_of(text, parts, count, 0.0), tokens_max)


def check_fit(*, how: str, tokens_max: int, tail: float, chunk_tokens: int | None, keep: Sequence[str]) -> None:
    """What a type checker cannot say of `fit`'s arguments. Raises `ConfigError`."""
    check_extra()
    if how not in HOW:
        raise ConfigError(f"how must be one of {', '.join(HOW)}, not {how!r}")
    if tokens_max < TOKENS_MIN:
        raise ConfigError(f"tokens_max must be a number from {TOKENS_MIN}, not {tokens_max}")
    if not 0 <= tail <= 1:
        raise ConfigError(f"tail must be a share from 0 to 1, not {tail}")
    if chunk_tokens is not None and chunk_tokens < TOKENS_MIN:
        raise ConfigError(f"chunk_tokens must be a number from {TOKENS_MIN}, not {chunk_tokens}")
    check_keep(keep)


class _Page:
    """A text that is too long, on its way to fewer tokens."""

    def __init__(self, text: str, parts: Sequence[Part], count: Counter, marker: str) -> None:
        self._text = text
        self._count = count
        self._marker = marker
        self._must = [(part.start, part.end) for part in parts if part.keep]
        self.kept = tuple(text[start:end] for start, end in self._must)

    def filled(self, choose: Callable[[int], list[Span]], tokens_max: int) -> str:
        """What is chosen for the room that the kept passages leave, and the passages, in the text's order.

        Raises:
            InputError: See `fit`.
        """
        out = self._tried(choose, tokens_max)
        if out is None and self._marker:
            self._marker = ""
            out = self._tried(choose, tokens_max)
        return self._bare(tokens_max) if out is None else out

    def _tried(self, choose: Callable[[int], list[Span]], tokens_max: int) -> str | None:
        """With as much room as fits, as far as a few tries find out; None when nothing does."""
        room = tokens_max - sum(self._count(passage) for passage in self.kept) - self._count(self._marker)
        low, high, found = -1, max(0, room) + 1, None  # what fits, and what is too much
        middle = high - 1  # mostly it fits at once: counts of parts do not add up exactly, and there are more markers
        for _ in range(_TRIES_MAX):
            spans = choose(middle) if middle > 0 else []
            says = bool(self._must) or self._says(spans)
            out = self._written([*spans, *self._must]) if says else ""
            if self._count(out) <= tokens_max:
                low, found = middle, out if says else found
            else:
                high = middle
            if high - low <= 1:
                break
            middle = (low + high) // 2
        return found

    def _says(self, spans: list[Span]) -> bool:
        """Whether there is anything in them but white space, where the text has more than that."""
        return bool(spans) and (any(self._text[start:end].strip() for start, end in spans) or not self._text.strip())

    def _bare(self, tokens_max: int) -> str:
        """What must be kept, without a marker; or an error."""
        if not self._must:
            raise InputError(
                f"nothing of a text of {self._count(self._text):,} tokens fits into {tokens_max:,} without cutting a "
                "code block, a JSON value or a character; raise tokens_max"
            )
        out = self._written(self._must)
        if (tokens := self._count(out)) > tokens_max:
            raise InputError(
                f"what must be kept has {tokens:,} tokens, and tokens_max is {tokens_max:,}; keep less, or raise it"
            )
        return out

    def _written(self, spans: list[Span]) -> str:
        """These spans in order, with a marker in each gap that is longer than its marker."""
        text, at = self._text, 0
        out: list[str] = []
        for start, end in [*sorted(spans), (len(text), len(text))]:
            if start > at:
                out.append(self._gap(text[at:start], out[-1] if out else "", last=start == len(text)))
            if end > max(at, start):
                out.append(text[max(at, start) : end])
            at = max(at, end)
        return "".join(out)

    def _gap(self, gap: str, before: str, *, last: bool) -> str:
        """What stands in the place of `gap`."""
        tokens = self._count(gap)
        marker = self._marker.replace("{tokens}", f"{tokens:,}")
        if marker and tokens <= self._count(marker):
            return gap
        if not gap.strip():
            marker = ""
        space = "" if last else gap[len(gap.rstrip()) :]
        newline = "\r\n" if "\r\n" in space else "\n"
        behind = newline * min(2, space.count("\n")) or " " * bool(space)
        open_ = bool(before) and not before[-1].isspace()
        if not marker:
            return behind if open_ else ""
        return f"{' ' * open_}{marker}{behind}"
