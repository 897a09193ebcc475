"""Token counts: exact where a tokenizer is installed, a quarter of the characters elsewhere."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from headway.wire import tokens
from headway.wire.tokens import count_tokens, estimate_tokens


@pytest.fixture(autouse=True)
def _fresh() -> object:
    tokens._encoder.cache_clear()
    yield
    tokens._encoder.cache_clear()


def test_estimate_rounds_up() -> None:
    """A quarter of the characters, rounded up: nothing is nothing, a letter is a token."""
    assert [estimate_tokens(chars) for chars in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]


def test_without_a_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the estimate stands in."""
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    assert count_tokens("abcde", "gpt-4o") == 2


def test_with_a_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra the model's vocabulary counts, or the newest for a model it does not know; in pieces."""

    class Encoding:
        def __init__(self, bytes_per_token: int) -> None:
            self.bytes_per_token = bytes_per_token

        def encode_ordinary(self, text: str) -> list[int]:
            assert len(text) <= 32_768
            return [0] * (len(text) // self.bytes_per_token)

    fake = ModuleType("bpe_openai")
    fake.encoding_name_for_model = {"gpt-4": "cl100k_base"}.__getitem__  # type: ignore[attr-defined]
    encodings = {"cl100k_base": Encoding(2), "o200k_base": Encoding(4)}
    fake.get_encoding = encodings.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bpe_openai", fake)
    assert count_tokens("x" * 100_000, "gpt-4") == 50_000
    assert count_tokens("x" * 100_000, "gpt-5.4-mini") == 25_000
    assert count_tokens("", "gpt-4") == 0


def test_the_real_tokenizer() -> None:
    """The package that the extra names has the functions that are called, and counts as published."""
    pytest.importorskip("bpe_openai")
    assert count_tokens("hello world", "gpt-4o") == 2
    assert count_tokens("hello world", "gpt-5.4-mini") == 2
    assert count_tokens("hello world", "gpt-4") == 2
