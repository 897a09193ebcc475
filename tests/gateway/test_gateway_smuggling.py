"""What a request must not become: another's head, the next request's bytes, or memory without end."""

from __future__ import annotations

import pytest

from headway.config import load_settings
from headway.errors import ConfigError
from headway.gateway.data.homes import Homes
from headway.gateway.protocol.heads import Head, Heads
from tests.gateway.helpers import answer, spoken_to, within

HEADERS = (("host", "localhost"), ("content-length", "5"))


@pytest.mark.parametrize("line", [b"Content-Length:5", b"CONTENT-LENGTH: 5", b"content-length:  5 "])
def test_a_length_in_another_spelling_is_never_taken_for_none(line):
    """Kept as a head without a body, the same head's body would be run as the next request."""
    raw = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n" + line + b"\r\n\r\n"
    heads = Heads()
    heads.keep(raw, Head("POST", "/v1/embeddings", HEADERS, keep=True, old=False, continues=False))
    found = heads.find(raw)
    assert found is None or found[1] == 5


def test_two_homes_have_two_names(monkeypatch):
    """Headers are kept by home: a second one of that name would be sent the first one's key."""
    monkeypatch.setenv("OTHER_KEY", "sk-other")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-main")
    settings = load_settings(
        {"upstreams": [{"name": "openai", "base_url": "https://other.example/v1", "key_env": "OTHER_KEY"}]}
    )
    with pytest.raises(ConfigError, match="named 'openai'"):
        Homes(settings)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
def test_a_declined_upgrade_keeps_its_body(framing):
    """`curl --http2` and Java's HttpClient offer h2c with every request: its body was lost, or the next request's head."""

    async def main():
        async with spoken_to() as (dial, _):
            reader, writer = await dial()
            for offer in (b"h2c", b"websocket"):  # a WebSocket begins with a GET
                writer.write(
                    b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
                    b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n%b" % (offer, framing)
                )
                assert (await answer(reader))[2] == b"POST /v1/x hello"
            writer.write(b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
            assert (await answer(reader))[2] == b"GET /v1/x "

    within(main())
