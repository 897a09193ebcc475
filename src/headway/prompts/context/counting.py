"""How many tokens a text has: counted, estimated, or estimated as a model's own bills say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from typing import Any, Final

import msgspec

from headway.errors import ConfigError
from headway.types import Result
from headway.wire.prompt_text import prompt_text
from headway.wire.tokens import count_tokens

__all__ = ["Calibration", "Counter", "counter_of"]

Counter = Callable[[str], int]
"""Tokens of a text."""

PAIRS_MAX: Final = 256
PAIRS_MIN: Final = 8
MODELS_MAX: Final = 64
CHARS_MIN: Final = 200
"""Shorter prompts say little: what providers add to each request weighs too much in them."""
_PRIOR: Final = 4.0
"""Source: OpenAI, "What are tokens and how to count them?"; see `wire.tokens.estimate_tokens`."""
_RANGE: Final = (0.5, 12.0)
_CAREFUL: Final = 0.25


def counter_of(model: str, chars_per_token: float | None = None) -> Counter:
    """What counts a text's tokens for this model.

    By `chars_per_token` where given; else with the tokenizer of ``headway[tokens]``, else at four characters a token.

    Raises:
        ConfigError: `chars_per_token` is not from 0.5 to 12.
    """
    if chars_per_token is None:
        return partial(_counted, model)
    low, high = _RANGE
    if not low <= chars_per_token <= high:
        raise ConfigError(f"chars_per_token must be a number from {low} to {high:g}, not {chars_per_token}")
    return partial(_estimated, float(chars_per_token))


def _counted(model: str, text: str) -> int:
    return count_tokens(text, model)


def _estimated(chars_per_token: float, text: str) -> int:
    return ceil(len(text) / chars_per_token)


class Calibration:
    """Learns from bills how many characters a token has, a model at a time. Kept in memory only, never on disk.

    ::

        calibration = headway.Calibration()
        async for result in engine.map(rows, task):
            calibration.learn_from(task, result)
        headway.fit(text, tokens_max=2_000, chars_per_token=calibration.chars_per_token("gpt-5.4-mini"))

    The lower quartile of the last 256 prompts counts: a budget is kept rather than used up. Prompts under 200
    characters are left out, and what was learned is held between 0.5 and 12. At most 64 models; the first go first.
    """

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def learn(self, model: str, chars: int, input_tokens: int) -> None:
        """Take one prompt of `chars` characters that was billed as `input_tokens`."""
        if chars < CHARS_MIN or input_tokens <= 0:
            return
        if model not in self._seen:
            while len(self._seen) >= MODELS_MAX:
                del self._seen[next(iter(self._seen))]
            self._seen[model] = deque(maxlen=PAIRS_MAX)
        low, high = _RANGE
        self._seen[model].append(min(max(chars / input_tokens, low), high))

    def learn_from(self, task: Any, result: Result) -> None:
        """Take what one row was billed. Rows that were repaired, estimated, or not sent are left out.

        So are all rows of tasks that may ask something else as well, a summary or one output at a time: their bills
        are of several prompts, some of which may be in the cache.
        """
        usage = result.usage
        if usage is None or usage.estimated or result.attempts != 1 or result.repairs or result.error:
            return
        if getattr(task, "first", None) is not None or getattr(getattr(task, "merge", None), "mode", "") == "separate":
            return
        row: Mapping[str, Any] = result.row
        self.learn(task.model, _chars(task.body(row)), usage.input_tokens)

    def chars_per_token(self, model: str) -> float:
        """Characters a token of this model, on the careful side; 4 until eight prompts are known."""
        seen = self._seen.get(model, ())
        if len(seen) < PAIRS_MIN:
            return _PRIOR
        return sorted(seen)[int(_CAREFUL * (len(seen) - 1))]


def _chars(body: bytes) -> int:
    """Characters of a request's prompt, its fixed part included."""
    tree = msgspec.json.decode(body, type=dict[str, Any])
    fixed = [tree.get("instructions"), tree.get("system")]
    fixed += [turn.get("content") for turn in tree.get("messages", ()) if turn.get("role") == "system"]
    return len(prompt_text(body)) + sum(len(text) for text in fixed if isinstance(text, str))
