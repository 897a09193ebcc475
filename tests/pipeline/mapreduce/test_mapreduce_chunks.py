"""Where long texts are cut: everything is in a chunk, none is too long, and they are about equal."""

from __future__ import annotations

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.pipeline.mapreduce.chunks import beginning, counter_for, equal_spans

COUNT = counter_for("gpt-5.4-mini", 4.0)
FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
LINES = st.lists(
    st.sampled_from(["word ", "A sentence. ", "\n\n", "# Heading\n\n", "```\ncode\n```\n", "漢字。", FAMILY, "a" * 90]),
    max_size=300,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(16, 300))
@example("", 16)
@example("\n" * 2_000, 16)
@example("a" + "\u0301" * 5_000, 16)
def test_chunks_are_the_whole_text_and_none_is_too_long(text: str, tokens_max: int) -> None:
    spans = equal_spans(text, tokens_max, COUNT)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end and COUNT(text[start:end]) <= tokens_max for start, end in spans)


@settings(max_examples=30, deadline=None)
@given(LINES, st.integers(40, 300))
def test_no_grapheme_is_cut(text: str, tokens_max: int) -> None:
    ends = {match.end() for match in regex.finditer(r"\X", text)}
    assert {end for _, end in equal_spans(text, tokens_max, COUNT)} <= ends


@pytest.mark.parametrize(
    "text", ["a" * 5_000_000, "word " * 1_000_000, "漢字かな" * 300_000, FAMILY * 60_000, "A line.\n" * 400_000]
)
def test_large_texts_give_equal_chunks(text: str) -> None:
    """Also without a space or a line in them; as many as the size asks for, and one more in twenty."""
    count = counter_for("gpt-5.4-mini")
    sizes = [count(text[start:end]) for start, end in equal_spans(text, 16_000, count)]
    assert len(sizes) <= 1.1 * count(text) / 16_000 + 1
    assert max(sizes) <= 16_000
    assert min(sizes) >= 0.6 * max(sizes)


def test_a_code_block_that_fits_is_not_cut() -> None:
    block = "```python\n" + "x = 1\n\n" * 40 + "```\n"
    text = ("Prose about it. " * 30 + "\n\n" + block + "\n") * 6
    for start, end in equal_spans(text, 300, COUNT):
        assert text[start:end].count("```") % 2 == 0


def test_pieces_are_not_cut_unless_they_are_too_long() -> None:
    pieces = ["p" * 100, "q" * 100, "r " * 1_000, "s" * 40]
    spans, at = [], 0
    for piece in pieces:
        spans.append((at, at + len(piece)))
        at += len(piece)
    found = equal_spans("".join(pieces), 120, COUNT, spans)
    assert found[0] == (0, 200)
    assert found[-1] == (2_200, 2_240)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]


def test_the_beginning_of_an_answer_ends_with_a_sentence() -> None:
    assert beginning("One is said. Two is said. " * 40, 30, COUNT).endswith("said. ")


def test_other_scripts_are_counted_by_their_bytes() -> None:
    """Four characters a token would be a fifth of what is billed for Chinese."""
    count = counter_for("gpt-5.4-mini")
    assert count("漢" * 100) == 75
    assert count("a" * 100) == 25


def test_a_wrong_ratio_is_refused() -> None:
    with pytest.raises(ConfigError, match="chars_per_token"):
        counter_for("gpt-5.4-mini", 99.0)
