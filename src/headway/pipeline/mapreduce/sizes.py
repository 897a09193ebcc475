"""How large everything is: chunks, summaries, and how many of these fit into one call. Plain arithmetic."""

from __future__ import annotations

from typing import Final

import msgspec

from headway.errors import ConfigError

__all__ = ["CHUNK_TOKENS", "LABEL_TOKENS", "TOKENS_A_WORD", "Sizes", "Wishes", "check_number", "sizes_of"]

CHUNK_TOKENS: Final = 16_000
"""Of chunks and of what is merged at once, unless it is said otherwise: models read more, but more slowly, and miss
more of what stands in the middle."""
WORDS: Final = 300
"""Of the answer, unless it is said otherwise."""
TOKENS_A_WORD: Final = 1.4
"""English has about three words to four tokens; a little more, for names and numbers. Source: OpenAI, "What are tokens
and how to count them?"."""
_OVER: Final = 2
"""Answers may be so many times as long as asked for before their bound cuts them."""
_THINKING_TOKENS: Final = 1_024
"""Room in the bound for models that think before they write."""
_PART_WORDS: Final = (40, 300)
_PART_SHARE: Final = 0.1
"""Words of a chunk's summary, to a token of the chunk."""
_MARGIN: Final = 0.9
"""Of the window that is used: counts are estimates."""
LABEL_TOKENS: Final = 12
"""What stands above a summary, where it is merged."""
_ROOM_MIN: Final = 64
_OUT_SHARE: Final = 4
"""An answer's bound takes a quarter of the window at the most."""
_TOKENS_MIN: Final = 16
_NUMBER_MAX: Final = 100_000_000
_ASKED_SHARE: Final = 0.8
"""Of the longest summary that may enter a merge, what is asked for at the most."""


def check_number(name: str, value: object, low: int, high: int) -> None:
    """Raise `ConfigError` unless it is a whole number between these."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"mapreduce: {name} must be a whole number from {low:,} to {high:,}, not {value!r}")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller wants of sizes; None: whatever is best."""

    words: int | None = None
    part_words: int | None = None
    window_tokens: int
    chunk_tokens_max: int | None = None
    merge_tokens_max: int | None = None
    output_tokens_max: int | None = None

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        least = {"words": 1, "part_words": 1, "window_tokens": 256, "chunk_tokens_max": 16, "merge_tokens_max": 64,
                 "output_tokens_max": _TOKENS_MIN}  # fmt: skip
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None:
                check_number(name, value, low, _NUMBER_MAX)


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from them, in tokens unless the name says words."""

    words: int
    """Of the answer."""
    part_words: int
    """Of a chunk's summary, and of those that are merged before the last."""
    answer_tokens_max: int
    """The bound on the answer."""
    part_tokens_max: int
    """The bound on all others."""
    whole_room: int
    """A text up to this is answered in one call."""
    chunk_room: int
    merge_room: int
    """What may be merged at once, labels included."""
    fan_in: int
    """How many summaries that is, if they are as long as asked for."""
    summary_room: int
    """No summary enters a merge longer than this, so that any two can be merged."""


def sizes_of(wishes: Wishes, fixed: dict[str, int]) -> Sizes:
    """What fits where.

    Args:
        wishes: As the caller has them.
        fixed: Tokens of each prompt without what it is about: "map", "whole", "reduce".

    Raises:
        ConfigError: Beside a prompt and its answer nothing fits into the window.
    """
    most = max(_TOKENS_MIN, wishes.window_tokens // _OUT_SHARE)
    cap = wishes.chunk_tokens_max or CHUNK_TOKENS
    words = wishes.words or WORDS
    part_words = wishes.part_words or int(min(max(_PART_SHARE * cap, _PART_WORDS[0]), _PART_WORDS[1]))
    answer_max, part_max = (min(most, wishes.output_tokens_max or _bound(one)) for one in (words, part_words))
    beside = {kind: int(wishes.window_tokens * _MARGIN) - tokens for kind, tokens in fixed.items()}
    whole_room = beside["whole"] - answer_max
    chunk_room = beside["map"] - part_max
    merge_room = min(beside["reduce"] - max(answer_max, part_max), wishes.merge_tokens_max or CHUNK_TOKENS)
    for kind, room in (("map", chunk_room), ("reduce", merge_room)):
        if room < _ROOM_MIN:
            raise ConfigError(
                f"mapreduce: a window of {wishes.window_tokens:,} tokens leaves no room beside the {kind} prompt of "
                f"{fixed[kind]:,} tokens and its answer of up to {max(part_max, answer_max):,}; shorten the prompt, "
                "ask for fewer words, or take a model with a larger window"
            )
    summary_room = max(1, merge_room // 2 - LABEL_TOKENS)
    # Any two must fit into one call, also where they come out a little longer than asked for.
    part_words = max(1, min(part_words, int(summary_room / TOKENS_A_WORD * _ASKED_SHARE)))
    summary = int(part_words * TOKENS_A_WORD) + 1 + LABEL_TOKENS
    return Sizes(
        words=words,
        part_words=part_words,
        answer_tokens_max=answer_max,
        part_tokens_max=part_max,
        whole_room=min(whole_room, wishes.chunk_tokens_max or whole_room),
        chunk_room=min(chunk_room, cap),
        merge_room=merge_room,
        fan_in=max(2, merge_room // summary),
        summary_room=summary_room,
    )


def _bound(words: int) -> int:
    return max(_TOKENS_MIN, int(_OVER * words * TOKENS_A_WORD) + _THINKING_TOKENS)
