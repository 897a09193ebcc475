"""Jobs of mixed row sizes at a provider's limit that nobody configured: 6,000 RPM and 400,000 TPM, over loopback.

5,000 rows in blocks of 250: four of short prompts (50 to 75 tokens: requests bind), one with the prompt sizes of a real
trace (Azure's of 2023, 50 to 1,500 tokens: tokens bind). The simulator runs in a process of its own; what it admitted
and refused, and when, is in its ledger, and what it charged for a row follows from the row.

The binding limit's share, from second 3 on: the time in which the provider's buckets, empty at second 3, could have
let the same rows pass in the same order, over the time that it took. So at any moment the limit that binds counts.

    python bench/bench_limits_jobs.py [sliced] [silent] [full] [shared]
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from common import emit, ledger, own_state, shared
from headway import Task
from headway.sim import SimSettings
from headway.sim.account import content_of
from headway.sim.formats import FORMATS
from headway.sim.limits import charge_tokens
from headway.sim.server import serving

ROWS, RPM, TPM = 5_000, 6_000, 400_000
BLOCK, SHORT_BLOCKS = 250, 4
FROM_S = 3.0
COMMAND = str(Path(sys.executable).with_name("headway"))
TASK = """
model = "gpt-4.1-nano"
prompt = "{text}"
max_output_tokens = 16

[output]
labels = ["yes", "no"]
"""
Admitted = list[tuple[float, int]]
"""When, and what was charged for it."""


def mixed_rows() -> list[dict[str, str]]:
    """See above; the same at every run."""
    dice = random.Random(1)
    with shared("azure_llm_2023_conv.csv").open(encoding="utf-8", newline="") as file:
        trace = [tokens for row in csv.DictReader(file) if 50 <= (tokens := int(row["ContextTokens"])) <= 1_500]
    words = "river stone cloud paper amber violet copper garden winter harbor candle meadow".split()
    rows = []
    for number in range(ROWS):
        short = number // BLOCK % (SHORT_BLOCKS + 1) < SHORT_BLOCKS
        tokens = dice.randint(50, 75) if short else dice.choice(trace)
        text = f"{number}:"
        while len(text) < 4 * tokens:
            text += " " + dice.choice(words)
        rows.append({"text": text[: 4 * tokens].rstrip() + "."})
    return rows


def charges(rows: list[dict[str, str]], task: Task) -> dict[str, int]:
    """What the simulator charges, by its digest of what is asked; whatever bound the output is given."""
    found = {}
    for row in rows:
        ask = FORMATS["responses"].read(task.body(row), "")
        for tokens_max in range(1, 33):
            digest = content_of(replace(ask, tokens_max=tokens_max))[1].hex()[:16]
            found[digest] = charge_tokens(ask.chars, tokens_max)
    return found


class Job:
    """One `headway run` in a process of its own."""

    def __init__(self, home: str, name: str, rows: list[dict[str, str]], url: str, more: dict[str, str]) -> None:
        place = Path(home) / name
        place.mkdir()
        (place / "task.toml").write_text(TASK)
        with (place / "rows.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text"])
            writer.writeheader()
            writer.writerows(rows)
        command = [COMMAND, "run", str(place / "rows.csv"), "--task", str(place / "task.toml")]
        command += ["--out", str(place / "out.jsonl"), "--base-url", url, "--json", "--quiet"]
        own = {"OPENAI_API_KEY": "sim", "HEADWAY_HOME": str(place)} | more
        self._start_s = time.perf_counter()
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | own, cwd=place)

    def wait(self) -> tuple[dict[str, Any], float]:
        """Its summary, and the seconds it took."""
        out, _ = self._child.communicate()
        took_s = time.perf_counter() - self._start_s
        assert self._child.returncode == 0, f"headway run ended with {self._child.returncode}"
        return json.loads(out), took_s


@contextmanager
def provider(settings: SimSettings) -> Iterator[str]:
    """The simulator, warmed up with another key: its first answer imports a price list, which holds all others up."""
    with serving(settings) as url:
        body = json.dumps({"model": "gpt-4.1-nano", "input": "warm", "max_output_tokens": 16}).encode()
        headers = {"authorization": "Bearer warm", "content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{url}/responses", body, headers)).close()
        books = urllib.request.Request(url.removesuffix("/v1") + "/sim/ledger", method="DELETE")
        urllib.request.urlopen(books).close()
        yield url


def admitted_of(book: dict[str, Any], known: dict[str, int]) -> Admitted:
    """Seconds from the first admission, and charges."""
    rows = [(row["time_wall_s"], known[row["content"]]) for row in book["rows"] if row["status"] == 200]
    rows.sort()
    return [(at_s - rows[0][0], tokens) for at_s, tokens in rows]


def binding_share(admitted: Admitted) -> dict[str, float]:
    """See the module; and each limit's own share, for what it is worth."""
    later = [one for one in admitted if one[0] >= FROM_S]
    took_s = later[-1][0] - later[0][0]
    requests_per_s, tokens_per_s = RPM / 60, TPM / 60
    requests = tokens = needed_s = 0.0
    for _, charge in later[1:]:
        wait_s = max(0.0, (1.0 - requests) / requests_per_s, (charge - tokens) / tokens_per_s)
        needed_s += wait_s
        requests = min(requests_per_s, requests + wait_s * requests_per_s) - 1.0  # one second of capacity
        tokens = min(tokens_per_s, tokens + wait_s * tokens_per_s) - charge
    spent = sum(charge for _, charge in later[1:])
    return {
        "share": needed_s / took_s,
        "requests_share": (len(later) - 1) / took_s / requests_per_s,
        "tokens_share": spent / took_s / tokens_per_s,
        "seconds": took_s,
    }


def tell(what: str, book: dict[str, Any], known: dict[str, int], asked: float, refused_max: float | None) -> None:
    """The two figures of a run."""
    figures = binding_share(admitted_of(book, known))
    more = {name: round(value, 3) for name, value in figures.items() if name != "share"}
    share, totals = figures["share"], book["totals"]
    emit(
        f"{what}: share of the binding limit from second {FROM_S:g} on",
        f">= {asked:.0%}",
        f"{share:.1%}",
        reached=share >= asked,
        **more,
    )
    refused = totals["throttled"] / totals["attempts"]
    asked_refused = "as few as may be" if refused_max is None else f"<= {refused_max:.1%} of attempts"
    reached = None if refused_max is None else refused <= refused_max
    first_s = min(row["time_wall_s"] for row in book["rows"])
    at_s = [round(row["time_wall_s"] - first_s, 1) for row in book["rows"] if row["status"] == 429][:50]
    emit(f"{what}: refused (429)", asked_refused, f"{refused:.3%}", reached=reached, refused_at_s=at_s)


def alone(what: str, settings: SimSettings, asked: float, refused_max: float | None) -> None:
    """One process."""
    home, rows = own_state(), mixed_rows()
    known = charges(rows, task_of(home))
    with provider(settings) as url:
        summary, _ = Job(home, "one", rows, url, {}).wait()
        book = ledger(url)
    tell(what, book, known, asked, refused_max)
    emit(f"{what}: rows answered", f"= {ROWS}", summary["ok"], reached=summary["ok"] == ROWS)


def sliced() -> None:
    what = f"{ROWS} mixed rows, {RPM} RPM / {TPM} TPM with 1 s of capacity, learned"
    alone(what, SimSettings(seed=1, rpm=RPM, tpm=TPM, capacity_s=1), 0.98, 0.001)


def silent() -> None:
    what = f"{ROWS} mixed rows, {RPM} RPM / {TPM} TPM with 1 s of capacity, no rate-limit headers"
    alone(what, SimSettings(seed=1, rpm=RPM, tpm=TPM, capacity_s=1, headers=False), 0.85, None)


async def gathered(url: str, rows: list[dict[str, str]], task: Task, at_once: int) -> int:
    """`asyncio.gather` and a semaphore under the official SDK with its own retries; rows that failed.

    With the SDK's two retries it loses rows here, and who loses rows has not finished: it is given thirty.
    """
    import openai

    limit, failed = asyncio.Semaphore(at_once), 0
    async with openai.AsyncOpenAI(base_url=url, api_key="sim", max_retries=30) as client:

        async def one(row: dict[str, str]) -> None:
            nonlocal failed
            async with limit:
                try:
                    await client.responses.create(**json.loads(task.body(row)))
                except openai.APIError:
                    failed += 1

        await asyncio.gather(*[one(row) for row in rows])
    return failed


def full() -> None:
    """The bucket full at the start."""
    home, rows = own_state(), mixed_rows()
    task, settings = task_of(home), SimSettings(seed=1, rpm=RPM, tpm=TPM, capacity_s=60)
    with provider(settings) as url:
        _, took_s = Job(home, "one", rows, url, {}).wait()
        ours = ledger(url)["totals"]
    for at_once in (50, 256):
        with provider(settings) as url:
            start_s = time.perf_counter()
            failed = asyncio.run(gathered(url, rows, task, at_once))
            other_s = time.perf_counter() - start_s
            theirs = ledger(url)["totals"]
        emit(
            f"bucket full at the start: headway run beside asyncio.gather + Semaphore({at_once}) + 30 SDK retries",
            "no later",
            f"{took_s:.1f} s against {other_s:.1f} s ({other_s / took_s:.2f}x)",
            reached=None if failed else took_s <= other_s,
            refused_ours=ours["throttled"],
            refused_theirs=theirs["throttled"],
            rows_failed_theirs=failed,
        )


def fairness(books: list[list[float]]) -> float:
    """Jain's index of rows admitted a second, mean over the seconds in which both had work."""
    end_s = min(times[-1] for times in books)
    indices = []
    for second in range(int(FROM_S), int(end_s)):
        counts = [sum(second <= at_s < second + 1 for at_s in times) for times in books]
        if any(counts):
            indices.append(sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts)))
    return sum(indices) / len(indices)


def shared_limits() -> None:
    """Two processes with half of the rows each, and a Redis between them."""
    if shutil.which("redis-server") is None:
        print(json.dumps({"skipped": "redis-server is not installed"}))
        return
    home, rows = own_state(), mixed_rows()
    known = charges(rows, task_of(home))
    parts = [rows[0::2], rows[1::2]]
    place = tempfile.mkdtemp(prefix="hw-redis-")
    command = ["redis-server", "--port", "0", "--unixsocket", f"{place}/s", "--save", "", "--dir", place]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with provider(SimSettings(seed=1, rpm=RPM, tpm=TPM, capacity_s=1)) as url:
            more = {"HEADWAY_CACHE": "redis", "HEADWAY_REDIS_URL": f"unix://{place}/s", "HEADWAY_REDIS_TIMEOUT_S": "5"}
            jobs = [Job(home, str(number), part, url, more) for number, part in enumerate(parts)]
            done = [job.wait()[0] for job in jobs]
            book = ledger(url)
    finally:
        redis.terminate()
        redis.wait()
        shutil.rmtree(place)
    what = "two processes that share it through Redis"
    tell(what, book, known, 0.98, 0.001)
    owner = {digest: number for number, part in enumerate(parts) for digest in charges(part, task_of(home))}
    first_s = min(row["time_wall_s"] for row in book["rows"])
    times: list[list[float]] = [[], []]
    for row in sorted(book["rows"], key=lambda row: row["time_wall_s"]):
        if row["status"] == 200:
            times[owner[row["content"]]].append(row["time_wall_s"] - first_s)
    index = fairness(times)
    emit(f"{what}: fairness (Jain's index of rows admitted a second)", ">= 0.9", f"{index:.3f}", reached=index >= 0.9)
    answered = sum(summary["ok"] for summary in done)
    emit(f"{what}: rows answered", f"= {ROWS}", answered, reached=answered == ROWS)


def task_of(home: str) -> Task:
    path = Path(home) / "task.toml"
    path.write_text(TASK)
    return Task.load(path)


FIGURES = {"sliced": sliced, "silent": silent, "full": full, "shared": shared_limits}

if __name__ == "__main__":
    for name in sys.argv[1:] or FIGURES:
        FIGURES[name]()
