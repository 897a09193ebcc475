"""How many tokens a text has: an estimate that costs nothing, or a count where a tokenizer is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["count_tokens", "estimate_tokens"]

_PIECE_CHARS = 32_768  # the tokenizer refuses more than 200,000 tokens at once; a character has at most 4 bytes


def estimate_tokens(chars: int) -> int:
    """Tokens of `chars` characters of English: a quarter of them, rounded up.

    Source: OpenAI, "What are tokens and how to count them?" (one token is about four characters of English).
    Code and other scripts hold fewer characters per token, so this is a floor for them, not a bound.
    """
    return (chars + 3) // 4


def count_tokens(text: str, model: str) -> int:
    """Tokens of `text` in `model`'s vocabulary; the estimate where ``headway[tokens]`` is not installed.

    A model that the tokenizer does not know is counted with o200k_base, the vocabulary of gpt-4o and later.
    The first call for a vocabulary takes about a second. Texts are counted in pieces of 32,768 characters,
    which can be off by one token per seam.
    """
    encode = _encoder(model)
    if encode is None:
        return estimate_tokens(len(text))
    return sum(len(encode(text[at : at + _PIECE_CHARS])) for at in range(0, len(text), _PIECE_CHARS))


@lru_cache(maxsize=64)
def _encoder(model: str) -> Callable[[str], Sequence[int]] | None:
    try:
        bpe_openai = importlib.import_module("bpe_openai")
    except ImportError:
        return None
    try:
        name = bpe_openai.encoding_name_for_model(model)
    except LookupError:
        name = "o200k_base"
    encode: Callable[[str], Sequence[int]] = bpe_openai.get_encoding(name).encode_ordinary
    return encode
