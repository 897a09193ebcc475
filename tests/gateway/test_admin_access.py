"""Who may see the operator's pages, and how a browser stays signed in."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.gateway.app.admin import access
from headway.gateway.app.admin.access import COOKIE
from headway.gateway.keys import KeyStore
from tests.gateway.admin_helpers import get, made, served
from tests.gateway.helpers import within


def signed_in(reply: httpx2.Response) -> str:
    """The cookie that was set."""
    assert reply.status_code == 200, reply.text
    return reply.headers["set-cookie"].partition(";")[0].partition("=")[2]


def cookie(value: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={value}"}


def with_keys(tmp_path: Path, main: Any) -> None:
    """Run a test with a gateway that has an admin's key and another one."""
    path = tmp_path / "keys"
    admin, app = made(path, "me", admin=True), made(path)

    async def run() -> None:
        async with served(tmp_path, keys=str(path)) as client:
            await main(client, path, admin, app)

    within(run())


def test_an_admins_key_signs_in_and_out(tmp_path: Path) -> None:
    """The cookie is out of scripts' reach, goes to this site only, and does not hold the key."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        assert await get(client, "/api/session") == {"needs_key": True, "signed_in": False, "name": ""}
        for closed in ("/api/overview", "/api/calls", "/api/keys", "/api/openapi.json", "/api/live"):
            assert (await get(client, closed, 401))["error"]["code"] == "signed_out"
        reply = await client.post("/api/session", json={"key": admin})
        line = reply.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(line.split("; "))
        assert "Secure" not in line
        value = signed_in(reply)
        assert admin.split("-", 2)[2] not in value
        assert await get(client, "/api/session", headers=cookie(value)) == {
            "needs_key": True, "signed_in": True, "name": "me",
        }  # fmt: skip
        assert (await get(client, "/api/overview", headers=cookie(value)))["log"]
        client.cookies.clear()
        reply = await client.delete("/api/session")
        assert "Max-Age=0" in reply.headers["set-cookie"]
        assert reply.json() == {"needs_key": True, "signed_in": False, "name": ""}

    with_keys(tmp_path, main)


def test_a_key_that_is_no_admins_does_not(tmp_path: Path) -> None:
    """Neither typed in nor in a header; and nothing of it is said again."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        for wrong, status in ((app, 403), (admin[:-2] + "AA", 401), ("sk-other", 401), ("", 401)):
            reply = await client.post("/api/session", json={"key": wrong})
            assert reply.status_code == status
            assert "set-cookie" not in reply.headers
            assert not wrong or wrong not in reply.text
        await get(client, "/api/overview", 403, headers={"authorization": f"Bearer {app}"})
        await get(client, "/api/overview", 200, headers={"authorization": f"Bearer {admin}"})

    with_keys(tmp_path, main)


def test_a_cookie_that_was_made_up_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another end, another key's code, an ended one, and rubbish."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        value = signed_in(await client.post("/api/session", json={"key": admin}))
        client.cookies.clear()
        id_, end, code = value.split(".")
        other = app.split("-")[1]
        changed = code[:-1] + ("0" if code[-1] != "0" else "1")
        for wrong in (
            f"{id_}.{int(end) + 9}.{code}", f"{other}.{end}.{code}", f"{id_}.{end}.{changed}", f"{id_}.{end}.",
            f"{id_}.-1.{code}", f"{id_}.{'9' * 50}.{code}", "..", "rubbish", id_,
        ):  # fmt: skip
            await get(client, "/api/overview", 401, headers=cookie(wrong))
        await get(client, "/api/session", 200, headers=cookie(value))
        now_s = time.time()
        monkeypatch.setattr(access.time, "time", lambda: now_s + access.SESSION_S + 1)
        assert not (await get(client, "/api/session", 200, headers=cookie(value)))["signed_in"]

    with_keys(tmp_path, main)


def test_a_session_ends_with_its_key(tmp_path: Path) -> None:
    """Revoked within a second; one that was rotated, with the old secret."""
    second = made(tmp_path / "keys", "second", admin=True)

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        value = signed_in(await client.post("/api/session", json={"key": second}))
        mine = signed_in(await client.post("/api/session", json={"key": admin}))
        client.cookies.clear()
        with KeyStore(path) as store:
            store.revoke("second")
            store.rotate("me", grace_s=0.0)
        for ended in (value, mine):
            while (await get(client, "/api/session", headers=cookie(ended)))["signed_in"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await get(client, "/api/keys", 401, headers=cookie(ended))

    with_keys(tmp_path, main)


def test_an_open_page_ends_with_its_session(tmp_path: Path) -> None:
    """What is live is checked as often as it is told."""
    second = made(tmp_path / "keys", "second", admin=True)

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        value = signed_in(await client.post("/api/session", json={"key": second}))
        async with client.stream("GET", "/api/live?window_s=60", headers=cookie(value)) as reply:
            lines = reply.aiter_lines()
            assert await anext(lines) == "event: overview"
            with KeyStore(path) as store:
                store.revoke("second")
            async for _ in lines:
                pass

    with_keys(tmp_path, main)


def test_other_origins_pages_may_not(tmp_path: Path) -> None:
    """Neither sign in, nor read, nor sign out: browsers say where a request comes from."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        own = str(client.base_url).rstrip("/")
        key = {"authorization": f"Bearer {admin}"}
        for foreign in (
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"origin": "http://["},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site", "origin": own},
        ):
            assert (await client.post("/api/session", json={"key": admin}, headers=foreign)).status_code == 403
            assert (await client.delete("/api/session", headers=foreign)).status_code == 403
            assert (await client.get("/api/overview", headers=key | foreign)).status_code == 403
        for same in ({"origin": own}, {"sec-fetch-site": "same-origin", "origin": own}, {"sec-fetch-site": "none"}):
            assert (await client.post("/api/session", json={"key": admin}, headers=same)).status_code == 200
        reply = await client.post("/api/session", json={"key": admin})
        assert "access-control-allow-origin" not in reply.headers

    with_keys(tmp_path, main)


def test_behind_https_the_cookie_says_so(tmp_path: Path) -> None:
    """A proxy ends TLS; the browser's origin shows it."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        host = str(client.base_url).removeprefix("http://").rstrip("/")
        for headers in ({"origin": f"https://{host}"}, {"x-forwarded-proto": "https"}):
            reply = await client.post("/api/session", json={"key": admin}, headers=headers)
            assert re.search("; Secure$", reply.headers["set-cookie"])

    with_keys(tmp_path, main)


def test_wrong_keys_are_bounded(tmp_path: Path) -> None:
    """After ten in a minute one has to wait; who has the right key does not, nor who is signed in."""

    async def main(client: httpx2.AsyncClient, path: Path, admin: str, app: str) -> None:
        value = signed_in(await client.post("/api/session", json={"key": admin}))
        client.cookies.clear()
        codes = [(await client.post("/api/session", json={"key": f"hw-{n}"})).status_code for n in range(12)]
        assert codes == [401] * 10 + [429] * 2
        reply = await client.post("/api/session", json={"key": app})
        assert reply.status_code == 429
        assert 0 < int(reply.headers["retry-after"]) <= 60
        signed_in(await client.post("/api/session", json={"key": admin}))
        client.cookies.clear()
        await get(client, "/api/session", 200, headers=cookie(value))
        await get(client, "/api/keys", 200, headers=cookie(value))

    with_keys(tmp_path, main)


def test_without_keys_it_is_this_machines_alone(tmp_path: Path) -> None:
    """By the host's name and the page's origin, as for the data plane."""

    async def main() -> None:
        async with served(tmp_path) as client:
            assert await get(client, "/api/session") == {"needs_key": False, "signed_in": True, "name": ""}
            await get(client, "/api/overview", 421, headers={"host": "evil.example"})
            await get(client, "/api/session", 421, headers={"host": "evil.example"})
            await get(client, "/api/overview", 403, headers={"origin": "http://evil.example"})
            assert (await client.post("/api/session", json={"key": "any"})).json()["signed_in"]

    within(main())


def test_what_is_sent_to_sign_in_is_bounded_and_json(tmp_path: Path) -> None:
    """A form of another site cannot send JSON; rubbish and more than a key are refused."""

    async def main() -> None:
        async with served(tmp_path) as client:
            for content, type_, status in (
                (b'{"key": "a"}', "text/plain", 415),
                (b"key=a", "application/x-www-form-urlencoded", 415),
                (b'{"key": 1}', "application/json", 422),
                (b'{"key": "a", "b": 1}', "application/json", 422),
                (b"\xff\xfe", "application/json", 422),
                (b'{"key": "' + b"a" * 5_000 + b'"}', "application/json", 413),
            ):
                reply = await client.post("/api/session", content=content, headers={"content-type": type_})
                assert reply.status_code == status, content[:20]
                assert reply.json()["error"]["code"]

    within(main())
