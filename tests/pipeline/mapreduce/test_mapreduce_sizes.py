"""How large everything is, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headway
from headway.errors import ConfigError, InputError
from headway.pipeline.mapreduce.sizes import LABEL_TOKENS, TOKENS_A_WORD, Wishes, sizes_of

FIXED = {"map": 120, "whole": 100, "reduce": 180}


@given(
    st.integers(600, 2_000_000), st.none() | st.integers(1, 5_000), st.none() | st.integers(16, 50_000),
    st.none() | st.integers(64, 50_000), st.none() | st.integers(1, 5_000),
)  # fmt: skip
def test_prompts_and_their_answers_fit_into_the_window_and_any_two_into_a_merge(
    window: int, words: int | None, chunk: int | None, merge: int | None, part_words: int | None
) -> None:
    wishes = Wishes(
        words=words, window_tokens=window, chunk_tokens_max=chunk, merge_tokens_max=merge, part_words=part_words
    )
    sizes = sizes_of(wishes, FIXED)
    assert FIXED["map"] + sizes.chunk_room + sizes.part_tokens_max <= window
    assert FIXED["reduce"] + sizes.merge_room + max(sizes.part_tokens_max, sizes.answer_tokens_max) <= window
    assert FIXED["whole"] + sizes.whole_room + sizes.answer_tokens_max <= window
    assert 2 * (sizes.summary_room + LABEL_TOKENS) <= sizes.merge_room or sizes.summary_room == 1
    assert sizes.fan_in >= 2
    assert sizes.fan_in * int(sizes.part_words * TOKENS_A_WORD) <= sizes.merge_room


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"text": " \n "}, "the text is empty"),
        ({"text": []}, "the text is empty"),
        ({"text": "a\ud800"}, "character 1 of the text is half a character"),
        ({"text": None}, "must be a text or a list of texts, not NoneType"),
        ({"text": ["a", 7]}, "the pieces of a text are texts, not int"),
    ],
)
def test_a_text_that_cannot_be_asked_about_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        headway.mapreduce(**given_, model="gpt-5.4-mini")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (
            {"window_tokens": 256, "map": "long " * 400 + "{text}"},
            "a window of 256 tokens leaves no room beside the map",
        ),
        ({"map": "Summarise."}, r"the map prompt has no place for what it is about; write \{text\}"),
        ({"reduce": "Merge: {text}"}, r"the reduce prompt has no place for what it is about; write \{summaries\}"),
        ({"map": "{text} {queston}", "values": {"question": "?"}}, r"a place \{queston\}.*places are.*\{question\}"),
        ({"map": "{text} }"}, "closes nothing"),
        ({"values": {"text": "x"}}, "values holds 'text'"),
        ({"map": 7}, "a prompt is a text or a headway.MapPrompt, not int"),
        ({"on_chunk_error": "ignore"}, "on_chunk_error must be"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1"),
        ({"words": 0}, "words must be a whole number from 1 to 100,000,000, not 0"),
        ({"window_tokens": 100}, "window_tokens must be a whole number from 256 to 100,000,000, not 100"),
        ({"model": ""}, "model is missing"),
        ({"api": "soap"}, "api must be"),
        ({"words": "x"}, "words must be a whole number from 1 to 100,000,000, not 'x'"),
        ({"words": 10**9}, "words must be a whole number from 1 to 100,000,000, not 1000000000"),
        ({"concurrency": 2.5}, "concurrency must be a whole number from 1 to 100,000, not 2.5"),
        ({"priority": "urgent"}, "priority must be a whole number, .*not 'urgent'"),
        ({"values": {"q": object()}}, r"values\['q'\] cannot be written into a prompt"),
        ({"values": {"q": "\ud800"}}, r"values\['q'\] cannot be written into a prompt"),
    ],
)
def test_a_wrong_argument_is_a_sentence_before_anything_is_sent(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        headway.mapreduce("Some text.", **{"model": "gpt-5.4-mini", **given_}).first()


def test_a_text_that_fits_is_one_request_and_a_longer_one_is_many() -> None:
    """The window is the price list's own where none is given."""
    task, rows = headway.mapreduce("A text. " * 2_000, model="gpt-5.4-mini").first()
    assert len(rows) == 1
    assert task.max_output_tokens == 300 * 2 * 1.4 + 1_024
    assert len(headway.mapreduce("A text. " * 2_000, model="gpt-5.4-mini", chunk_tokens_max=500).first()[1]) > 8
    assert len(headway.mapreduce("A text. " * 10_000, model="nobodys-model").first()[1]) == 2
