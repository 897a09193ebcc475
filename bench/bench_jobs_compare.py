"""Jobs, side by side: `headway run` beside what people use instead, on the same API and the same rows.

1,500 questions of banking77 as Chat Completions, over loopback; the API is the simulator in a process of its own,
playing gpt-4.1-nano at half its latency. Attempts, refusals and dollars come from its ledger. Everybody gets the same
bodies and the same key; each library runs in an environment of its own, by a driver in `compare/`. Headway's time is
that of the whole process, the others' from the first row to the last answer (imports do not count). Who is not done
after 300 s is stopped.

    python bench/bench_jobs_compare.py [--table] [--rows N] [sliced] [silent] [full] [polite]

The four settings take about 35 minutes, the first use some more: it builds the environments.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from common import ROOT, banking77, ledger, own_state
from compare.environments import NoRegistry, environment, version
from headway import Task
from headway.sim import SimSettings
from headway.sim.batch_settings import BatchSettings
from headway.sim.server import serving

ROWS, RPM, TPM = 1_500, 3_000, 30_000_000
CUT_S = 300.0
MODEL = "gpt-4.1-nano"
TASK = ROOT / "examples" / "banking77.toml"
DRIVERS = ROOT / "bench" / "compare"
COMMAND = str(Path(sys.executable).with_name("headway"))
SLICED = SimSettings(
    seed=1, rpm=RPM, tpm=TPM, capacity_s=1, latency_scale=0.5, quality=None, batches=BatchSettings(duration_s=60.0)
)
SETTINGS = {
    "sliced": ("3,000 RPM enforced as 50 a second, told in headers", SLICED),
    "silent": ("The same without any rate-limit header", replace(SLICED, headers=False)),
    "full": ("1,000 RPM, the bucket full at the start", replace(SLICED, rpm=1_000, capacity_s=60)),
    "polite": ("As the first, and every 429 says `retry-after`", replace(SLICED, retry_after=True)),
}
EVERYWHERE = tuple(SETTINGS)


@dataclass(frozen=True)
class Contender:
    """Who, how it is set up, and where it runs."""

    name: str
    library: str
    """The environment; "" for `headway run`."""
    driver: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    rpm_share: float = 0.0
    """The share of the RPM it is told; 0 for nothing."""
    arguments: tuple[str, ...] = ()
    """More for `headway run`."""
    settings: tuple[str, ...] = EVERYWHERE


def gathered(at_once: int) -> Contender:
    """Plain asyncio."""
    name = f"gather + Semaphore({at_once}), openai {version('openai')}"
    return Contender(name, "openai", "run_openai.py", {"at_once": at_once})


LITELLM, ABL = f"litellm {version('litellm')} Router", f"async-batch-llm {version('async-batch-llm')}"
CURATOR = f"Curator {version('curator')}"
COUNTING = {"at_once": 50, "routing_strategy": "usage-based-routing-v2", "num_retries": 10}
CONTENDERS = (
    Contender("headway run", ""),
    Contender("headway run --lane batch", "", arguments=("--lane", "batch"), settings=("sliced",)),
    Contender("headway run --deadline 2h", "", arguments=("--deadline", "2h"), settings=("sliced",)),
    gathered(8),
    gathered(50),
    gathered(1000),
    Contender(LITELLM, "litellm", "run_litellm.py", {"at_once": 50}),
    Contender(f"{LITELLM}, told the RPM, 10 retries", "litellm", "run_litellm.py", COUNTING, rpm_share=1.0),
    Contender(ABL, "async-batch-llm", "run_async_batch_llm.py", {"at_once": 50}, settings=("sliced", "polite")),
    Contender(
        f"{ABL}, told 90 % of the RPM, bursts of 0.5 s", "async-batch-llm", "run_async_batch_llm.py",
        {"at_once": 50, "burst_s": 0.5}, rpm_share=0.9,
    ),
    Contender(
        f"{ABL}, told the RPM", "async-batch-llm", "run_async_batch_llm.py", {"at_once": 50}, rpm_share=1.0,
        settings=("full",),
    ),
    Contender(CURATOR, "curator", "run_curator.py", settings=("silent",)),
    Contender(f"{CURATOR}, told RPM and TPM", "curator", "run_curator.py", {"tpm": TPM}, rpm_share=1.0),
)  # fmt: skip


def command_of(contender: Contender, sim: SimSettings, place: Path, url: str) -> list[str]:
    """The child process to start; what it writes goes to out.json."""
    if not contender.library:
        start = [COMMAND, "run", str(place / "rows.csv"), "--task", str(TASK), "--model", MODEL, "--api", "chat"]
        end = ["--out", str(place / "labels.jsonl"), "--base-url", url, "--json", "--quiet"]
        return [*start, *contender.arguments, *end]
    options = dict(contender.options)
    if contender.rpm_share:
        options["rpm"] = int((sim.rpm or 0) * contender.rpm_share)
    paths = [str(place / "rows.jsonl"), url, str(place / "out.json"), json.dumps(options)]
    return [str(environment(contender.library)), str(DRIVERS / contender.driver), *paths]


def run(contender: Contender, sim: SimSettings, rows: list[dict[str, str]]) -> dict[str, Any]:
    """One contender against an API of its own: what it says it did, and what the ledger says."""
    place = Path(tempfile.mkdtemp(prefix="headway-compare-"))
    task = Task.load(TASK, model=MODEL, api="chat")
    (place / "rows.jsonl").write_bytes(b"".join(task.body(row) + b"\n" for row in rows))
    with (place / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    own = {"OPENAI_API_KEY": "sim", "HEADWAY_HOME": str(place)}
    with serving(sim) as url, (place / "out.json").open("wb") as out, (place / "errors.txt").open("wb") as errors:
        command = command_of(contender, sim, place, url)
        start_s = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=errors if contender.library else out, stderr=errors, env=os.environ | own, cwd=place,
            start_new_session=True,
        )  # fmt: skip
        try:
            child.wait(CUT_S)
        except subprocess.TimeoutExpired:
            pass  # it has had its time
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        took_s = time.perf_counter() - start_s
        book = ledger(url)
    answered = len({row["content"] for row in book["rows"] if row["status"] == 200})
    totals = book["totals"]
    found = {"attempts": totals["attempts"], "refused": totals["throttled"], "dollars": round(totals["dollars"], 4)}
    text = (place / "out.json").read_bytes()
    if took_s >= CUT_S:
        return found | {"seconds": None, "ok": answered, "lost": len(rows) - answered}
    if not text:
        return {"error": (place / "errors.txt").read_text("utf-8", "replace")[-800:]}
    said = json.loads(text)
    seconds = said.get("seconds", took_s)
    return found | {"seconds": round(seconds, 1), "ok": said["ok"], "lost": len(rows) - said["ok"]}


def table(title: str, sim: SimSettings, count: int, lines: list[tuple[str, dict[str, Any]]]) -> str:
    """A setting's results as Markdown."""
    rpm = sim.rpm or 0
    minimum_s = max(0.0, (count - rpm * sim.capacity_s / 60) / rpm * 60)
    text = f"**{title}**; the limit lets {count:,} rows pass in {minimum_s:.0f} s.\n\n"
    text += "| who | seconds | rows lost | 429s | attempts | dollars |\n|---|---|---|---|---|---|\n"
    for name, found in lines:
        if "error" in found:
            text += f"| {name} | did not run | | | | |\n"
            continue
        lost = f"{found['lost']:,}" if found["seconds"] is not None else f"{found['lost']:,} not done"
        seconds = "stopped at 300" if found["seconds"] is None else f"{found['seconds']:.1f}"
        numbers = f"{found['refused']:,} | {found['attempts']:,} | {found['dollars']:.4f}"
        text += f"| {name} | {seconds} | {lost} | {numbers} |\n"
    return text


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Jobs, side by side.")
    parser.add_argument("settings", nargs="*", help=f"of {', '.join(SETTINGS)}; all unless told")
    parser.add_argument("--table", action="store_true", help="print the Markdown of docs/figures.md at the end")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", default="", help="only contenders whose name has this in it")
    asked = parser.parse_args()
    if unknown := set(asked.settings) - set(SETTINGS):
        parser.error(f"no such setting: {', '.join(sorted(unknown))}")
    own_state()
    rows = banking77()[: asked.rows]
    tables = []
    for key in asked.settings or SETTINGS:
        title, sim = SETTINGS[key]
        lines: list[tuple[str, dict[str, Any]]] = []
        for contender in CONTENDERS:
            if key not in contender.settings or asked.only not in contender.name:
                continue
            try:
                found = run(contender, sim, rows)
            except NoRegistry as why:
                print(json.dumps({"skipped": contender.name, "why": str(why)}), flush=True)
                continue
            print(json.dumps({"setting": key, "who": contender.name, "rows": len(rows)} | found), flush=True)
            lines.append((contender.name, found))
        tables.append(table(title, sim, len(rows), lines))
    if asked.table:
        print("\n" + "\n".join(tables))


if __name__ == "__main__":
    main()
