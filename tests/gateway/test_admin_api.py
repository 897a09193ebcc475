"""The documents of a gateway that really runs, from calls that were really made."""

from __future__ import annotations

import asyncio
import csv
import json
from itertools import pairwise
from pathlib import Path

import pytest

from headway.gateway.app.admin.keys import spend_csv
from headway.gateway.keys import KeyStore
from headway.testing import FakeProvider
from tests.gateway.admin_helpers import MODEL, ask, get, made, served, when
from tests.gateway.helpers import gateway, within


def test_calls_are_on_the_first_view_in_the_list_and_taken_apart(tmp_path: Path) -> None:
    """Made by a client, seen a moment later: figures, money, the upstream, the waterfall; and no text of theirs."""

    async def main() -> None:
        async with served(tmp_path, cache="memory") as client:
            await asyncio.gather(*[ask(client, f"What is {n}? SECRET-WORD") for n in range(4)])
            await ask(client, "What is 0? SECRET-WORD")
            view = await when(client, "/api/overview", lambda found: found["totals"]["calls"] == 5)
            assert view["log"] == "on"
            totals, series = view["totals"], view["series"]
            assert totals["failed"] == 0
            assert totals["dollars"] > 0 < totals["saved_dollars"]
            assert sum(series["calls"]) == 5
            assert sum(series["hits"]) == 1
            assert totals["total"]["p50_s"] > 0
            assert {tier["tier"]: tier["count"] for tier in view["tiers"]} == {"memory": 1, "miss": 4}
            assert [layer["layer"] for layer in view["money"]["by_layer"]] == ["cache"]
            assert view["money"]["by_model"][0]["id"] == MODEL
            upstream = view["upstreams"][0]
            assert (upstream["attempts"], upstream["breaker"]) == (4, "none")
            assert view["live"]["workers"] == 1
            assert [choice["id"] for choice in view["choices"]["models"]] == [MODEL]
            listed = (await get(client, "/api/calls"))["calls"]
            assert listed == view["calls"]
            assert sum(line["cache"] == "memory" for line in listed) == 1
            for line in listed:
                detail = await get(client, f"/api/calls/{line['id']}")
                assert detail["call"] == line
                lanes = {span["lane"] for span in detail["spans"]}
                assert lanes == ({"call"} if line["cache"] == "memory" else {"call", "attempt 1"})
                for row in (detail["fields"], *detail["attempts"]):
                    assert not {"prompt", "answer", "block_hashes"} & row.keys()
                assert "SECRET-WORD" not in json.dumps(detail)

    within(main())


def test_filters_pages_and_outcomes(tmp_path: Path) -> None:
    """Only what was asked for, a page at a time, each call once."""

    async def main() -> None:
        async with served(tmp_path) as client:
            for n in range(7):
                await ask(client, f"Number {n}", model=MODEL if n % 2 else "gpt-5.4")
            await when(client, "/api/overview", lambda found: found["totals"]["calls"] == 7)
            found, before = [], ""
            while True:
                page = await get(client, f"/api/calls?limit=2&model={MODEL}{before and f'&before={before}'}")
                found += page["calls"]
                if not page["more"]:
                    break
                before = page["next"]
            assert [line["model"] for line in found] == [MODEL] * 3
            assert len({line["id"] for line in found}) == 3
            assert (await get(client, "/api/calls?outcome=failed"))["calls"] == []
            assert len((await get(client, "/api/calls?outcome=ok"))["calls"]) == 7
            view = await get(client, f"/api/overview?window_s=60&model={MODEL}&route=/v1/chat/completions")
            assert view["totals"]["calls"] == 3
            assert len(view["choices"]["models"]) == 2  # what there is to choose, whatever is chosen
            assert (await get(client, "/api/overview?key=nobody"))["totals"]["calls"] == 0

    within(main())


def test_a_call_that_failed_shows_its_tries(tmp_path: Path) -> None:
    """Tries that were throttled are lanes of their own, and what they were is counted as wasted."""

    async def main() -> None:
        provider = FakeProvider([429, 500, 200])
        async with gateway(provider, base_url="http://fake.invalid/v1", log=str(tmp_path / "calls.sqlite")) as url:
            import httpx2

            async with httpx2.AsyncClient(base_url=url, timeout=20) as client:
                await ask(client)
                view = await when(client, "/api/overview", lambda found: found["totals"]["calls"] == 1)
                assert view["totals"]["throttled"] == 1
                assert view["upstreams"][0]["attempts"] == 3
                assert {layer["layer"]: layer["count"] for layer in view["money"]["by_layer"]} == {"retry": 2}
                detail = await get(client, f"/api/calls/{view['calls'][0]['id']}")
                assert [one["outcome"] for one in detail["attempts"]] == ["throttled", "server_error", "ok"]
                assert {"attempt 1", "attempt 2", "attempt 3"} <= {span["lane"] for span in detail["spans"]}
                total_s = detail["call"]["total_s"]
                own = [span for span in detail["spans"] if span["lane"] == "call"]
                assert own[0]["start_s"] == 0.0
                assert own[-1]["end_s"] == pytest.approx(total_s)
                assert all(a["end_s"] == b["start_s"] for a, b in pairwise(own))

    within(main())


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api", 404, "not_found"),
        ("/api/", 404, "not_found"),
        ("/api/nothing", 404, "not_found"),
        ("/api/calls/nobody", 404, "unknown_call"),
        ("/api/runs/nobody", 404, "unknown_run"),
        ("/api/overview?window_s=59", 422, "invalid_parameter"),
        ("/api/overview?window_s=nan", 422, "invalid_parameter"),
        ("/api/overview?window_s=1e3", 422, "invalid_parameter"),
        ("/api/overview?window_s=604801", 422, "invalid_parameter"),
        ("/api/overview?window_s=60&window_s=60", 422, "invalid_parameter"),
        ("/api/overview?other=1", 422, "unknown_parameter"),
        ("/api/overview?model=" + "m" * 201, 422, "invalid_parameter"),
        ("/api/overview?model=%ff", 422, "invalid_query"),
        ("/api/calls?limit=0", 422, "invalid_parameter"),
        ("/api/calls?limit=201", 422, "invalid_parameter"),
        ("/api/calls?outcome=odd", 422, "invalid_parameter"),
        ("/api/calls?before=../x", 422, "invalid_parameter"),
        ("/api/keys/spend.csv?month=2026-13", 422, "invalid_parameter"),
        ("/api/runs", 422, "invalid_parameter"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, path: str, status: int, code: str) -> None:
    """As JSON, with a word for programs."""

    async def main() -> None:
        async with served(tmp_path) as client:
            assert (await get(client, path, status))["error"]["code"] == code

    within(main())


def test_it_is_read_only(tmp_path: Path) -> None:
    """There is no method that changes anything but the session."""

    async def main() -> None:
        async with served(tmp_path) as client:
            for path in ("/api/keys", "/api/calls", "/api/overview", "/api/calls/a"):
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                    reply = await client.request(method, path)
                    assert reply.status_code == 405
                    assert reply.headers["allow"] == "GET, HEAD"
            assert (await client.head("/api/session")).status_code == 200

    within(main())


def test_without_a_log_the_present_is_told(tmp_path: Path) -> None:
    """And why there is nothing else."""

    async def main() -> None:
        async with served(tmp_path, log="off") as client:
            await ask(client)
            view = await get(client, "/api/overview")
            assert view["log"] == "off"
            assert "switched off" in view["log_note"]
            assert view["totals"]["calls"] == 0
            assert view["upstreams"][0]["origin"] == "http://sim.invalid"
            assert (await get(client, "/api/calls"))["calls"] == []
            assert (await get(client, "/api/pipelines"))["pipelines"] == []

    within(main())


def test_keys_and_what_they_spent(tmp_path: Path) -> None:
    """Names, limits and figures by key; their texts and digests nowhere; calls are told by their keys' names."""
    path = tmp_path / "keys"
    admin, app = made(path, "me", admin=True), made(path, dollars_per_day=5.0)

    async def main() -> None:
        async with served(tmp_path, keys=str(path)) as client:
            await ask(client, key=app)
            client.headers["authorization"] = f"Bearer {admin}"
            view = await when(client, "/api/overview", lambda found: found["totals"]["calls"] == 1)
            assert view["calls"][0]["key_name"] == "app"
            assert [choice["name"] for choice in view["choices"]["keys"]] == ["app"]
            found = await when(client, "/api/keys", lambda found: found["keys"][0]["month_requests"])
            lines = {line["name"]: line for line in found["keys"]}
            assert lines["app"]["dollars_per_day"] == 5.0
            assert lines["app"]["day_dollars"] == lines["app"]["month_dollars"] > 0
            assert lines["me"]["admin"]
            assert lines["me"]["dollars_per_day"] is None
            table = await client.get("/api/keys/spend.csv")
            assert table.headers["content-type"] == "text/csv; charset=utf-8"
            assert "attachment" in table.headers["content-disposition"]
            rows = list(csv.DictReader(table.text.splitlines()))
            assert [row["name"] for row in rows] == ["app"]
            for text in (json.dumps(found), table.text, json.dumps(view)):
                assert not any(key.split("-", 2)[2] in text for key in (admin, app))

    within(main())


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    """A spreadsheet that opens the table runs nothing of it."""
    path = tmp_path / "keys"
    made(path, "=cmd|' /C calc'!A0")
    with KeyStore(path) as store:
        key = next(iter(store.known().keys))
        store._connection.execute(
            "INSERT INTO spend (day, key, dollars, tokens, requests) VALUES ('2026-11-02', ?, 1, 2, 3)", (key,)
        )
    rows = list(csv.reader(spend_csv(path, "2026-11").splitlines()))
    assert rows[1][2].startswith("'=")
    assert len(rows) == 2
    assert spend_csv(path, "2026-10").count("\n") == 1
