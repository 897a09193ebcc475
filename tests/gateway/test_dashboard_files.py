"""The dashboard's files: who gets the page, how it is kept, and what no file of it may hold."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from headway.gateway.app import pages
from headway.policy.keys import PATHS
from tests.gateway.helpers import gateway, said, within

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
STATIC = Path(pages.__file__).parent / "static"
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))


async def nobody(call):
    raise AssertionError("no call is made")


async def got(url: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask for a path: status, headers, body."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    whole = await said(url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{named}Connection: close\r\n\r\n".encode())
    head, _, body = whole.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    return int(line.split()[1]), {k.lower(): v for k, v in (one.split(": ", 1) for one in lines)}, body


def test_browsers_get_the_page_and_curl_the_note():
    """Who prefers HTML gets it, with a policy that lets nothing in; others get the text that they always got."""

    async def main():
        async with gateway(nobody) as url:
            for accept in ("*/*", "text/plain", "text/html;q=0.5, text/plain", "text/html;q=0", "text/html;q=many"):
                status, headers, body = await got(url, "/", accept=accept)
                assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8"), accept
                assert b"base_url" in body
            status, headers, body = await got(url, "/", accept=BROWSER)
            assert status == 200
            assert body.startswith(b"<!doctype html>")
            policy = headers["content-security-policy"]
            for part in ("default-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
                assert part in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-cache"
            status, _, body = await got(url, "/", accept=BROWSER, if_none_match=headers["etag"])
            assert (status, body) == (304, b"")

    within(main())


def test_files_are_kept_for_ever_under_their_digest():
    """All that the page names is there, packed where that is taken; another version, or a way out, is not."""

    async def main():
        async with gateway(nobody) as url:
            page = (await got(url, "/", accept=BROWSER))[2].decode()
            named = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
            assert len(named) > len(SCRIPTS)
            for path in named:
                status, headers, body = await got(url, path, accept_encoding="gzip")
                assert status == 200, path
                assert headers["cache-control"] == "public, max-age=31536000, immutable"
                assert headers["x-content-type-options"] == "nosniff"
                own = (STATIC / path.split("/", 3)[3]).read_bytes()
                assert (gzip.decompress(body) if "content-encoding" in headers else body) == own
            assert (await got(url, named[-1]))[2] == own
            assert (await got(url, named[-1], if_none_match=headers["etag"]))[0] == 304
            version = named[0].split("/")[2]
            for path in (
                f"/static/{'0' * 12}/js/main.js",
                f"/static/{version}/pages.py",
                f"/static/{version}/../pages.py",
            ):
                assert (await got(url, path))[0] == 404

    within(main())


def test_views_can_be_typed_by_hand():
    """`/calls` leads a browser to the page's `#/calls`; programs find nothing there."""

    async def main():
        async with gateway(nobody) as url:
            for path in ("/calls", "/keys", "/runs/ab"):
                status, headers, _ = await got(url, path, accept=BROWSER)
                assert (status, headers["location"]) == (307, f"/#{path}")
                assert (await got(url, path, accept="*/*"))[0] == 404

    within(main())


def test_keys_know_the_usual_paths():
    """The page says nothing of the paths that any key may use."""
    assert f'"{", ".join(PATHS)}"' in (STATIC / "js" / "views" / "keys.js").read_text("utf-8")


def test_the_first_view_is_small():
    """All of it, packed, is well below the megabyte that it may be."""
    found = pages.kept()
    assert sum(len(file.packed or file.body) for file in found.files.values()) < 80_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_small_and_make_no_markup(script):
    """At most 300 lines, no way from text to markup or code, nothing from elsewhere, and every import leads somewhere."""
    text = script.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.cssText", text
    )
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}
    for path in re.findall(r'^import .* from "([^"]+)";$', text, re.MULTILINE):
        assert (script.parent / path).is_file(), path


def test_every_colour_is_a_name():
    """Colours stand in tokens.css alone, each for light and for dark."""
    for sheet in (STATIC / "css").glob("*.css"):
        if sheet.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b", sheet.read_text("utf-8")), sheet.name
