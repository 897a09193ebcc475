"""Both batch formats against the simulator, through the engine, on virtual time: a day in a moment."""

import asyncio
import json

import pytest

from headway import Engine
from headway.prompts import Task
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run
from headway.wire import batch_format_for
from headway.wire.batch import PRICE_RATIO, result_lines

MODELS = {"responses": "gpt-5.4-mini", "chat": "gpt-5.4-mini", "messages": "claude-haiku-4-5"}
ROWS = {f"r-{n}": {"text": f"My card number {n} was stolen"} for n in range(20)}


async def ask(engine, request, **more):
    reply = await engine.request(request.method, request.path, request.body, headers=dict(request.headers), **more)
    data = await reply.read()
    assert reply.status < 300, data
    return data


@pytest.mark.parametrize("api", MODELS)
def test_a_batch_from_rows_to_answers(api):
    """Handed in, found in the list, waited for, fetched, adopted at half the price, and found by the same requests."""
    task = Task(model=MODELS[api], prompt="{text}", labels=["card", "invoice"], api=api)
    batches = batch_format_for(task.path)

    async def main():
        simulator = Simulator(SimSettings(quality=None))
        async with Engine(handler=simulator.handler, api_key="k", log="off", cache="memory", seed=1) as engine:
            lines = [batches.line(id_, task.body(row)) for id_, row in ROWS.items()]
            upload = batches.upload(lines)
            file_id = batches.read_file_id(await ask(engine, upload)) if upload is not None else ""
            create = batches.create(file_id=file_id, lines=lines, metadata={"run": "1f"})
            view = batches.read_batch(await ask(engine, create))
            listed, _ = batches.read_list(await ask(engine, batches.list()))
            assert [one.id for one in listed] == [view.id]
            assert view.metadata == ({"run": "1f"} if batches.has_metadata else {})
            handed_in_wall_s = view.created_wall_s
            while not view.ended:
                await asyncio.sleep(60)
                view = batches.read_batch(await ask(engine, batches.status(view.id)))
            found, rest = {}, b""
            for request in batches.results(view):
                reply = await engine.request(request.method, request.path, stream=True)
                async for chunk in reply:
                    whole, rest = result_lines(rest, chunk)
                    for line in whole:
                        row = batches.read_line(line)
                        found[row.custom_id] = row
            assert found.keys() == ROWS.keys()
            for id_, row in found.items():
                trace = engine.adopt(
                    task.path,
                    task.body(ROWS[id_]),
                    row.status,
                    row.body,
                    price_ratio=PRICE_RATIO,
                    started_wall_s=handed_in_wall_s,
                )
                assert (row.status, trace.outcome, trace.usage.estimated) == (200, "ok", False)
            dollars = engine.snapshot()["dollars"]
            for row in ROWS.values():
                reply = await engine.send(task.path, task.body(row))
                assert reply.trace.cache == "memory"
            assert engine.snapshot()["dollars"] == dollars > 0
            return json.loads(found["r-0"].body)

    assert virtual_run(main)["model"].startswith(MODELS[api])
