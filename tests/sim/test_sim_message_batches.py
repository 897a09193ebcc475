"""Anthropic's Message Batches as the simulator plays them, under virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headway.sim import BatchSettings, SimSettings, Simulator, parse_batch_fault, run_virtual
from tests.sim.helpers import api, call, json

BATCHES = "/v1/messages/batches"


def simulator(*faults: str, **fields) -> Simulator:
    """With batch faults, and settings about batches."""
    found = tuple(parse_batch_fault(text) for text in faults)
    return Simulator(SimSettings(quality=None, batches=BatchSettings(faults=found, **fields)))


def message(number: int) -> dict[str, Any]:
    """One request of many."""
    text = f"Write {number + 5} words."
    return {"model": "claude-haiku-4-5", "max_tokens": 200, "messages": [{"role": "user", "content": text}]}


def requests(count: int) -> dict[str, Any]:
    """A batch's body; the ids are r0, r1, ..."""
    return {"requests": [{"custom_id": f"r{n}", "params": message(n)} for n in range(count)]}


async def ended(sim: Simulator, batch: dict[str, Any], *, every_s: float = 600.0) -> dict[str, Any]:
    """The batch when it has ended."""
    while batch["processing_status"] != "ended":
        await asyncio.sleep(every_s)
        batch = json(await api(sim, "GET", f"{BATCHES}/{batch['id']}"))
    return batch


async def results(sim: Simulator, batch: dict[str, Any]) -> dict[str, Any]:
    """Every result by its id."""
    reply = await api(sim, "GET", f"{BATCHES}/{batch['id']}/results")
    rows = [msgspec.json.decode(line) for line in (reply.body or b"").splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows)
    return {row["custom_id"]: row["result"] for row in rows}


def test_a_batch_runs_and_ends():
    """Counts stay zero until the end; results come in no order, as online, at half the price."""

    async def main():
        sim = simulator(duration_s=3_600)
        online = json(await sim.handler(call("/v1/messages", message(3))))
        made = json(await api(sim, "POST", BATCHES, requests(30)))
        early = (await api(sim, "GET", f"{BATCHES}/{made['id']}/results")).status
        await asyncio.sleep(1_800)
        half = json(await api(sim, "GET", f"{BATCHES}/{made['id']}"))
        await sim.jobs.settle()
        billed = sim.ledger.totals.batch
        done = await ended(sim, half)
        return online, made, early, half, billed, done, await results(sim, done), sim.ledger.rows

    online, made, early, half, billed, done, found, rows = run_virtual(main)
    zero = {"succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    assert made["processing_status"] == half["processing_status"] == "in_progress"
    assert made["request_counts"] == half["request_counts"] == {"processing": 30, **zero}
    assert (early, made["results_url"], made["ended_at"]) == (404, None, None)
    assert 5 < billed < 25
    assert done["request_counts"] == {"processing": 0, **zero, "succeeded": 30}
    assert done["results_url"].endswith(f"{BATCHES}/{done['id']}/results")
    assert list(found) != [f"r{n}" for n in range(30)]
    told = found["r3"]["message"]
    assert told["content"] == online["content"]
    assert told["usage"]["service_tier"] == "batch"
    twin = next(row for row in rows if row.custom_id == "r3")
    assert (twin.content, twin.lane, twin.path) == (rows[0].content, "batch", "/v1/messages")
    assert twin.dollars == pytest.approx(rows[0].dollars / 2)


def test_every_kind_of_result():
    """Errored rows have the provider's error and are not billed; what is not run in 24 h is expired."""

    async def main():
        sim = simulator("row_500:0.2", "row_expired:0.2")
        body = requests(60)
        body["requests"][0]["params"] = {"model": "claude-haiku-4-5"}
        done = await ended(sim, json(await api(sim, "POST", BATCHES, body)))
        return done, await results(sim, done), sim.ledger.totals.ok

    done, found, billed = run_virtual(main)
    kinds = [result["type"] for result in found.values()]
    counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
    assert done["request_counts"] == {"processing": 0, **counts}
    assert min(counts["succeeded"], counts["errored"], counts["expired"]) > 3
    assert (sum(counts.values()), counts["succeeded"]) == (60, billed)
    if found["r0"]["type"] == "errored":
        assert found["r0"]["error"]["error"]["type"] in ("invalid_request_error", "api_error")
    errors = {result["error"]["error"]["type"] for result in found.values() if result["type"] == "errored"}
    assert "api_error" in errors


def test_cancelling():
    """canceling, then ended; what was done stays, the rest is canceled."""

    async def main():
        sim = simulator(duration_s=7_200)
        made = json(await api(sim, "POST", BATCHES, requests(50)))
        await asyncio.sleep(3_600)
        asked = json(await api(sim, "POST", f"{BATCHES}/{made['id']}/cancel"))
        done = await ended(sim, asked, every_s=10)
        return asked, done, await results(sim, done), sim.ledger.totals.ok

    asked, done, found, billed = run_virtual(main)
    assert asked["processing_status"] == "canceling"
    assert asked["cancel_initiated_at"] is not None
    counts = done["request_counts"]
    assert counts["succeeded"] == billed > 10
    assert counts["canceled"] == sum(result["type"] == "canceled" for result in found.values()) > 10
    assert counts["succeeded"] + counts["canceled"] == 50


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"requests": []}, "1 to 5 requests"),
        (requests(6), "1 to 5 requests"),
        ({"requests": [{"custom_id": "a"}]}, "params"),
        ({"requests": [{"custom_id": "a", "params": {}}] * 2}, "more than once"),
        ({"requests": [{"custom_id": "", "params": {}}]}, "characters"),
        (b"{", "requests"),
    ],
)
def test_a_wrong_batch_is_a_400(body, said):
    """In Anthropic's own shape."""

    async def main():
        return await api(simulator(message_rows_max=5), "POST", BATCHES, body)

    reply = run_virtual(main)
    told = json(reply)
    assert (reply.status, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
    assert said in told["error"]["message"]


def test_a_body_over_its_limit_is_a_413():
    """256 MB, made small."""

    async def main():
        return await api(simulator(message_bytes_max=100), "POST", BATCHES, requests(5))

    reply = run_virtual(main)
    assert (reply.status, json(reply)["error"]["type"]) == (413, "request_too_large")


def test_lists_pages_and_deletion():
    """Newest first, after_id and before_id; a batch that runs cannot be deleted; unknown ids are a 404."""

    async def main():
        sim = simulator()
        ids = [json(await api(sim, "POST", BATCHES, requests(n + 1)))["id"] for n in range(5)]
        first = json(await api(sim, "GET", f"{BATCHES}?limit=2"))
        second = json(await api(sim, "GET", f"{BATCHES}?limit=2&after_id={first['last_id']}"))
        before = json(await api(sim, "GET", f"{BATCHES}?limit=2&before_id={second['first_id']}"))
        early = (await api(sim, "DELETE", f"{BATCHES}/{ids[0]}")).status
        await asyncio.sleep(90_000)
        deleted = json(await api(sim, "DELETE", f"{BATCHES}/{ids[0]}"))
        gone = await api(sim, "GET", f"{BATCHES}/{ids[0]}")
        return ids[::-1], first, second, before, early, deleted, gone

    ids, first, second, before, early, deleted, gone = run_virtual(main)
    assert [[row["id"] for row in found["data"]] for found in (first, second, before)] == [ids[:2], ids[2:4], ids[:2]]
    assert (first["has_more"], early, deleted["type"]) == (True, 400, "message_batch_deleted")
    assert (gone.status, json(gone)["error"]["type"]) == (404, "not_found_error")


def test_answers_carry_the_organisation():
    """As Anthropic names it."""

    async def main():
        sim = Simulator(SimSettings(organisations={"sk-test": "acme"}))
        return (await api(sim, "GET", BATCHES)).headers

    assert ("anthropic-organization-id", "acme") in run_virtual(main)
