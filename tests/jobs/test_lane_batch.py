"""The batch lane against the simulator's batch APIs, on virtual time, held against the provider's own books."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headway.errors import HeadwayError
from headway.jobs.lanes import Item
from headway.prompts.task import Task
from headway.testing import virtual_run
from headway.types import Reply
from headway.wire.batch_openai import OpenAIBatch
from tests.jobs.batch_world import World, lost_after, never_sent

APIS = ["responses", "messages"]
QUICK = {"duration_s": 60.0}


def play(scenario, rows=40, *, lane=None, flush=True, **settings):
    """Put rows, wait for all, close; the scenario's asserts get the world."""

    async def main():
        world = World(**{"batches": QUICK} | settings)
        batch = world.lane(**(lane or {}))
        try:
            await world.put(batch, range(rows))
            if flush:
                batch.flush()
            await world.until(rows, lane=batch)
            view = batch.view()
            assert (view.waiting, view.out) == (0, 0)
            await scenario(world, batch)
        finally:
            await world.end()

    virtual_run(main)


def whole(world, rows):
    """Every row has its own answer, in the batch lane."""
    assert not world.returned
    assert [result.error for result in world.results if result.error] == []
    assert {result.index for result in world.results} == set(range(rows))
    for result in world.results:
        assert f"thing {result.index}" in result.text
        assert result.lane == "batch"
        assert result.dollars is not None


@pytest.mark.parametrize("api", ["responses", "chat", "messages"])
def test_rows_come_back_at_half_the_price(api):
    """Unordered answers find their rows; what is booked is what was billed; the uploaded file is deleted."""

    async def scenario(world, batch):
        whole(world, 40)
        paid = await world.paid()
        assert len(paid) == 40
        assert set(paid.values()) == {1}
        billed = sum(row.dollars for row in world.sim.ledger.rows)
        assert sum(result.dollars for result in world.results) == pytest.approx(billed)
        assert all(result.latency_s >= 60.0 for result in world.results)
        assert sum(world.calls[one] for one in world.calls if one.startswith("DELETE")) == (
            0 if api == "messages" else 3
        )

    play(scenario, api=api, lane={"rows_max": 17})


@pytest.mark.parametrize("api", APIS)
def test_a_window_of_24_hours_with_expired_rows(api):
    """Expired batches keep their paid answers; only what is missing goes again, and is paid once."""

    async def scenario(world, batch):
        whole(world, 200)
        assert world.loop.time() > 86_400
        paid = await world.paid()
        assert len(paid) == 200
        assert set(paid.values()) == {1}
        assert sum(world.calls.values()) < 1_200

    play(scenario, 200, api=api, faults=["row_expired:0.03"], batches={"duration_s": None})


@pytest.mark.parametrize("api", APIS)
def test_rows_that_fail_are_told_and_those_that_may_succeed_go_again(api):
    """A 400 is the row's own; 500s, 429s and rows in no file are tried twice more, then handed back."""

    async def scenario(world, batch):
        assert len(world.settled) == 120
        failed = [result for result in world.results if result.error]
        assert failed
        assert {result.status for result in failed} == {400}
        assert all("refused by a simulated fault" in result.error for result in failed)
        assert {result.dollars for result in failed} == {0.0}
        paid = await world.paid()
        assert len(paid) + len(failed) + len(world.returned) == 120
        assert set(paid.values()) == {1}

    faults = ["row_400:0.05", "row_500:0.1", "row_429:0.1", "row_missing:0.2", "counts:1"]
    play(scenario, 120, api=api, faults=faults)


def test_rows_that_never_succeed_are_handed_back_after_two_more_batches():
    """They are settled with nothing, once: it is somebody else's turn."""

    async def scenario(world, batch):
        assert sorted(item.row for item in world.returned) == list(range(10))
        assert world.calls["POST /v1/batches"] == 3
        assert not await world.paid()

    play(scenario, 10, faults=["row_500:1"])


@pytest.mark.parametrize("how", ["refused", "failed"])
def test_a_full_queue_is_waited_out(how):
    """Both forms: parcels go back to the front, come again when there is room, and nothing is paid twice."""

    async def scenario(world, batch):
        whole(world, 60)
        assert set((await world.paid()).values()) == {1}
        assert world.calls["POST /v1/batches"] > 6  # some were refused
        assert world.calls["POST /v1/files"] == 6  # a file is uploaded once, however often its batch is refused

    batches = {"duration_s": 300.0, "queue_tokens_max": 350, "over_queue": how}
    play(scenario, 60, lane={"rows_max": 10}, batches=batches)


@pytest.mark.parametrize("how", ["refused", "failed"])
def test_a_parcel_larger_than_the_queue_is_halved(how):
    """The size that fits is learned; later parcels are no larger."""

    async def scenario(world, batch):
        whole(world, 64)
        assert set((await world.paid()).values()) == {1}

    play(scenario, 64, batches={"duration_s": 30.0, "queue_tokens_max": 300, "over_queue": how})


@pytest.mark.parametrize("api", APIS)
def test_a_create_whose_answer_is_lost_is_found_again(api):
    """It is not made twice: by its metadata, or where there is none by the ids of its rows."""

    async def scenario(world, batch):
        whole(world, 12)
        assert set((await world.paid()).values()) == {1}
        path = "/v1/messages/batches" if api == "messages" else "/v1/batches"
        assert world.calls[f"POST {path}"] == 2

    path = "/batches"
    play(scenario, 12, api=api, lane={"rows_max": 6}, wrap=lost_after("POST", path))


def test_a_list_that_lags_behind_is_asked_again():
    """A batch that was just made may not be in it yet: to believe that would be to pay twice."""
    lost, looks = lost_after("POST", "/batches"), [0]

    async def wrap(call, send):
        reply = await lost(call, send)
        if call.method == "GET" and call.path.partition("?")[0] == "/v1/batches":
            looks[0] += 1
            if looks[0] < 3:
                return Reply(200, reply.headers, b'{"data":[],"has_more":false}')
        return reply

    async def scenario(world, batch):
        whole(world, 6)
        assert looks == [3]
        assert set((await world.paid()).values()) == {1}
        assert world.calls["POST /v1/batches"] == 1

    play(scenario, 6, wrap=wrap)


def test_a_create_that_was_not_made_is_made_again():
    """A 500 may mean anything: the list says that there is no batch."""

    async def scenario(world, batch):
        whole(world, 5)
        assert set((await world.paid()).values()) == {1}

    play(scenario, 5, faults=["call_500:0.3"], seed=3)


def test_a_lost_upload_costs_nothing():
    """It is made again."""

    async def scenario(world, batch):
        whole(world, 5)
        assert world.calls["POST /v1/files"] == 2

    play(scenario, 5, faults=["upload_lost:1x1"])


@pytest.mark.parametrize("api", APIS)
def test_a_download_that_breaks_is_made_again(api):
    """A 502, an answer cut in the middle: from the beginning, and no row is settled twice."""
    left = [3]

    async def wrap(call, send):
        reply = await send(call)
        path = call.path
        if not (path.endswith(("/content", "/results")) and left[0]):
            return reply
        left[0] -= 1
        if left[0] == 2:
            return Reply(502, (("content-type", "text/html"),), b"<html>bad gateway</html>")
        data = await reply.read()
        return Reply(200, reply.headers, data[: len(data) // 2 + 1])  # not an error as HTTP sees it

    async def scenario(world, batch):
        whole(world, 20)
        assert set((await world.paid()).values()) == {1}
        assert left == [0]

    play(scenario, 20, api=api, wrap=wrap)


def test_answers_that_the_provider_lost_are_asked_for_again_and_their_price_is_unknown():
    """The output file is a 404 for good: what was paid for it nobody can say."""

    async def scenario(world, batch):
        assert len(world.results) == 10
        assert {result.dollars for result in world.results} == {None}
        assert {result.attempts for result in world.results} == {2}
        assert set((await world.paid()).values()) == {2}

    play(scenario, 10, faults=["output_404:1x1"])


def test_lost_answers_can_be_left_alone():
    """Then such rows fail, and say why."""

    async def scenario(world, batch):
        assert {result.dollars for result in world.results} == {None}
        assert all("has lost the answer" in result.error for result in world.results)
        assert set((await world.paid()).values()) == {1}

    play(scenario, 10, faults=["output_404:1x1"], lane={"lost_again": False})


def test_a_batch_that_fails_as_a_whole_is_made_again():
    """An error of the provider's own, twice: nothing was run, nothing is paid; the third time it works."""

    async def scenario(world, batch):
        whole(world, 10)
        assert world.calls["POST /v1/batches"] == 3

    play(scenario, 10, faults=["failed:1x2"])


def test_rows_that_a_failed_batch_names_are_failed_and_the_others_go_again():
    """A validation error names a line."""

    class OddTask(Task):
        def body(self, row):
            body = super().body(row)
            return body.replace(b'"model":"gpt-4o-mini"', b'"model":7') if row["text"] == "thing 3" else body

    async def scenario(world, batch):
        (failed,) = [result for result in world.results if result.error]
        assert failed.index == 3
        assert failed.outcome == "input"
        assert "line" in failed.error
        assert len(await world.paid()) == 9

    task = OddTask(model="gpt-4o-mini", prompt="Say a word about {text}.", max_output_tokens=16)
    play(scenario, 10, task=task)


def test_equal_rows_wait_for_one_answer():
    """With reuse: one of them is paid, the others are joined, whichever comes first; without, each is asked."""

    async def main(reuse):
        world = World(batches=QUICK)
        batch = world.lane(reuse=reuse)
        for row in range(9):
            await batch.put(world.item(row, text=f"thing {row % 3}", equal=row // 3))
        batch.flush()
        await world.until(9, lane=batch)
        paid = await world.paid()
        await world.end()
        return world, paid

    world, paid = virtual_run(lambda: main(True))
    assert set(paid.values()) == {1}
    joined = [result for result in world.results if result.cache == "joined"]
    assert len(joined) == 6
    assert {(result.dollars, result.attempts) for result in joined} == {(0.0, 0)}
    assert all(f"thing {result.index % 3}" in result.text for result in world.results)
    assert all(result.saved_dollars > 0 for result in joined)
    _, paid = virtual_run(lambda: main(False))
    assert set(paid.values()) == {3}


def test_rows_that_are_equal_when_normalised_wait_for_one_answer():
    """As online: what the task declares to make no difference makes none."""

    async def main():
        task = Task(model="gpt-4o-mini", prompt="Say a word about {text}.", normalize={"text": ["casefold"]})
        world = World(batches=QUICK, task=task)
        batch = world.lane(reuse=True)
        for row, text in enumerate(["Thing", "thing", "other", "THING", "thing"]):
            await batch.put(world.item(row, text=text, equal=int(row == 4)))
        batch.flush()
        await world.until(5, lane=batch)
        assert sorted((await world.paid()).values()) == [1, 1]
        assert sorted(result.cache for result in world.results) == ["joined", "joined", "joined", "off", "off"]
        await world.end()

    virtual_run(main)


@pytest.mark.parametrize("faults", [(), ("row_missing:0.5",), ("row_expired:0.5",)])
def test_joined_rows_follow_theirs_into_the_next_batch(faults):
    """A row that goes again takes those that wait for it along; handed back, they are, too."""

    async def main():
        world = World(batches=QUICK | {"scale": 0.1}, faults=faults, seed=5)
        batch = world.lane(reuse=True)
        for row in range(20):
            await batch.put(world.item(row, text=f"thing {row % 10}", equal=row // 10))
        batch.flush()
        await world.until(20, lane=batch)
        assert set((await world.paid()).values()) <= {1}
        returned = {item.row % 10 for item in world.returned}
        assert len(world.returned) == 2 * len(returned)
        await world.end()

    virtual_run(main)


def test_cached_answers_are_used_and_new_ones_kept():
    """A second lane with the same cache sends nothing."""

    async def main():
        world = World(batches=QUICK, cache="memory")
        batch = world.lane(reuse=True)
        await world.put(batch, range(5))
        batch.flush()
        await world.until(5, lane=batch)
        calls = world.calls.total()
        for row in range(5, 10):
            await batch.put(world.item(row, text=f"thing {row - 5}", equal=1))
        assert len(world.settled) == 10  # at once
        assert world.calls.total() == calls
        hits = [result for result in world.results if result.index >= 5]
        assert {(result.cache, result.dollars) for result in hits} == {("memory", 0.0)}
        await world.end()

    virtual_run(main)


def test_bad_answers_are_asked_again_in_another_batch():
    """A repair is a question of its own; what both took is in the row's result."""

    class Choosy(Task):
        seen = frozenset()

        def accept(self, text):
            if text[-2] == "3" and text not in self.seen:
                self.seen |= {text}
                raise ValueError("it ends in 3")
            return text

    async def scenario(world, batch):
        repaired = [result for result in world.results if result.repairs]
        assert sorted(result.index for result in repaired) == [3, 13, 23, 33]
        assert all((result.attempts, result.error) == (2, "") for result in repaired)
        assert sum(r.dollars for r in world.results) == pytest.approx(sum(r.dollars for r in world.sim.ledger.rows))
        assert len(await world.paid()) == 44

    play(scenario, task=Choosy(model="gpt-4o-mini", prompt="Say a word about {text}.", max_output_tokens=64))


@pytest.mark.parametrize("api", APIS)
def test_recalled_rows_keep_what_was_paid(api):
    """Batches are cancelled: answers until then are rows' results, the others come back, none is both."""

    async def main():
        world = World(api=api, batches={"duration_s": 3_000.0})
        batch = world.lane(rows_max=20)
        await world.put(batch, range(50))
        batch.flush()
        await asyncio.sleep(1_500)
        assert len(batch.view().batches) == 3
        await batch.recall()
        assert len(world.settled) == 50
        assert len(world.results) > 5
        assert len(world.returned) > 5
        paid = await world.paid()
        assert len(paid) == len(world.results)
        await batch.put(world.item(50))
        assert world.returned[-1].row == 50  # it takes nothing any more
        await world.end()

    virtual_run(main)


def test_a_cancellation_that_is_lost_is_made_again():
    """Or the batch would run on, and be paid for rows that have gone elsewhere."""

    async def main():
        world = World(batches={"duration_s": 3_000.0}, wrap=never_sent("/cancel", 2))
        batch = world.lane()
        await world.put(batch, range(20))
        batch.flush()
        await asyncio.sleep(600)
        await batch.recall()
        assert world.loop.time() < 1_800
        assert len(world.settled) == 20
        assert len(world.returned) > 5
        assert len(await world.paid()) == len(world.results)
        await world.end()

    virtual_run(main)


def test_a_batch_has_one_model():
    """Where the provider wants that, rows of two models go into two batches."""

    class Two(Task):
        def body(self, row):
            body = super().body(row)
            return body.replace(b"gpt-4o-mini", b"gpt-4.1-mini") if int(row["text"][-1]) % 2 else body

    async def scenario(world, batch):
        whole(world, 40)
        assert world.calls["POST /v1/batches"] == 2

    play(scenario, task=Two(model="gpt-4o-mini", prompt="Say a word about {text}.", max_output_tokens=64))


def test_recalled_while_waiting_for_room():
    """What is not sent comes back at once, those who wait to put a row included."""

    async def main():
        world = World(batches={"queue_tokens_max": 1, "over_queue": "refused"})
        batch = world.lane(rows_max=5, waiting_max=2)
        putting = asyncio.ensure_future(world.put(batch, range(30)))
        await asyncio.sleep(30)
        assert not putting.done()
        await batch.recall()
        await putting
        assert len(world.returned) == 30
        await world.end()

    virtual_run(main)


def test_put_waits_while_parcels_queue_up():
    """Bounded: at the provider, waiting, and being filled."""

    async def main():
        world = World(batches=QUICK)
        batch = world.lane(rows_max=5, waiting_max=2, batches_max=1)
        putting = asyncio.ensure_future(world.put(batch, range(100)))
        await asyncio.sleep(10)
        view = batch.view()
        assert view.out == 5
        assert view.waiting <= 15
        await putting
        batch.flush()
        await world.until(100, lane=batch)
        whole(world, 100)
        await world.end()

    virtual_run(main)


def test_a_slow_source_makes_few_batches():
    """A pause sends what is there; the next pauses are longer, or every row would be a batch."""

    async def main():
        world = World(batches=QUICK)
        batch = world.lane()
        for row in range(100):
            await world.put(batch, [row])
            await asyncio.sleep(3.0)
        await world.until(100, lane=batch)
        whole(world, 100)
        assert world.calls["POST /v1/batches"] < 8
        await world.end()

    virtual_run(main)


def test_a_row_too_large_for_any_batch_goes_elsewhere():
    """And one that cannot be asked about at all is settled with its error."""

    async def main():
        world = World(batches=QUICK)

        class Small(OpenAIBatch):
            bytes_max = 1_000

        batch = world.lane(fmt=Small("/v1/responses", "/v1"))
        await batch.put(world.item(0, text="x" * 2_000))
        await batch.put(Item(row=1, key="0" * 32 + "#0", data={"other": "column"}))
        await batch.put(world.item(2))
        batch.flush()
        await world.until(3, lane=batch)
        assert [item.row for item in world.returned] == [0]
        assert world.settled[1].outcome == "input"
        assert not world.settled[2].error
        await world.end()

    virtual_run(main)


def test_a_provider_without_batches_gets_no_more_of_them():
    """A 404 for the upload: rows go elsewhere, and so do all that come."""

    async def wrap(call, send):
        return Reply(404, (), b'{"error":{"message":"no such page"}}')

    async def scenario(world, batch):
        assert len(world.returned) == 40
        assert "no such page" in batch.refused
        await batch.put(world.item(40))
        assert len(world.returned) == 41
        assert world.calls["POST /v1/files"] == 1

    play(scenario, 40, lane={"rows_max": 5}, wrap=wrap)


@pytest.mark.parametrize("path", ["/files", "/batches"])
def test_server_errors_for_ever_are_told(path):
    """After half an hour of them nothing is put into batches any more, and the sentence says why."""

    async def wrap(call, send):
        if call.method == "POST" and call.path.endswith(path):
            return Reply(500, (("content-type", "application/json"),), b'{"error":{"message":"oops"}}')
        return await send(call)

    async def scenario(world, batch):
        assert len(world.returned) == 5
        assert "500 oops" in batch.refused
        assert world.calls[f"POST /v1{path}"] == 10
        assert 900 < world.loop.time() < 7_200

    play(scenario, 5, wrap=wrap)


def test_a_row_that_is_looked_up_while_rows_are_called_back_is_given_back():
    """Its turn has passed when the cache has answered."""

    async def main():
        world = World(batches=QUICK)
        batch = world.lane(reuse=True)
        (_, engine), cached = world.lanes[0], world.lanes[0][1].cached

        async def slow(*args, **more):
            await asyncio.sleep(0.05)
            return await cached(*args, **more)

        engine.cached = slow
        putting = asyncio.ensure_future(world.put(batch, [0]))
        await asyncio.sleep(0.01)
        await batch.recall()
        await putting
        assert [item.row for item in world.returned] == [0]
        assert not world.calls
        await world.end()

    virtual_run(main)


@pytest.mark.parametrize("keep", [True, False])
def test_batches_whose_answers_nobody_can_keep_are_cancelled(keep):
    """A journal that goes with its process: so do the batches."""

    async def main():
        world = World(batches={"duration_s": 3_000.0})
        batch = world.lane(rows_max=10, keep=keep)
        await world.put(batch, range(30))
        batch.flush()
        await asyncio.sleep(30)
        await world.end()
        assert sum(world.calls[one] for one in world.calls if one.endswith("/cancel")) == (0 if keep else 3)

    virtual_run(main)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("rows", [5, 3_000])
def test_a_full_disk_is_a_sentence(monkeypatch, rows):
    """Whether it shows as rows are written, or only when what is in memory has to go out, or at the end."""

    async def main():
        world = World(batches=QUICK)
        batch, full = world.lane(), Path("/dev/full")
        monkeypatch.setattr("headway.jobs.parcel.tempfile.TemporaryFile", lambda *_, **__: full.open("w+b"))
        with pytest.raises(HeadwayError, match="make room there"):
            await world.put(batch, range(rows))
            batch.flush()
            await world.until(rows, lane=batch)
        await world.end()

    virtual_run(main)


def test_a_refused_key_stops_the_job():
    """Every call would meet it: the lane breaks with a sentence, and rows stay owed."""

    async def main():
        world = World(api_keys=("another",))
        batch = world.lane()
        await world.put(batch, range(3))
        batch.flush()
        with pytest.raises(HeadwayError, match="check the API key"):
            await world.until(3, lane=batch)
        with pytest.raises(HeadwayError, match="check the API key"):
            await world.put(batch, [3])
        assert not world.settled
        await world.end()

    virtual_run(main)
