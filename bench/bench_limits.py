"""The main job against an API of 3,000 RPM whose limits nobody configured, beside what people do instead.

All 3,080 banking77 questions over loopback, twice: with the limit enforced in slices of one second (which no header
tells), and with a bucket that is full at the start. The second is also run as `asyncio.gather` with a semaphore under
the official SDK with its own retries. Attempts, refusals and times come from the simulator's ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import ROOT, banking77, emit, ledger, own_state, shared
from headway import Task
from headway.sim import SimSettings
from headway.sim.server import serving

RPM = 3000
TASK = ROOT / "examples" / "banking77.toml"
COMMAND = str(Path(sys.executable).with_name("headway"))


def run_job(url: str, out: Path) -> tuple[float, float, dict[str, Any]]:
    """`headway run` in a process of its own: seconds, peak RSS in MB, its summary."""
    command = [COMMAND, "run", str(shared("banking77_test.csv")), "--task", str(TASK), "--out", str(out)]
    command += ["--base-url", url, "--json", "--quiet"]
    start_s = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OPENAI_API_KEY": "sim"})
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    took_s = time.perf_counter() - start_s
    assert status == 0, f"headway run ended with {status}"
    return took_s, usage.ru_maxrss / 1024, json.loads(text)


def admissions(rows: list[dict[str, Any]], headway_home: str) -> list[float]:
    """When each admitted attempt was sent, from the call log: seconds from the first one."""
    import sqlite3

    with sqlite3.connect(Path(headway_home) / "calls.sqlite") as log:
        query = "SELECT start_wall_s + sent_s FROM attempts WHERE status = 200 ORDER BY 1"
        sent = [row[0] for row in log.execute(query)]
    assert len(sent) == sum(row["status"] == 200 for row in rows)
    return [at_s - sent[0] for at_s in sent]


def sliced() -> None:
    home = own_state()
    out = Path(home) / "out.jsonl"
    rows = banking77()
    with serving(SimSettings(seed=1, rpm=RPM, capacity_s=1)) as url:
        took_s, rss_mb, _ = run_job(url, out)
        book = ledger(url)
    sent = admissions(book["rows"], home)
    later = [at_s for at_s in sent if at_s >= 2]
    share = (len(later) - 1) / (later[-1] - later[0]) / (RPM / 60)
    refused = book["totals"]["throttled"] / book["totals"]["attempts"]
    written = sum(1 for _ in out.open())
    what = f"banking77, {RPM} RPM enforced with 1 s of capacity, learned"
    emit(
        f"{what}: share of the allowed rate after 2 s",
        ">= 95 %",
        f"{share:.1%}",
        reached=share >= 0.95,
        seconds=round(took_s, 1),
    )
    emit(f"{what}: refused (429)", "<= 0.5 % of attempts", f"{refused:.2%}", reached=refused <= 0.005, **book["totals"])
    emit(f"{what}: rows out", f"= {len(rows)} rows in", written, reached=written == len(rows))
    emit(f"{what}: peak RSS", "< 200 MB", f"{rss_mb:.0f} MB", reached=rss_mb < 200)


async def gathered(url: str, at_once: int) -> int:
    """The usual way; rows that failed."""
    import openai

    task, limit, failed = Task.load(TASK), asyncio.Semaphore(at_once), 0
    async with openai.AsyncOpenAI(base_url=url, api_key="sim") as client:

        async def one(row: dict[str, str]) -> None:
            nonlocal failed
            async with limit:
                try:
                    await client.responses.create(**json.loads(task.body(row)))
                except openai.APIError:
                    failed += 1

        await asyncio.gather(*[one(row) for row in banking77()])
    return failed


def full() -> None:
    home = own_state()
    settings = SimSettings(seed=1, rpm=RPM, capacity_s=60)
    with serving(settings) as url:
        took_s, _, _ = run_job(url, Path(home) / "out.jsonl")
        ours = ledger(url)["totals"]
    best = None
    for at_once in (50, 128, 256, 1000):
        with serving(settings) as url:
            start_s = time.perf_counter()
            failed = asyncio.run(gathered(url, at_once))
            other_s = time.perf_counter() - start_s
            theirs = ledger(url)["totals"]
        best = min(best or other_s, other_s)
        emit(
            f"bucket full at the start: headway run beside asyncio.gather + Semaphore({at_once}) + SDK retries",
            "no later, at fewer 429s",
            f"{took_s:.1f} s against {other_s:.1f} s ({other_s / took_s:.2f}x)",
            reached=took_s <= other_s and ours["throttled"] <= theirs["throttled"],
            refused_ours=ours["throttled"],
            refused_theirs=theirs["throttled"],
            rows_failed_theirs=failed,
        )


if __name__ == "__main__":
    sliced()
    full()
