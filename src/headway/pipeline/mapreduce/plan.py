"""What is going to be asked, before anything is: the text, its chunks, how large everything is, the first requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headway.errors import InputError
from headway.pipeline.mapreduce.chunks import Span, equal_spans
from headway.pipeline.mapreduce.prompts import Asks
from headway.pipeline.mapreduce.sizes import Sizes
from headway.prompts.context.counting import Counter
from headway.prompts.task import Task
from headway.wire.prices import Prices

__all__ = ["Plan", "in_chunks", "joined", "plan_of", "window_of"]

WINDOW_TOKENS: Final = 16_000
"""Of models that the price list knows no window of."""
_BETWEEN: Final = "\n\n"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of what; nothing in it depends on answers."""

    text: str
    spans: tuple[Span, ...]
    """The chunks; one for a text that is answered in one call."""
    sizes: Sizes
    asks: Asks
    count: Counter
    window_tokens: int

    @property
    def whole(self) -> bool:
        """Whether it is one call."""
        return len(self.spans) == 1

    def blank(self, part: int) -> bool:
        """Whether a chunk, from 0, is nothing but white space, so that there is nothing to ask about."""
        start, end = self.spans[part]
        return not self.text[start:end].strip()

    def row(self, part: int, text: str = "", words: int = 0) -> dict[str, Any]:
        """What is asked about a chunk, from 0; `text` and `words` stand in for its own."""
        start, end = self.spans[part]
        words = words or (self.sizes.words if self.whole else self.sizes.part_words)
        text = (text or self.text[start:end]).strip("\r\n")
        return self.asks.row(text=text, words=words, part=part + 1, parts=len(self.spans))

    def fits(self, kind: str, row: Mapping[str, Any], tokens_max: int) -> bool:
        """Whether the window has room for a prompt and an answer of so many tokens."""
        return self.prompt_tokens(kind, row) + tokens_max <= self.window_tokens

    def prompt_tokens(self, kind: str, row: Mapping[str, Any]) -> int:
        """Tokens of a prompt, as counted beforehand."""
        given = sum(self.count(value) for value in row.values() if isinstance(value, str))
        return self.count(self.asks.fixed(kind)) + given

    def first(self) -> tuple[Task, list[dict[str, Any]]]:
        """The first requests: the task that asks them, and a row for each chunk that says anything."""
        parts = [part for part in range(len(self.spans)) if not self.blank(part)]
        kind, bound = ("whole", self.sizes.answer_tokens_max) if self.whole else ("map", self.sizes.part_tokens_max)
        return self.asks.task(kind, bound), [self.row(part) for part in parts]


def plan_of(text: str, pieces: Sequence[Span], sizes: Sizes, asks: Asks, count: Counter, window_tokens: int) -> Plan:
    """The plan for a text; `pieces` as for `equal_spans`."""
    whole = count(text) <= sizes.whole_room
    spans = [(0, len(text))] if whole else equal_spans(text, sizes.chunk_room, count, pieces)
    return Plan(text=text, spans=tuple(spans), sizes=sizes, asks=asks, count=count, window_tokens=window_tokens)


def in_chunks(plan: Plan) -> Plan:
    """The plan for the same text in two chunks at the least."""
    room = min(plan.sizes.chunk_room, -(-plan.count(plan.text) * 11 // 20))
    return msgspec.structs.replace(plan, spans=tuple(equal_spans(plan.text, room, plan.count)))


def joined(given: str | Sequence[str]) -> tuple[str, list[Span]]:
    """The text, and where its pieces stand in it; none for a text in one.

    Raises:
        InputError: It is empty, no text, or no Unicode.
    """
    pieces: list[Span] = []
    if not isinstance(given, str | Sequence):
        raise InputError(f"mapreduce: the text must be a text or a list of texts, not {type(given).__name__}")
    ones = [given] if isinstance(given, str) else list(given)
    at = 0
    for one in ones:
        if not isinstance(one, str):
            raise InputError(f"mapreduce: the pieces of a text are texts, not {type(one).__name__}")
        pieces.append((at, at + len(one) + len(_BETWEEN)))
        at += len(one) + len(_BETWEEN)
    text = _BETWEEN.join(ones)
    if not text.strip():
        raise InputError("mapreduce: the text is empty, so there is nothing to ask about; was the right file read?")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"mapreduce: character {error.start:,} of the text is half a character (a lone surrogate), which cannot be "
            "sent; read the file in its own encoding"
        ) from None
    pieces[-1] = (pieces[-1][0], len(text))
    return text, [] if isinstance(given, str) else [span for span in pieces if span[1] > span[0]]


def window_of(model: str) -> int:
    """Tokens of the model's window, as the price list knows it; else a number that all models of today have."""
    rates = Prices().rates(model)
    return (rates.context_window if rates is not None else None) or WINDOW_TOKENS
