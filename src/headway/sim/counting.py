"""How long a prompt is, in the simulator's tokens."""

from __future__ import annotations

from typing import Final

import msgspec

from headway.sim.ask import Ask
from headway.sim.text import Memo, count_tokens, memo_key

__all__ = ["PromptCounter"]

_LONG_TEXT: Final = 200
_PER_MESSAGE: Final = 4
_PER_ANSWER: Final = 3


class PromptCounter:
    """Counts prompts; long paragraphs tend to come again (system prompts, schemas) and are counted once."""

    def __init__(self) -> None:
        self._lengths: Memo[str | bytes, int] = Memo(2_048)

    def prompt(self, ask: Ask) -> int:
        """Four tokens a message and three for the answer's start, as OpenAI's cookbook counts them."""
        if ask.api == "embeddings":
            return sum(map(count_tokens, ask.texts))
        if ask.blocks:
            return _PER_ANSWER + sum(self.blocks(ask)) + (self.text(_json(ask.schema)) if ask.schema else 0)
        total = _PER_ANSWER + sum(_PER_MESSAGE + self.text(turn.text) for turn in ask.turns)
        return total + sum(self.text(_json(part)) for part in (ask.schema, ask.tools) if part)

    def blocks(self, ask: Ask) -> list[int]:
        """Of each block of a Messages prompt."""
        return [_PER_MESSAGE + self.text(block.text) for block in ask.blocks]

    def text(self, text: str) -> int:
        """Of a text, by its paragraphs where it is long."""
        if len(text) < _LONG_TEXT:
            return count_tokens(text)
        parts = text.split("\n\n")
        return sum(map(self._paragraph, parts)) + len(parts) - 1

    def _paragraph(self, text: str) -> int:
        if len(text) < _LONG_TEXT:
            return count_tokens(text)
        key = memo_key(text)
        return self._lengths.get(key) or self._lengths.put(key, count_tokens(text))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
