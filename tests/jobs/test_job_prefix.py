"""A job's first row goes ahead for the provider's prompt cache, if the file has enough rows for it to pay."""

from __future__ import annotations

import asyncio

import pytest

from headway import Engine, Task
from headway.jobs.runner import JobSettings, run_job
from headway.testing import FakeProvider, Step, virtual_run

RULES = " ".join(f"Rule {n}: tickets on topic {n} get the label t{n}." for n in range(150))


def asked_at_s(folder, rows: int, mode: str = "auto") -> list[float]:
    """When each row of a file reached the provider, whose answers take 3 s."""
    (folder / "in.csv").write_text("text\n" + "".join(f"Where is parcel {n}?\n" for n in range(rows)))
    provider, at_s = FakeProvider([Step(delay_s=3.0)]), []

    async def watched(call):
        at_s.append(asyncio.get_running_loop().time())
        return await provider(call)

    async def main() -> None:
        task = Task(model="gpt-5.4-mini", system=RULES, prompt="{text}")
        job = JobSettings(input=str(folder / "in.csv"), out=folder / "out.jsonl", task=task)
        settings = {"log": "off", "log_level": "off", "api_key": "k", "seed": 1, "prompt_cache": mode}
        async with Engine(handler=watched, **settings) as engine:
            done = await run_job(job, engine)
        assert done.tally.done == rows
        assert done.tally.failed == 0

    virtual_run(main)
    return [one - at_s[0] for one in at_s]


def test_one_row_goes_ahead_of_many(tmp_path):
    """All others are sent once it was answered."""
    first, *others = asked_at_s(tmp_path, 40)
    assert (first, min(others)) == (0.0, 3.0)


@pytest.mark.parametrize(("rows", "mode"), [(2, "auto"), (40, "off")])
def test_nobody_waits_for_nothing(rows, mode, tmp_path):
    """Not in a file so short that the wait would cost more than it saves, and not unless it is switched on."""
    assert max(asked_at_s(tmp_path, rows, mode)) < 3.0
