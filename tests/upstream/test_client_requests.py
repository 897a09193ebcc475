"""What is written: heads byte for byte, where they go, and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from headway.errors import ConfigError
from headway.upstream.requests import HEADS_MAX, LINES_MAX, endpoint_of, head_of

from .helpers import Wire, always, ask, call, ok, run


def written(*calls):
    """The requests as the server got them, and where the connections went."""
    seen: list[bytes] = []

    async def serve(wire: Wire) -> None:
        while True:
            seen.append(await wire.request())
            wire.send(ok())

    async def work(upstream, loop):
        for each in calls:
            assert await ask(upstream, each) == (200, b"{}")
        return loop.connects

    return seen, run(serve, work)


def test_a_request_byte_for_byte():
    """The client's headers as written; the connection's own are ours; the body's length."""
    headers = (
        ("Content-Type", "application/json"),
        ("authorization", "Bearer k"),
        ("host", "elsewhere"),
        ("connection", "keep-alive, x-private"),
        ("X-Private", "1"),
        ("accept-encoding", "gzip"),
        ("transfer-encoding", "chunked"),
        ("x-name", "J\xe4rvi\t1"),
    )
    (first, again, other, bare), connects = written(
        call(headers=headers, body=b'{"a":1}'),
        call(headers=headers, body=b'{"a":10}'),
        call(headers=headers, path="/v2", method="PUT", body=b""),
        call(headers=(), method="GET", body=b""),
    )
    middle = (
        b"host: api.example\r\nContent-Type: application/json\r\nauthorization: Bearer k\r\nx-name: J\xe4rvi\t1\r\n"
        b"accept-encoding: identity\r\n"
    )
    assert first == b"POST /v1/x HTTP/1.1\r\n" + middle + b'content-length: 7\r\n\r\n{"a":1}'
    assert again == b"POST /v1/x HTTP/1.1\r\n" + middle + b'content-length: 8\r\n\r\n{"a":10}'
    assert other == b"PUT /v2 HTTP/1.1\r\n" + middle + b"content-length: 0\r\n\r\n"
    assert bare == b"GET /v1/x HTTP/1.1\r\nhost: api.example\r\naccept-encoding: identity\r\n\r\n"
    assert connects == [("api.example", 80)]


def test_remembered_heads_are_bounded_and_never_another_calls():
    """A tuple's id may come back with other headers: each request carries its own."""
    calls = [call(headers=(("x-n", str(n)),), path=f"/p{n % 3}") for n in range(300)]
    seen, _ = written(*calls)
    assert [line.split(b"x-n: ")[1].split(b"\r\n")[0] for line in seen] == [b"%d" % n for n in range(300)]
    endpoint = endpoint_of("http://api.example")
    assert endpoint is not None
    for each in calls:
        head_of(endpoint, each)
        assert len(endpoint.heads) <= HEADS_MAX
        assert len(endpoint.lines) <= LINES_MAX


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/a%2Fb?x=1&y=%20", b"/v1/a%2Fb?x=1&y=%20"),
        ("/a/../b", b"/a/../b"),
        ("/x y?q=\xe9#part", b"/x%20y?q=%C3%A9"),
        ("", b"/"),
        ("?x=1", b"/?x=1"),
    ],
)
def test_targets_go_out_as_written_or_percent_encoded(path, target):
    """What a request line cannot hold is encoded, the rest is the client's."""
    seen, _ = written(call(path=path))
    assert seen[0].split(b" ")[1] == target


@pytest.mark.parametrize(
    ("origin", "host", "port", "authority"),
    [
        ("http://api.example", "api.example", 80, b"api.example"),
        ("http://API.Example:80", "api.example", 80, b"api.example"),
        ("https://api.example", "api.example", 443, b"api.example"),
        ("https://api.example:80", "api.example", 80, b"api.example:80"),
        ("http://10.0.0.1:8080", "10.0.0.1", 8080, b"10.0.0.1:8080"),
        ("http://[::1]", "::1", 80, b"[::1]"),
        ("https://[2001:db8::1]:8443", "2001:db8::1", 8443, b"[2001:db8::1]:8443"),
    ],
)
def test_where_an_origin_is(origin, host, port, authority):
    """Host, port and `host` header, IPv6 included; a usual port is not named."""
    endpoint = endpoint_of(origin)
    assert endpoint is not None
    assert (endpoint.host, endpoint.port, endpoint.authority) == (host, port, authority)
    assert endpoint.tls == origin.startswith("https")
    if not endpoint.tls:
        seen, connects = written(call(origin))
        assert connects == [(host, port)]
        assert b"\r\nhost: " + authority + b"\r\n" in seen[0]


@pytest.mark.parametrize(
    "origin",
    [
        "http://m\xfcnchen.example",
        "http://u:p@api.example",
        "ftp://api.example",
        "http://[fe80::1%25eth0]",
        "http://api.example:port",
        "http://api.example/base",
        "http://api.example\r\nx",
        "http://",
    ],
)
def test_addresses_out_of_the_ordinary_are_left_to_the_fallback(origin):
    """Names beyond ASCII, user names, zones, other schemes: httpx2 knows what to make of them."""
    assert endpoint_of(origin) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"headers": (("x-a", "1\r\nx-b: 2"),)},
        {"headers": (("x-a", "1\nx-b: 2"),)},
        {"headers": (("x-a", "secret\x00"),)},
        {"headers": (("x-a", "\u2603secret"),)},
        {"headers": (("x-a\r\nx-b", "1"),)},
        {"headers": (("x a", "1"),)},
        {"headers": (("x-a:", "1"),)},
        {"headers": (("", "1"),)},
        {"headers": (("content-length", "0\r\n\r\nGET / HTTP/1.1"),)},
        {"method": "GET / HTTP/1.1\r\nx:"},
        {"method": ""},
        {"path": "/x HTTP/1.1\r\nhost: other"},
        {"path": "/\x7f"},
    ],
)
def test_what_would_break_out_of_its_line_is_refused_before_anything_is_sent(bad):
    """A line break smuggled into a header would be another request: a `ConfigError`, and no connection is made."""

    async def work(upstream, loop):
        return await ask(upstream, call(**bad)), loop.connects

    error, connects = run(always, work)
    assert isinstance(error, ConfigError)
    assert "secret" not in str(error)
    assert connects == []
