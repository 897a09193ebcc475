"""Requests out of bytes: however they are cut, and what is no request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.gateway.limits import Limits
from headway.gateway.protocol.heads import Heads
from headway.gateway.protocol.incoming import Incoming
from headway.gateway.request import Refused
from headway.upstream.headers import HeaderNames

LIMITS = Limits(head_bytes_max=2048, headers_max=8, body_bytes_max=1000)
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: a\r\n"
PLAIN = HEAD + b"Content-Length: 5\r\n\r\nhello"
EMPTY = b"GET /v1/models HTTP/1.1\r\nhost: b:80\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n8;x=y\r\n\r\n\r\nabcd\r\n0\r\n\r\n"
TRAILED = HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trail: 1\r\nX-More: 2\r\n\r\n"
OLD = b"POST /v1/y?a=b HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi"


def read(pieces: list[bytes]) -> list[tuple[str, str, bytes, bool]]:
    """All requests, as a connection reads them."""
    incoming, found = Incoming(LIMITS, HeaderNames(), Heads()), []
    for piece in pieces:
        incoming.receive(piece)
        while incoming.head() is not None and (request := incoming.body()) is not None:
            found.append((request.method, request.target, request.body, incoming.keep))
            incoming.over()
    return found


def refusal(data: bytes) -> Refused:
    """What the bytes are refused with."""
    with pytest.raises(Refused) as caught:
        read([data])
    return caught.value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_cut_of_a_stream_of_requests_gives_the_same_requests(data):
    """Pipelined requests with lengths, chunks, trailers and none, cut anywhere."""
    requests = data.draw(
        st.lists(st.sampled_from([PLAIN, EMPTY, CHUNKED, TRAILED, b"\r\n" + PLAIN]), min_size=1, max_size=5)
    )
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(pieces) == read([stream])
    assert len(read([stream])) == len(requests)


def test_every_byte_by_itself():
    """The worst cut of all."""
    stream = CHUNKED + PLAIN + TRAILED + EMPTY
    assert read([bytes([byte]) for byte in stream]) == [
        ("POST", "/v1/x", b"hello\r\n\r\nabcd", True),
        ("POST", "/v1/x", b"hello", True),
        ("POST", "/v1/x", b"abc", True),
        ("GET", "/v1/models", b"", True),
    ]


def test_http_1_0_is_read_and_not_kept():
    """Its connection carries one request; it may name no host."""
    assert read([OLD]) == [("POST", "/v1/y?a=b", b"hi", False)]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: -1\r\n\r\nabc", 400),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        (HEAD + b"X: a\nY: b\r\n\r\n", 400),
        (HEAD + b"X: a\rY: b\r\n\r\n", 400),
        (HEAD + b"X: a\r\n b\r\n\r\n", 400),
        (HEAD + b"X : a\r\n\r\n", 400),
        (HEAD + b"X: a\0b\r\n\r\n", 400),
        (HEAD + b"Host: evil\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nHost: user@evil\r\n\r\n", 400),
        (b"POST /v1/x HTTP/1.1\r\nHost: a/../b\r\n\r\n", 400),
        (b"POST http://evil/v1/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST /v1/x#frag HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST /v1/\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT evil:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"BREW /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"TRACE /v1/x HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /v1 HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /v1\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /v1 HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /v1 HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        (b"GET /v1 HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000, 431),
        (b"GET /v1 HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 9 + b"\r\n", 431),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"e" * 1000 + b"\r\n", 413),
    ],
)
def test_what_is_no_request_is_refused(data, status):
    """Ambiguous framing, foreign targets, malformed lines, and all that is too large."""
    assert refusal(data).status == status


def test_the_head_of_a_refused_request_is_known_as_far_as_it_was_read():
    """So that a refusal has the shape of the API that was meant."""
    incoming = Incoming(LIMITS, HeaderNames(), Heads())
    incoming.receive(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
    with pytest.raises(Refused):
        incoming.head()
    assert incoming.target == "/v1/messages"


def test_a_head_met_before_means_what_it_meant_and_a_length_is_never_taken_from_it():
    """Equal but for the number; with no number, or two, it is another head."""
    names, heads = HeaderNames(), Heads()

    def once(data: bytes) -> bytes:
        incoming = Incoming(LIMITS, names, heads)
        incoming.receive(data)
        assert incoming.head() is not None
        found = incoming.body()
        assert found is not None
        return found.body

    for body in (b"one", b"eleven", b""):
        assert once(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body) == body
    for wrong in (b"", b"+3", b"3\r\nContent-Length: 3", b" 3 3", b"99999999999999999", b"1001"):
        with pytest.raises(Refused):
            once(HEAD + b"Content-Length: " + wrong + b"\r\n\r\nabc")
    assert once(HEAD + b"\r\n") == b""
    with pytest.raises(Refused):
        once(HEAD + b"Content-Length: \r\n\r\n")
