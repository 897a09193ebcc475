"""A big job, as a user starts it: `headway run` over a file of many rows, killed in the middle and started again.

The upstream answers at once, in a process of its own over loopback, and the input is a CSV whose rows all differ. The
settings are the command's defaults. Peak memory is the process's own (`ru_maxrss`), time is from start to exit,
imports, the writing of the output and the figures included. The second job is killed with SIGKILL when half of its
rows are in the journal, and resumed: what was answered and not written down is counted at the upstream.

    python bench/bench_million.py --rows 1000000      what the figure is taken at; `make bench` takes 50,000
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zero
from common import emit, own_state

RSS_MB_MAX, ROWS_PER_S_MIN, REPEATED_S_MAX = 300, 5_000, 10
TEXT = "I ordered a card more than a week ago and it still has not arrived, what can I do about it? Case {}"
LABELS = "card_arrival,card_linking,exchange_rate,lost_or_stolen_card,top_up_failed"


def write_input(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f'{n},"{TEXT.format(n)}"\n' for n in range(rows))


def start(source: Path, out: Path, url: str, more: list[str]) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("headway")), "run", str(source), "--prompt", "Which intent? {text}"]
    command += ["--labels", LABELS, "--api", "chat", "--model", "gpt-5.4-mini", "--base-url", url]
    command += ["--out", str(out), "--json", "--quiet", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OPENAI_API_KEY": "k"})


def ended(child: subprocess.Popen[bytes]) -> tuple[int, float, float]:
    """Exit code, peak memory in MB, and CPU seconds."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def faults(out: Path, rows: int) -> str:
    """What is wrong with the output: every row has to be there once, in order, with its own input and an answer."""
    number = 0
    with out.open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = json.loads(raw)
            if line["row"] != number or line["input"]["id"] != str(number - 1) or line["output"] != "card_arrival":
                return f"line {number} is {raw[:200]!r}"
    return "" if number == rows else f"{number} rows instead of {rows}"


def whole(source: Path, folder: Path, rows: int, more: list[str]) -> dict[str, Any]:
    """The job, undisturbed."""
    out = folder / "whole.jsonl"
    with zero.upstream() as url:
        began_s = time.perf_counter()
        code, rss_mb, cpu_s = ended(start(source, out, url, more))
        wall_s = time.perf_counter() - began_s
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "rss_mb": rss_mb,
        "code": code,
        "faults": faults(out, rows) if not code else "",
    }


def killed(source: Path, folder: Path, rows: int, more: list[str]) -> dict[str, Any]:
    """The job, killed when half of it is in the journal, and started again."""
    out = folder / "killed.jsonl"
    journal = out.with_name(out.name + ".journal")
    with zero.upstream() as url:
        child = start(source, out, url, more)
        began_s = time.perf_counter()
        while lines(journal) < rows / 2 and child.poll() is None:
            time.sleep(0.2)
        child.kill()
        ended(child)
        to_kill_s = time.perf_counter() - began_s
        kept, before = lines(journal) - 1, zero.answered(url)
        began_s = time.perf_counter()
        code, rss_mb, _ = ended(start(source, out, url, more))
        resumed_s = time.perf_counter() - began_s
        asked = zero.answered(url)
    per_row_s = to_kill_s / max(1, kept)
    return {
        "rss_mb": rss_mb,
        "code": code,
        "kept": kept,
        "resumed_s": resumed_s,
        "asked_again": asked - rows,
        "lost_at_kill": before - kept,
        "repeated_s": (asked - rows) * per_row_s,
        "going_on_s": resumed_s - (rows - kept) * per_row_s,
        "faults": faults(out, rows) if not code else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--no-kill", action="store_true")
    arguments, more = parser.parse_known_args()
    own_state()
    rows = arguments.rows
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as name:
        folder = Path(name)
        source = folder / "rows.csv"
        write_input(source, rows)
        for _ in range(arguments.runs):
            report_whole(whole(source, folder, rows, [*more, "--fresh"]), rows)
            own_state()  # a cache that knows the answers would make the next run a different one
            if not arguments.no_kill:
                report_killed(killed(source, folder, rows, more), rows)
                (folder / "killed.jsonl").unlink(missing_ok=True)
                (folder / "killed.jsonl.journal").unlink(missing_ok=True)
                own_state()


def report_whole(found: dict[str, Any], rows: int) -> None:
    per_s, rss_mb, fine = rows / found["wall_s"], found["rss_mb"], found["code"] == 0 and not found["faults"]
    of = f"{rows:,} rows, no delay upstream"
    more = {
        "wall_s": round(found["wall_s"], 1),
        "cpu_us_a_row": round(found["cpu_s"] / rows * 1e6),
        "exit_code": found["code"],
        "faults": found["faults"],
    }
    emit(
        f"{of}: rows a second", f">= {ROWS_PER_S_MIN:,}", round(per_s), reached=fine and per_s >= ROWS_PER_S_MIN, **more
    )
    emit(f"{of}: peak memory, MB", f"<= {RSS_MB_MAX}", round(rss_mb), reached=fine and rss_mb <= RSS_MB_MAX)


def report_killed(found: dict[str, Any], rows: int) -> None:
    fine = found["code"] == 0 and not found["faults"]
    emit(
        f"{rows:,} rows, killed at half and resumed: seconds of work repeated",
        f"<= {REPEATED_S_MAX}; every row once",
        round(found["repeated_s"], 2),
        reached=fine and found["repeated_s"] <= REPEATED_S_MAX,
        rows_asked_again=found["asked_again"],
        rows_lost_at_kill=found["lost_at_kill"],
        rows_kept=found["kept"],
        seconds_to_read_what_is_kept=round(found["going_on_s"], 1),
        resumed_run_s=round(found["resumed_s"], 1),
        peak_mb=round(found["rss_mb"]),
        exit_code=found["code"],
        faults=found["faults"],
    )


if __name__ == "__main__":
    main()
