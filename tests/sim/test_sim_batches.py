"""OpenAI's Batch API as the simulator plays it, under virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, ConnectionLost
from headway.sim import BatchFault, BatchSettings, SimSettings, Simulator, parse_batch_fault, run_virtual
from headway.sim.batch_settings import BATCH_FAULTS
from tests.sim.helpers import CHAT, api, call, content, ended, json, lines, now_s, submit, ticket, upload


def simulator(*faults: str, **fields) -> Simulator:
    """With batch faults, and settings about batches."""
    found = tuple(parse_batch_fault(text) for text in faults)
    return Simulator(SimSettings(quality=None, batches=BatchSettings(faults=found, **fields)))


def test_a_batch_goes_through_its_states_each_with_its_time():
    """validating, in_progress, finalizing, completed; output without order; counts that grow; usage at the end."""

    async def main():
        sim = simulator(duration_s=3_600)
        batch = json(await submit(sim, lines([ticket(n) for n in range(40)]), metadata={"run": "a1"}))
        seen, counts = [batch["status"]], []
        while seen[-1] != "completed":
            await asyncio.sleep(1 if seen[-1] != "in_progress" else 60)
            batch = json(await api(sim, "GET", f"/v1/batches/{batch['id']}"))
            counts.append(batch["request_counts"]["completed"])
            if batch["status"] != seen[-1]:
                seen.append(batch["status"])
        rows = await content(sim, batch["output_file_id"])
        return sim, batch, seen, counts, rows

    sim, batch, seen, counts, rows = run_virtual(main)
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert counts == sorted(counts)
    assert len(set(counts)) > 10
    times = [batch[f"{name}_at"] for name in ("created", "in_progress", "finalizing", "completed", "expires")]
    assert times == sorted(times)
    assert times[-1] - times[0] == 86_400
    assert 3_590 < times[2] - times[1] < 3_610
    assert (batch["metadata"], batch["model"], batch["error_file_id"]) == ({"run": "a1"}, "gpt-4o", None)
    ids = [row["custom_id"] for row in rows]
    assert sorted(ids) == sorted(f"r{n}" for n in range(40))
    assert ids != sorted(ids, key=lambda name: int(name[1:]))
    assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in rows)
    assert batch["usage"]["input_tokens"] == sim.ledger.totals.input_tokens
    assert batch["usage"]["output_tokens"] == sim.ledger.totals.output_tokens


def test_rows_are_answered_as_online_and_cost_half():
    """Same content, same answer, same digest in the books; half the dollars; marked with lane, batch and row."""

    async def main():
        sim = simulator()
        online = await sim.handler(call(CHAT, ticket(7)))
        said = json(online)["choices"][0]["message"]["content"] if await online.read() else ""
        batch = await ended(sim, json(await submit(sim, lines([ticket(7)]))))
        (row,) = await content(sim, batch["output_file_id"])
        return sim.ledger.rows, said, row, batch

    (first, second), said, row, batch = run_virtual(main)
    assert row["response"]["body"]["choices"][0]["message"]["content"] == said
    assert (first.content, first.output_tokens) == (second.content, second.output_tokens)
    assert second.dollars == pytest.approx(first.dollars / 2)
    assert (first.lane, second.lane, second.batch, second.custom_id) == ("online", "batch", batch["id"], "r0")
    assert (second.path, second.attempt, second.outcome) == (CHAT, 2, "ok")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"model": "gpt-5.4-mini", "input": "Write 12 words."}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["one", "two"]}),
    ],
)
def test_other_endpoints(path, body):
    """Responses and embeddings come in batches, too."""

    async def main():
        sim = simulator()
        batch = await ended(sim, json(await submit(sim, lines([body], path), path=path)))
        return (await content(sim, batch["output_file_id"]))[0]["response"]["body"]

    found = run_virtual(main)
    assert found["object"] in ("response", "list")
    assert found["model"] == body["model"]


def bad_file(kind: str) -> bytes:
    """An input file with one thing wrong in line 2."""
    good = lines([ticket(n) for n in range(3)]).splitlines()
    wrong = {
        "invalid_json_line": b'{"custom_id": "x',
        "missing_required_parameter": b'{"custom_id": "x", "method": "POST"}',
        "duplicate_custom_id": good[0],
        "invalid_method": good[1].replace(b"POST", b"GET"),
        "invalid_url": good[1].replace(b"chat/completions", b"responses"),
        "mismatched_model": good[1].replace(b"gpt-4o", b"gpt-4.1"),
        "model_not_found": good[1].replace(b"gpt-4o", b"gpt-9"),
    }
    return b"\n".join([good[0], wrong[kind], good[2]])


@pytest.mark.parametrize(
    "code",
    ["invalid_json_line", "missing_required_parameter", "duplicate_custom_id", "invalid_method", "invalid_url",
     "mismatched_model", "model_not_found"],
)  # fmt: skip
def test_a_bad_line_fails_the_batch_and_says_which(code):
    """First it is validating, then failed with code, line and message; nothing was run or billed."""

    async def main():
        sim = simulator()
        batch = json(await submit(sim, bad_file(code)))
        assert (batch["status"], batch["errors"]) == ("validating", None)
        batch = await ended(sim, batch)
        await sim.jobs.settle()
        return batch, sim.ledger.totals.attempts

    batch, attempts = run_virtual(main)
    (error,) = batch["errors"]["data"]
    assert (batch["status"], error["code"], error["line"], attempts) == ("failed", code, 2, 0)
    assert error["message"]
    assert batch["failed_at"] >= batch["created_at"]
    assert batch["output_file_id"] is batch["error_file_id"] is batch["in_progress_at"] is None


@pytest.mark.parametrize(
    ("fields", "file", "code"),
    [
        ({"rows_max": 3}, lines([ticket(n) for n in range(4)]), "too_many_tasks"),
        ({"bytes_max": 100}, lines([ticket(1)]), "file_size_exceeded"),
        ({}, b"\n\n", "empty_file"),
    ],
)
def test_a_file_that_is_too_long_or_empty_fails(fields, file, code):
    """The limits of 50,000 lines and 200 MB, made small."""

    async def main():
        sim = simulator(**fields)
        return await ended(sim, json(await submit(sim, file)))

    batch = run_virtual(main)
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", code)


def test_embedding_inputs_are_counted_one_by_one():
    """A batch may have as many inputs as lines, however few lines they stand in."""

    async def main():
        sim = simulator(rows_max=5)
        body = {"model": "text-embedding-3-small", "input": ["a", "b", "c"]}
        path = "/v1/embeddings"
        return [await ended(sim, json(await submit(sim, lines([body] * n, path), path=path))) for n in (1, 2)]

    fits, over = run_virtual(main)
    assert (fits["status"], over["status"]) == ("completed", "failed")
    assert over["errors"]["data"][0]["code"] == "too_many_tasks"


@pytest.mark.parametrize("form", ["failed", "refused"])
def test_a_batch_over_the_queue_is_told_in_either_form(form):
    """Ends `failed` with token_limit_exceeded, or is refused at once; it fits when the first has ended."""

    async def main():
        sim = simulator(queue_tokens_max=1_000, over_queue=form, duration_s=600)
        files = [lines([ticket(n, user=str(part)) for n in range(20)]) for part in range(2)]
        first = json(await submit(sim, files[0]))
        second = await submit(sim, files[1])
        other_model = await submit(sim, lines([ticket(1, model="gpt-4.1")]))
        told = json(second)
        if form == "failed":
            told = await ended(sim, told, every_s=30)
        await ended(sim, first)
        third = await ended(sim, json(await submit(sim, files[1])))
        return second.status, told, other_model.status, third["status"]

    status, told, other_model, third = run_virtual(main)
    if form == "failed":
        assert (status, told["status"]) == (200, "failed")
        error = told["errors"]["data"][0]
    else:
        assert status == 429
        error = told["error"]
    assert error["code"] == "token_limit_exceeded"
    assert "Limit: 1,000 enqueued tokens" in error["message"]
    assert (other_model, third) == (200, "completed")


def test_the_form_of_over_queue_is_thrown_where_it_is_not_set():
    """Both come, in about equal shares, and the same ones each time."""

    async def main():
        sim = simulator(queue_tokens_max=1)
        found = []
        for number in range(20):
            await asyncio.sleep(60)
            found.append((await submit(sim, lines([ticket(number)]))).status)
        return found

    found = run_virtual(main)
    assert found == run_virtual(main)
    assert min(Counter(found)[200], Counter(found)[429]) >= 5


def test_a_batch_that_expires_keeps_what_was_done():
    """After 24 h it is expired: output for the rows that were run, batch_expired in the error file for the rest."""

    async def main():
        sim = simulator("row_expired:0.2")
        batch = await ended(sim, json(await submit(sim, lines([ticket(n) for n in range(100)]))))
        good, bad = await content(sim, batch["output_file_id"]), await content(sim, batch["error_file_id"])
        return batch, good, bad, sim.ledger

    batch, good, bad, ledger = run_virtual(main)
    assert batch["status"] == "expired"
    assert batch["expired_at"] >= batch["expires_at"] == batch["created_at"] + 86_400
    assert batch["completed_at"] is None
    assert {row["error"]["code"] for row in bad} == {"batch_expired"}
    assert all(row["response"] is None for row in bad)
    assert 5 < len(bad) < 40
    assert sorted(row["custom_id"] for row in good + bad) == sorted(f"r{n}" for n in range(100))
    assert ledger.totals.ok == ledger.totals.batch == len(good)
    assert ledger.totals.dollars > 0


def test_cancelling_keeps_what_was_done_and_tells_the_rest():
    """cancelling, then cancelled: paid output in its file, batch_cancelled for the rest; not possible at the end."""

    async def main():
        sim = simulator(duration_s=7_200)
        batch = json(await submit(sim, lines([ticket(n) for n in range(100)])))
        await asyncio.sleep(3_600)
        asked = json(await api(sim, "POST", f"/v1/batches/{batch['id']}/cancel"))
        again = await api(sim, "POST", f"/v1/batches/{batch['id']}/cancel")
        batch = await ended(sim, asked, every_s=10)
        late = await api(sim, "POST", f"/v1/batches/{batch['id']}/cancel")
        good, bad = await content(sim, batch["output_file_id"]), await content(sim, batch["error_file_id"])
        return asked, again.status, batch, late, good, bad, sim.ledger.totals.ok

    asked, again, batch, late, good, bad, billed = run_virtual(main)
    assert (asked["status"], again, batch["status"], late.status) == ("cancelling", 200, "cancelled", 409)
    assert asked["cancelling_at"] <= batch["cancelled_at"]
    assert {row["error"]["code"] for row in bad} == {"batch_cancelled"}
    assert len(good) == billed
    assert 30 < len(good) < 70
    assert len(good) + len(bad) == 100


def test_failing_rows_are_in_the_error_file():
    """With the provider's status and error; not billed; counted as failed."""

    async def main():
        sim = simulator("row_500:0.1", "row_400:0.1", "row_429:0.1")
        batch = await ended(sim, json(await submit(sim, lines([ticket(n) for n in range(200)]))))
        return batch, await content(sim, batch["error_file_id"]), sim.ledger.totals

    batch, bad, totals = run_virtual(main)
    found = Counter(row["response"]["status_code"] for row in bad)
    assert set(found) == {400, 429, 500}
    assert all(row["response"]["body"]["error"]["message"] for row in bad)
    assert batch["request_counts"] == {"total": 200, "completed": 200 - len(bad), "failed": len(bad)}
    assert (totals.ok, totals.failed, totals.throttled) == (200 - len(bad), found[400] + found[500], found[429])


def test_a_row_that_is_wrong_by_itself_fails_alone():
    """A parameter out of range, a prompt over the window: 400 for the row, as online."""

    async def main():
        sim = simulator()
        rows = [ticket(1), ticket(2, max_tokens=0), ticket(3, messages=[])]
        batch = await ended(sim, json(await submit(sim, lines(rows))))
        return batch["status"], await content(sim, batch["error_file_id"])

    status, bad = run_virtual(main)
    assert status == "completed"
    assert {(row["custom_id"], row["response"]["status_code"]) for row in bad} == {("r1", 400), ("r2", 400)}


def test_what_is_told_may_be_wrong():
    """Counts that lie, rows in neither file, an output file that is not there, downloads that fail once."""

    async def main():
        sim = simulator("counts", "row_missing:0.3", "content_502:1x1")
        batch = await ended(sim, json(await submit(sim, lines([ticket(n) for n in range(50)]))))
        first = await api(sim, "GET", f"/v1/files/{batch['output_file_id']}/content")
        rows = await content(sim, batch["output_file_id"])
        gone = simulator("output_404")
        lost = await ended(gone, json(await submit(gone, lines([ticket(1)]))))
        missing = await api(gone, "GET", f"/v1/files/{lost['output_file_id']}/content")
        return batch, first, rows, sim.ledger.totals.ok, lost, missing.status

    batch, first, rows, billed, lost, missing = run_virtual(main)
    assert batch["request_counts"] == {"total": 50, "completed": 1, "failed": 0}
    assert (first.status, first.body[:6]) == (502, b"<html>")
    assert 20 < len(rows) == billed < 50
    assert (lost["status"], missing) == ("completed", 404)


def test_a_batch_can_fail_by_the_provider():
    """`failed`, with an error that is not the file's."""

    async def main():
        sim = simulator("failed:1x1")
        first = await ended(sim, json(await submit(sim, lines([ticket(1)]))))
        second = await ended(sim, json(await submit(sim, lines([ticket(1)]))))
        return first["errors"]["data"][0]["code"], second["status"], second["id"] != first["id"]

    assert run_virtual(main) == ("internal_error", "completed", True)


def test_a_reply_that_is_lost_leaves_a_batch_that_runs():
    """The connection ends, yet the batch is in the list with its metadata, and is run and billed."""

    async def main():
        sim = simulator("create_lost:1x1", "upload_lost:1x1")
        with pytest.raises(ConnectionLost):
            await upload(sim, lines([ticket(1)]))
        with pytest.raises(ConnectionLost):
            await submit(sim, lines([ticket(1)]), metadata={"run": "7"})
        found = json(await api(sim, "GET", "/v1/batches?limit=5"))["data"]
        files = json(await api(sim, "GET", "/v1/files?purpose=batch"))["data"]
        await ended(sim, found[0])
        return found, files, sim.ledger.totals.ok

    found, files, billed = run_virtual(main)
    assert [batch["metadata"] for batch in found] == [{"run": "7"}]
    assert (len(files), billed) == (2, 1)


def test_batches_are_listed_by_pages_and_kept_apart():
    """Newest first, `after` and `limit`; another key sees nothing; unknown ids are a 404."""

    async def main():
        sim = simulator()
        ids = [json(await submit(sim, lines([ticket(n)])))["id"] for n in range(5)]
        first = json(await api(sim, "GET", "/v1/batches?limit=2"))
        second = json(await api(sim, "GET", f"/v1/batches?limit=10&after={first['last_id']}"))
        other = json(await api(sim, "GET", "/v1/batches", key="sk-other"))
        alien = (await api(sim, "GET", f"/v1/batches/{ids[0]}", key="sk-other")).status
        return ids, first, second, other["data"], alien, (await api(sim, "GET", "/v1/batches?limit=0")).status

    ids, first, second, other, alien, wrong = run_virtual(main)
    assert [batch["id"] for batch in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (other, alien, wrong) == ([], 404, 400)


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"endpoint": "/v1/messages"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-none"}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ],
)
def test_a_wrong_parameter_is_refused_at_once(changed, param):
    """400, with its name."""

    async def main():
        reply = await submit(simulator(), lines([ticket(1)]), **changed)
        return reply.status, json(reply)["error"]["param"]

    assert run_virtual(main) == (400, param)


def test_only_so_many_batches_an_hour():
    """The next is refused with a 429, until an hour has passed; other keys have their own."""

    async def main():
        sim = simulator(batches_per_hour=3)
        file = lines([ticket(1)])
        found = [(await submit(sim, file)).status for _ in range(4)]
        found.append((await submit(sim, file, key="sk-other")).status)
        await asyncio.sleep(3_600)
        return [*found, (await submit(sim, file)).status]

    assert run_virtual(main) == [200, 200, 200, 429, 200, 200]


def test_calls_can_fail_before_they_take_effect():
    """A 503 at creation: no batch is made."""

    async def main():
        sim = simulator("call_503:1x2")
        return [(await api(sim, "GET", "/v1/batches")).status for _ in range(3)]

    assert run_virtual(main) == [503, 503, 200]


def test_how_long_batches_take():
    """Half within 7 minutes, 90 % within an hour, a tail of hours; times a scale."""

    async def main(scale):
        sim = simulator(scale=scale, batches_per_hour=10_000)
        file = await upload(sim, lines([ticket(1)]))
        body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
        made = [json(await api(sim, "POST", "/v1/batches", body))["id"] for _ in range(400)]
        await asyncio.sleep(90_000)
        found = [json(await api(sim, "GET", f"/v1/batches/{name}")) for name in made]
        return sorted(batch["finalizing_at"] - batch["in_progress_at"] for batch in found)

    took_s = run_virtual(main(1.0))
    assert 300 < took_s[200] < 560
    assert 2_400 < took_s[360] < 5_400
    assert took_s[399] > 3 * 3_600
    assert run_virtual(main(0.01))[399] < 900


def test_a_scale_of_zero_is_done_at_once():
    """For tests that want no waiting at all."""

    async def main():
        sim = simulator("row_expired:0.5", scale=0)
        return json(await submit(sim, lines([ticket(n) for n in range(20)])))["status"]

    assert run_virtual(main) == "expired"


@pytest.mark.parametrize("fields", [{"scale": 0}, {"duration_s": 0.0}, {"duration_s": 600.0}])
def test_who_looks_at_much_undone_work_is_answered_in_between(fields, monkeypatch):
    """Each look does some of it and shows the batch as it was by then; at the end nothing is missing."""
    monkeypatch.setattr("headway.sim.batch_jobs._PATIENCE_S", -1.0)

    async def main():
        sim = simulator(**fields)
        batch = json(await submit(sim, lines([ticket(n) for n in range(170)])))
        await asyncio.sleep(7_200)
        looks = 0
        while batch["status"] != "completed":
            batch = json(await api(sim, "GET", f"/v1/batches/{batch['id']}"))
            looks += 1
        return looks, len(await content(sim, batch["output_file_id"])), sim.ledger.totals.ok

    looks, found, billed = run_virtual(main)
    assert (found, billed) == (170, 170)
    assert 3 <= looks <= 5


def test_three_thousand_rows_over_a_day():
    """A window of 24 h with 3 % expiry, looked at every 5 minutes: every row is in one file, none is billed twice."""

    async def main():
        sim = simulator("row_expired:0.03")
        batch = await ended(sim, json(await submit(sim, lines([ticket(n) for n in range(3_000)]))), every_s=300)
        good, bad = await content(sim, batch["output_file_id"]), await content(sim, batch["error_file_id"])
        return good, bad, Counter(row.content for row in sim.ledger.rows), now_s()

    good, bad, billed, took_s = run_virtual(main)
    assert len({row["custom_id"] for row in good + bad}) == len(good) + len(bad) == 3_000
    assert 60 < len(bad) < 120
    assert len(billed) == len(good)
    assert set(billed.values()) == {1}
    assert took_s > 86_400


ROW_KINDS = [kind for kind in BATCH_FAULTS if kind.startswith("row_")]


@settings(max_examples=40, deadline=None)
@given(
    rates=st.dictionaries(st.sampled_from(ROW_KINDS), st.sampled_from([0.1, 0.5, 1.0])),
    rows=st.integers(1, 25),
    cancel_s=st.none() | st.integers(0, 9_000),
    duration_s=st.sampled_from([0.0, 60.0, 5_000.0, 100_000.0]),
)
def test_every_row_is_somewhere(rates, rows, cancel_s, duration_s):
    """Whatever befalls: output + errors + missing = input, each once; billed is what is in the output, at half price."""

    async def main():
        faults = tuple(BatchFault(kind=kind, rate=rate) for kind, rate in rates.items())
        sim = Simulator(SimSettings(quality=None, batches=BatchSettings(faults=faults, duration_s=duration_s)))
        batch = json(await submit(sim, lines([ticket(n) for n in range(rows)])))
        if cancel_s is not None:
            await asyncio.sleep(cancel_s)
            await api(sim, "POST", f"/v1/batches/{batch['id']}/cancel")
        batch = await ended(sim, batch, every_s=2_000)
        return batch, await content(sim, batch["output_file_id"]), await content(sim, batch["error_file_id"]), sim

    batch, good, bad, sim = run_virtual(main)
    ids = [row["custom_id"] for row in good + bad]
    assert len(set(ids)) == len(ids)
    assert set(ids) <= {f"r{n}" for n in range(rows)}
    if "row_missing" not in rates:
        assert len(ids) == rows
    counts = batch["request_counts"]
    assert (counts["completed"], counts["failed"]) == (len(good), len(bad))
    assert sim.ledger.totals.ok == len(good)
    assert {row.custom_id for row in sim.ledger.rows if row.outcome == "ok"} == {row["custom_id"] for row in good}
    assert sum(row.dollars for row in sim.ledger.rows) == pytest.approx(sim.ledger.totals.dollars)


def test_batches_that_have_ended_are_forgotten_at_last():
    """So that memory stays bounded; where none has ended, no more are accepted."""

    async def main():
        sim = simulator(batches_max=2, duration_s=60)
        first = json(await submit(sim, lines([ticket(1)])))
        await submit(sim, lines([ticket(2)]))
        full = (await submit(sim, lines([ticket(3)]))).status
        await ended(sim, first, every_s=60)
        later = (await submit(sim, lines([ticket(3)]))).status
        return full, later, (await api(sim, "GET", f"/v1/batches/{first['id']}")).status

    assert run_virtual(main) == (429, 200, 404)


@pytest.mark.parametrize("text", ["lightning:0.1", "row_500:lots", "row_500:2", "row_500:1x0", "row 500"])
def test_a_fault_that_is_none_is_a_sentence(text):
    """Which one, and how to write it."""
    with pytest.raises(ConfigError, match="batch fault"):
        parse_batch_fault(text)


@pytest.mark.parametrize(
    "fields", [{"scale": -1.0}, {"duration_s": -1.0}, {"rows_max": 0}, {"over_queue": "later"}, {"queue_tokens_max": 0}]
)
def test_settings_out_of_range(fields):
    """The message names the key."""
    with pytest.raises(ConfigError, match=f"batches.{next(iter(fields))}"):
        BatchSettings(**fields)
