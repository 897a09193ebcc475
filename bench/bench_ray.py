"""A job on Ray: two workers, one Redis, and a provider with 3,000 RPM and 1 s of capacity, each in its own process.

Nobody configures the limit: the workers learn it and share it. What the provider admitted and refused, and when, is in
its ledger. Needs Ray and redis-server; it is skipped with a message where either is missing.

    python bench/bench_ray.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import emit, ledger, own_state
from headway.sim import SimSettings
from headway.sim.server import serving

ROWS, RPM, WORKERS = 3_000, 3_000, 2
WINDOW_S = 10.0
OVER_MAX = 0.02
FROM_S = 3.0
COMMAND = str(Path(sys.executable).with_name("headway"))
TIMED = ("latency_s", "wait_s", "cache", "saved_dollars", "dollars", "attempts")


def job(place: Path, url: str, out: str, *more: str, environ: dict[str, str]) -> tuple[dict[str, Any], float]:
    """One `headway run`: its summary, and the seconds it took, Ray's start included."""
    command = [COMMAND, "run", "rows.jsonl", "--prompt", "{text}", "--labels", "yes,no", "--model", "gpt-4.1-nano"]
    command += ["--out", out, "--base-url", url, "--json", "--quiet", *more]
    own = {"OPENAI_API_KEY": "sim", "HEADWAY_HOME": str(place / out.removesuffix(".jsonl"))}
    start_s = time.perf_counter()
    done = subprocess.run(
        command, cwd=place, env=os.environ | own | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout), time.perf_counter() - start_s


def records(path: Path) -> list[dict[str, Any]]:
    """The output, but for when and how answers came."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def most_in_a_window(times: list[float]) -> int:
    """The most of them in any window of `WINDOW_S`."""
    most = first = 0
    for last, at_s in enumerate(times):
        while times[first] <= at_s - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def tell(book: dict[str, Any]) -> None:
    """What the ledger says. What was refused counts, too: a provider never admits more than its limit."""
    sent = sorted(row["time_wall_s"] for row in book["rows"])
    per_s, what = RPM / 60, f"Ray, {WORKERS} workers, {ROWS} rows at {RPM} RPM with 1 s of capacity"
    steady = [at_s for at_s in sent if at_s >= sent[0] + FROM_S]
    most, allowed = most_in_a_window(sent), per_s * (WINDOW_S + 1.0)  # the bucket holds a second's worth, once
    over = most / allowed - 1
    emit(
        f"{what}: sent in any {WINDOW_S:g} s",
        f"over the limit by <= {OVER_MAX:.0%}",
        f"{most} of {allowed:.0f} ({over:+.1%})",
        reached=over <= OVER_MAX,
        without_the_bucket=f"{most_in_a_window(steady)} of {per_s * WINDOW_S:.0f} from second {FROM_S:g} on",
        mean_per_s=round(len(sent) / (sent[-1] - sent[0]), 2),
    )
    admitted = [row["time_wall_s"] for row in book["rows"] if row["status"] == 200]
    later = sorted(at_s for at_s in admitted if at_s >= sent[0] + FROM_S)
    share = (len(later) - 1) / (later[-1] - later[0]) / per_s
    took_s = round(sent[-1] - sent[0], 1)
    emit(f"{what}: share of the limit from second {FROM_S:g} on", "", f"{share:.1%}", reached=None, seconds=took_s)
    totals = book["totals"]
    refused = totals["throttled"] / totals["attempts"]
    emit(f"{what}: refused (429)", "", f"{refused:.2%} of {totals['attempts']} attempts", reached=None)


def main() -> None:
    """One run on Ray, one in one process."""
    for missing, what in (
        (importlib.util.find_spec("ray") is None, "ray"),
        (not shutil.which("redis-server"), "redis"),
    ):
        if missing:
            print(json.dumps({"skipped": f"{what} is not installed"}))
            return
    home = Path(own_state())
    with (home / "rows.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"text": f"Is {number} a number of some use to us?"}) + "\n" for number in range(ROWS)
        )
    with tempfile.TemporaryDirectory(prefix="hw-redis-") as place:
        command = ["redis-server", "--port", "0", "--unixsocket", f"{place}/s", "--save", "", "--dir", place]
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with serving(SimSettings(seed=1, rpm=RPM, tpm=None, capacity_s=1)) as url:
                more = ("--engine", "ray", "--workers", str(WORKERS))
                summary, took_s = job(home, url, "ray.jsonl", *more, environ={"HEADWAY_REDIS_URL": f"unix://{place}/s"})
                book = ledger(url)
        finally:
            redis.terminate()
            redis.wait()
    tell(book)
    with serving(SimSettings(seed=1, rpm=None, tpm=None, latency_scale=0.1)) as url:
        job(home, url, "one.jsonl", environ={})
    same = records(home / "ray.jsonl") == records(home / "one.jsonl")
    asked = f"= {ROWS}, as from one process"
    emit(
        "Ray: rows answered", asked, summary["ok"], reached=same and summary["ok"] == ROWS, whole_run_s=round(took_s, 1)
    )


if __name__ == "__main__":
    main()
