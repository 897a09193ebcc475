"""Events are found wherever the stream is cut, and nothing of it is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headway.errors import BadReply
from headway.wire.sse import EventSplitter, data_of

streams = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"data: x", b"event: e", b":", b"\xef\xbb\xbf", b"data:{}\n\n"]),
    max_size=24,
).map(b"".join)


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter(1000)
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.tail()


@given(stream=streams, cuts=st.lists(st.integers(0, 200), max_size=8))
@example(stream=b"data: x\r\n\r\ndata: y\r\n\r\n", cuts=list(range(30)))
@example(stream=b"a\r\rb\r\r", cuts=[2, 3])
def test_cuts_do_not_matter(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut, its events are the same and, with the tail, joined they are the stream."""
    bounds = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    chunks = [stream[a:b] for a, b in pairwise(bounds)]
    events, tail = split(chunks)
    assert b"".join(events) + tail == stream
    assert (events, tail) == split([stream[at : at + 1] for at in range(len(stream))])
    assert (events, tail) == split([stream])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    """LF, CRLF and CR all end lines; two in a row end an event."""
    stream = b"event: a" + end + b"data: 1" + end + end + b"data: 2" + end + end + b": ping" + end
    events, tail = split([stream])
    assert [data_of(event) for event in events] == [b"1", b"2"]
    assert tail == b": ping" + end


def test_a_lone_cr_waits_for_its_lf() -> None:
    """A CR at the end of a chunk may be half a line end: the event is held until that is known."""
    splitter = EventSplitter(100)
    assert splitter.feed(b"data: 1\r\n\r") == []
    assert splitter.feed(b"\ndata: 2\r\n\r\n") == [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]
    assert splitter.feed(b"data: 3\r\r") == []
    assert splitter.tail() == b"data: 3\r\r"
    assert splitter.tail() == b""


def test_events_that_are_too_long() -> None:
    """An event beyond the bound is refused, whole or growing; one at the bound passes."""
    assert EventSplitter(10).feed(b"data: 12\n\n") == [b"data: 12\n\n"]
    with pytest.raises(BadReply, match="more than 10 bytes"):
        EventSplitter(10).feed(b"data: 123\n\n")
    growing = EventSplitter(10)
    growing.feed(b"0123456789")
    with pytest.raises(BadReply):
        growing.feed(b"x")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data:  {}\n\n", b" {}"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"event: x\nid: 1\ndata: a\n\n", b"a"),
        (b"\xef\xbb\xbfdata: a\r\n\r\n", b"a"),
        (b"data: a", b"a"),
        (b"data: a\n", b"a"),
        (b"data\n\n", b""),
        (b": ping\n\n", b""),
        (b"database: a\n\n", b""),
        (b"\n", b""),
        (b"", b""),
    ],
)
def test_data_of(event: bytes, data: bytes) -> None:
    """Data lines are joined by LF, less one leading space; comments and other fields are not data."""
    assert data_of(event) == data


def test_long_event_in_small_pieces_is_searched_once() -> None:
    """A blank line that straddles chunks is found although the search goes on where it stopped."""
    splitter = EventSplitter(1 << 20)
    for _ in range(1000):
        assert splitter.feed(b"data: " + b"x" * 90 + b"\n") == []
    (event,) = splitter.feed(b"\ndata: y")
    assert len(event) == 97_001
    assert splitter.tail() == b"data: y"
