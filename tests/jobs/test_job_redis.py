"""A job whose Redis goes away."""

from __future__ import annotations

import asyncio
import json

import pytest

from headway.engine import Engine
from headway.jobs.runner import JobSettings, run_job
from headway.prompts import Task
from headway.sim import SimSettings, Simulator
from tests.redis_server import redis_server

__all__ = ["redis_server"]


@pytest.mark.parametrize("end", ["kill", "freeze"])
def test_a_redis_that_vanishes_mid_job_loses_nothing(tmp_path, redis_server, end):
    """The rows that are left go on without it: own cache, own limits; each is in the output once."""
    (tmp_path / "in.csv").write_text("text\n" + "".join(f"where is my parcel {n}\n" for n in range(120)))
    task = Task(model="gpt-5.4-mini", prompt="{text}", labels=["shipping", "billing"])
    job = JobSettings(input=str(tmp_path / "in.csv"), task=task, out=tmp_path / "out.jsonl", concurrency=8)
    done = []

    def on_result(result, resumed):
        done.append(result)
        if len(done) == 20:
            getattr(redis_server, end)()

    async def main():
        simulator = Simulator(SimSettings(seed=1, latency_scale=0.01, rpm=60_000))
        settings = {
            "cache": "redis",
            "redis_url": redis_server.url,
            "log": "off",
            "log_level": "off",
            "seed": 1,
            "api_key": "sim",
        }
        async with Engine(handler=simulator.handler, redis_timeout_s=0.05, **settings) as engine:
            return await run_job(job, engine, on_result=on_result)

    try:
        finished = asyncio.run(main())
    finally:
        if end == "freeze":
            redis_server.thaw()
    assert not finished.stopped
    output = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in output] == list(range(1, 121))
    assert [line["error"] for line in output if line["error"]] == []
