"""Live events of a gateway that really runs: updates, sharing, ends, and pages that do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headway.gateway.app.admin import api, office
from headway.gateway.app.admin.api import Api
from headway.gateway.app.admin.office import Office
from headway.insight.desk import Ask
from tests.gateway.admin_helpers import ask, get, served
from tests.gateway.helpers import until, within


@asynccontextmanager
async def page(client: httpx2.AsyncClient, query: str = "") -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """An open page: its events as they come."""
    async with client.stream("GET", f"/api/live{query}") as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-accel-buffering"] == "no"
        yield _events(reply)


async def _events(reply: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in reply.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def asked(monkeypatch: pytest.MonkeyPatch) -> list[Ask]:
    """What is asked of the process beside the gateway, and which offices there are."""
    found: list[Ask] = []
    before = Office.ask

    async def ask_(self: Office, one: Ask) -> tuple[int, bytes]:
        found.append(one)
        return await before(self, one)

    monkeypatch.setattr(Office, "ask", ask_)
    return found


def test_a_call_appears_on_a_page_that_is_open(tmp_path: Path) -> None:
    """Without anybody loading it again, and only on pages whose filters it matches."""

    async def main() -> None:
        async with (
            served(tmp_path) as client,
            page(client) as events,
            page(client, "?model=another") as others,
        ):
            assert (await anext(events))["totals"]["calls"] == 0
            assert (await anext(others))["filters"]["model"] == "another"
            await ask(client)
            async for view in events:
                if view["totals"]["calls"]:
                    break
            assert view["calls"][0]["outcome"] == "ok"
            assert (await get(client, "/api/overview?model=another"))["totals"]["calls"] == 0

    within(main())


def test_pages_that_see_the_same_share_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five pages are asked for once a turn, and none when all have gone."""
    monkeypatch.setattr(office, "UPDATE_S", 0.1)
    asks = asked(monkeypatch)

    async def main() -> None:
        async with served(tmp_path) as client:
            pages = [page(client) for _ in range(5)]
            readers = [await one.__aenter__() for one in pages]
            first = await asyncio.gather(*[anext(reader) for reader in readers])
            assert len({view["now_wall_s"] for view in first}) == 1
            await ask(client)
            for reader in readers:
                while not (await anext(reader))["totals"]["calls"]:
                    pass
            turns = len(asks)
            for one in pages:
                await one.__aexit__(None, None, None)
            await asyncio.sleep(0.5)
            assert turns <= len(asks) <= turns + 2
            left = len(asks)
            await asyncio.sleep(0.3)
            assert len(asks) == left

    within(main())


def test_a_quiet_page_hears_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then; the same document is not sent again."""
    monkeypatch.setattr(office, "QUIET_S", 0.2)

    async def main() -> None:
        async with served(tmp_path) as client, client.stream("GET", "/api/live?window_s=604800") as reply:
            lines = reply.aiter_lines()
            while await anext(lines) != "event: overview":
                pass
            seen = [await anext(lines) for _ in range(6)]
            assert ": nothing new" in seen
            assert "event: overview" not in seen

    within(main())


def test_the_number_of_pages_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told so, and gets in when another has gone."""
    monkeypatch.setattr(office, "PAGES_MAX", 2)

    async def main() -> None:
        async with served(tmp_path) as client, page(client) as one:
            await anext(one)
            async with page(client) as two:
                await anext(two)
                assert (await get(client, "/api/live", 503))["error"]["code"] == "too_many_pages"
            while True:
                async with client.stream("GET", "/api/live") as reply:
                    if reply.status_code == 200:
                        break
                await asyncio.sleep(0.02)

    within(main())


def test_a_page_that_reads_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds one document at most, and its place is free again after a while."""
    monkeypatch.setattr(office, "UPDATE_S", 0.02)
    monkeypatch.setattr(office, "TICK_S", 0.01)
    monkeypatch.setattr(office, "LOAD_MAX", 1.0)
    monkeypatch.setattr(api, "WRITE_S", 0.3)
    offices: list[Office] = []
    before = Api.__init__

    def init(self: Api, serving: Any) -> None:
        before(self, serving)
        offices.append(self._office)

    monkeypatch.setattr(Api, "__init__", init)

    async def changing(self: Office, one: Ask) -> tuple[int, bytes]:
        number = getattr(self, "number", 0)
        self.number = number + 1  # type: ignore[attr-defined]
        return 200, b'{"now_wall_s":0,"n":%d,"long":"%s"}' % (number, b"x" * 500_000)

    monkeypatch.setattr(Office, "ask", changing)

    async def main() -> None:
        async with served(tmp_path) as client:
            host, _, port = str(client.base_url).removeprefix("http://").rstrip("/").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1_024)
            writer.write(b"GET /api/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await until(lambda: offices[0].pages == 1)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await until(lambda: offices[0].pages == 0)
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    within(main())


def test_a_gateway_that_ends_ends_its_pages(tmp_path: Path) -> None:
    """The stream has an end, and nothing is left running."""

    async def main() -> None:
        async with served(tmp_path, drain_s=5) as client:
            stream = client.stream("GET", "/api/live")
            reply = await stream.__aenter__()
            lines = reply.aiter_lines()
            assert await anext(lines) == "event: overview"
            offices[0]._serving.draining = True
            async for _ in lines:
                pass
            await stream.__aexit__(None, None, None)

    offices: list[Office] = []
    before = Api.__init__

    def init(self: Api, serving: Any) -> None:
        before(self, serving)
        offices.append(self._office)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Api, "__init__", init)
        within(main())
