"""`headway run` as a real process, killed with SIGKILL at seeded points and started again until it is done.

Points of the online lane are rows in the journal, and a little after them, so that they are the same on a fast and on
a slow machine; zero of them is the start-up, all of them the writing of the output. Points of the batch lane are
times from the opening of the journal on, for its rows come all at once. Two waits of the batch lane are shortened.

One seed again, with what it did printed:  python -m tests.jobs.killing online 17 --rows 2000
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from headway.sim.batch_settings import BatchSettings
from headway.sim.server import serving
from headway.sim.settings import SimSettings

PROGRAM = """
from headway.jobs import attach
from headway.policy import parcels
attach.LOOKS_S = (0.1, 0.2, 0.4)  # this provider lists a batch at once
parcels._POLL_MIN_S = 0.3
from headway.cli import main
main()
"""
IN_FLIGHT = 16
BATCH_S, BATCH_SCALE = 0.8, 0.02
SIMULATOR = SimSettings(
    latency_scale=0.004,
    rpm=None,
    tpm=None,
    quality=None,
    batches=BatchSettings(scale=BATCH_SCALE, duration_s=BATCH_S / BATCH_SCALE),
)
RUN_S_MAX = 120


def killed(url: str, folder: Path, *, lane: str, seed: int, rows: int, kills: int) -> int:
    """One job, killed up to `kills` times, then left to end. Returns how often it was killed.

    Raises:
        AssertionError: A row is missing, doubled or out of place, or one was paid for that was not in flight.
    """
    rng = random.Random(f"{lane} {seed}")
    ledger(url, "DELETE")
    texts = [f"My card number {seed}-{row} was stolen" for row in range(rows)]
    (folder / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    points = sorted(rng.uniform(0, rows * 1.05) for _ in range(kills))
    done, code = 0, None
    for point in points:
        job = start(url, folder, lane)
        wait(job, folder, point if lane == "online" else 0)
        time.sleep(rng.uniform(0, 0.02 if lane == "online" else 2 * BATCH_S))
        job.kill()
        code = job.wait()
        if code == 0:
            break  # it was done before
        assert code == -9, (folder / "err.txt").read_text()
        done += 1
    if code != 0:
        code = start(url, folder, lane).wait(RUN_S_MAX)
    assert code == 0, (folder / "err.txt").read_text()
    out = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [line["row"] for line in out] == list(range(1, rows + 1))
    assert [line["input"]["text"] for line in out] == texts
    assert {line["output"] for line in out} <= {"card", "invoice"}
    assert {line["lane"] for line in out} == {lane}
    times = collections.Counter(row["content"] for row in ledger(url)["rows"] if row["model"] and row["dollars"])
    assert len(times) == rows
    again = times.total() - rows
    assert again <= (done * IN_FLIGHT if lane == "online" else 0), f"{again} rows were paid for again"
    return done


def start(
    url: str, folder: Path, lane: str, *, before: str = "", more: tuple[str, ...] = ("--no-cache",)
) -> subprocess.Popen[bytes]:
    """The job's process; `before` is Python that it runs first."""
    command = [sys.executable, "-c", before + PROGRAM, "run", "in.csv", "--prompt", "{text}", "--lane", lane]
    command += ["--labels", "card,invoice", "--out", "out.jsonl", "--concurrency", str(IN_FLIGHT), "--quiet", *more]
    environment = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url, "HEADWAY_HOME": str(folder / "home")}
    with (folder / "err.txt").open("wb") as errors:
        return subprocess.Popen(command, cwd=folder, stdout=errors, stderr=errors, env=environment)


def wait(job: subprocess.Popen[bytes], folder: Path, lines: float) -> None:
    """Until the job has opened its journal and that has more than so many lines, or the job has ended."""
    journal = folder / "out.jsonl.journal"
    until_s = time.monotonic() + RUN_S_MAX
    while job.poll() is None and not (is_open(job, journal) and journal.read_bytes().count(b"\n") > lines):
        assert time.monotonic() < until_s, "the job stands still"
        time.sleep(0.002)


def is_open(job: subprocess.Popen[bytes], journal: Path) -> bool:
    """Whether the job holds the file; where systems do not tell, whether it is there."""
    files = Path(f"/proc/{job.pid}/fd")
    if not journal.exists() or not files.exists():
        return journal.exists()
    try:
        return any(file.readlink() == journal for file in files.iterdir())
    except OSError:
        return False  # it closed one meanwhile, or ended


def ledger(url: str, method: str = "GET"):
    with urllib.request.urlopen(urllib.request.Request(f"{url[:-3]}/sim/ledger", method=method)) as reply:
        return json.loads(reply.read() or b"{}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("lane", choices=("online", "batch"))
    parser.add_argument("seed", type=int)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=4)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headway-killed-"))
    sys.stdout.write(f"in {folder}\n")
    with serving(SIMULATOR) as url:
        done = killed(url, folder, lane=asked.lane, seed=asked.seed, rows=asked.rows, kills=asked.kills)
    sys.stdout.write(f"killed {done} times; every row is there once\n")


if __name__ == "__main__":
    main()
