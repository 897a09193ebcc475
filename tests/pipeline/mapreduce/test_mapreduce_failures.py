"""What becomes of chunks and merges that fail, and of texts that are too long by the provider's own count."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.pipeline.mapreduce.reader import Reader, numbered, plain
from tests.pipeline.mapreduce.test_mapreduce_runs import run, streamed

from headway.errors import ProviderError

TOO_LONG = "This model's maximum context length is 128000 tokens"


def failing(*beginnings: str, status: int = 400) -> Reader:
    """Refuses prompts that begin like that."""
    return Reader(lambda prompt: status if prompt.startswith(beginnings) else plain(prompt))


def test_a_failed_chunk_is_a_gap_that_merges_and_readers_see() -> None:
    reader = failing("map 4:", "map 5:")
    result = run(numbered(9), reader)
    assert "[parts 4-5 missing: could not be read]" in "\n".join(reader.of("reduce"))
    assert [(gap.first, gap.last) for gap in result.gaps] == [(4, 4), (5, 5)]
    assert result.chunks[3].error == result.gaps[0].reason
    start, end = result.gaps[0].start, result.gaps[0].end
    assert "part3" in numbered(9)[start:end]
    missing = f"[Missing: part 4 of 9 (characters {start:,} to {end:,}): https://api.openai.com answered 400"
    assert result.text.rpartition("\n\n")[2].startswith(missing)


def test_a_gap_stays_visible_where_only_one_text_is_left_to_merge() -> None:
    reader = failing("map 4:", "map 5:")
    run(numbered(9), reader, merge_tokens_max=100)
    assert "missing: could not be read]" in reader.asked[-1] or any("missing" in one for one in reader.of("reduce"))


def test_a_stream_names_gaps_at_its_end() -> None:
    pieces, result = streamed(numbered(9), failing("map 4:"))
    assert pieces[-1][1].startswith("\n\n[Missing: part 4 of 9")
    assert "".join(piece for _, piece in pieces) == result.text


def test_a_failed_chunk_may_be_left_out() -> None:
    reader = failing("map 4:")
    result = run(numbered(9), reader, on_chunk_error="drop")
    assert "missing" not in "\n".join(reader.asked).lower()
    assert "Missing" not in result.text
    assert [gap.first for gap in result.gaps] == [4]


def test_a_failed_chunk_may_end_it() -> None:
    reader = failing("map 4:")
    with pytest.raises(ProviderError, match=r"part 4 of 9 \(characters [\d,]+ to [\d,]+\) could not be read: .*400"):
        run(numbered(9), reader, on_chunk_error="fail")
    assert not reader.of("reduce: [part 4]")


@pytest.mark.parametrize("policy", ["mark", "drop"])
def test_nothing_is_made_up_where_no_chunk_could_be_read(policy: str) -> None:
    reader = failing("map")
    with pytest.raises(ProviderError, match=r"none of the 9 parts of the text could be read: .*400"):
        run(numbered(9), reader, on_chunk_error=policy)
    assert not reader.of("reduce")


def test_a_failed_merge_is_a_gap_over_all_that_it_merged() -> None:
    result = run(numbered(9), failing("reduce: [part 4]"))
    assert [(gap.first, gap.last) for gap in result.gaps] == [(4, 6)]
    assert [(merge.first, merge.last) for merge in result.merges if merge.error] == [(4, 6)]
    assert "[Missing: parts 4-6 of 9" in result.text


def test_a_failed_last_merge_is_an_error() -> None:
    with pytest.raises(ProviderError, match=r"the last merge failed: .*400"):
        run(numbered(9), failing("reduce: [parts 1-3]"))
    with pytest.raises(ProviderError, match="400"):
        streamed(numbered(9), failing("reduce: [parts 1-3]"))


def test_empty_answers_are_failures() -> None:
    result = run(numbered(9), Reader(lambda prompt: "" if prompt.startswith("map 2:") else plain(prompt)))
    assert [gap.first for gap in result.gaps] == [2]
    with pytest.raises(ProviderError, match="the answer is empty"):
        run("A text.", Reader(lambda _: " "))


def test_a_chunk_of_white_space_is_not_asked_about() -> None:
    reader = Reader()
    text = numbered(3) + "\n" * 1_000 + numbered(3)
    result = run(text, reader)
    assert len(reader.of("map")) < len(result.chunks)
    assert result.gaps == ()


class Narrow(Reader):
    """Refuses prompts of more characters than that, as too long."""

    def __init__(self, chars_max: int, kinds: str = "map|reduce|whole|refine") -> None:
        super().__init__(lambda prompt: 400 if re.match(kinds, prompt) and len(prompt) > chars_max else plain(prompt))

    async def __call__(self, call: Any) -> Any:
        reply = await super().__call__(call)
        if reply.body is not None and reply.status == 400:
            reply.body = reply.body.replace(b"refused", TOO_LONG.encode())
        return reply


def test_a_chunk_that_is_too_long_by_the_providers_count_is_read_in_halves() -> None:
    reader = Narrow(160, "map")
    result = run(numbered(9), reader)
    assert result.gaps == ()
    assert len(reader.of("map")) > 2 * 9


def test_a_merge_that_is_too_long_by_the_providers_count_is_made_in_halves() -> None:
    reader = Narrow(600, "reduce")
    result = run(numbered(9), reader, merge_tokens_max=300, part_words=20, words=5)
    assert len(result.merges) > 3
    assert not any(merge.error for merge in result.merges)
    assert (result.merges[-1].first, result.merges[-1].last) == (1, 9)
    assert result.text.startswith("Read part0 part1")


@pytest.mark.parametrize("live", [True, False])
def test_a_whole_text_that_is_too_long_by_the_providers_count_is_read_in_chunks(live: bool) -> None:
    reader = Narrow(300, "whole")
    text = numbered(6)
    result = streamed(text, reader, chunk_tokens_max=None)[1] if live else run(text, reader, chunk_tokens_max=None)
    assert len(result.chunks) == 2
    assert result.text.startswith("Read part0")


def test_a_text_that_cannot_be_made_shorter_is_not_asked_for_ever() -> None:
    """One chunk of one token is what it was before: it was asked 972 times, up to a RecursionError."""
    reader = Narrow(0, "whole")
    with pytest.raises(ProviderError):
        run("Hello.", reader, chunk_tokens_max=None)
    assert len(reader.of("whole")) == 1


@pytest.mark.parametrize("policy", ["mark", "drop"])
def test_merges_that_all_fail_are_the_reason(policy: str) -> None:
    """It said that none of the parts could be read, all of which were."""
    reader = failing("reduce")
    with pytest.raises(ProviderError, match=r"the parts of the text were read, and none could be merged: .*400"):
        run(numbered(9), reader, on_chunk_error=policy)
    assert len(reader.of("map")) == 9
