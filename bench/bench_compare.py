"""What `headway compare` holds to, as whole comparisons: engine, simulator, pairs, statistics; on virtual time.

A comparison of twins is two prompts that differ in a word without weight (a number, and the letter A or B): the
simulator throws its dice by content and by the attempt at it, so both sides draw times and mistakes of their own from
the same distributions, and every comparison draws new ones. Identical variants draw new times, and the same answers.
"Better", "worse" or "mixed" for either is false. The power is that of "B is faster", in latency, for a provider that is
15 % faster (`latency_scale` 0.85) and otherwise the same.

    python bench/bench_compare.py [comparisons, 1,000 by default]
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from common import ROOT, emit, own_state
from headway import Engine, Task
from headway.measure.compare.comparison import Comparison
from headway.measure.compare.run import CompareSettings, compare
from headway.measure.compare.variant import RunTable, Variant, load_variant
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

COMPARISONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
POWERED = max(1, COMPARISONS // 5)
MODEL = "gpt-5.4"  # the widest spread of latency among the profiles
LABELS = ("billing", "technical_support", "account_access", "shipping", "cancellation")
GREETINGS = ("", "Hello. ", "Hi. ", "Good morning. ", "Dear team. ")
AA_ROWS_MAX = 60
"""Of comparisons of the same with the same: looks at 20, 30, 50 and 60 rows."""


def rows() -> list[dict[str, str]]:
    """A hundred: the twenty tickets with five greetings."""
    with (ROOT / "examples" / "tickets.csv").open(encoding="utf-8", newline="") as file:
        tickets = list(csv.DictReader(file))
    return [{**row, "text": greeting + row["text"]} for greeting in GREETINGS for row in tickets]


def variant(name: str, system: str) -> Variant:
    """The tickets, under a system text."""
    task = Task(model=MODEL, system=system, prompt="{text}", labels=LABELS, expected="expected")
    return Variant(name=name, task=task, run=RunTable())


def engines(handlers: dict[str, Simulator], **more: Any) -> Callable[[Variant], Engine]:
    """An engine for each, on the simulator of its name."""

    def make(one: Variant) -> Engine:
        handler = (handlers.get(one.name) or handlers[""]).handler
        common = {"base_url": "http://sim/v1", "api_key": "k", "log": "off", "log_level": "off", "seed": 1}
        return Engine(handler=handler, config=os.devnull, **{**common, **more})

    return make


def one(a: Variant, b: Variant, handlers: dict[str, Simulator], seed: int, **how: Any) -> Comparison:
    """A whole comparison of at most 100 rows, stopping when it is decided."""
    settings = CompareSettings(**{"usd_max": None, "aa": False, "seed": seed, **how})
    return virtual_run(lambda: compare(a, b, rows(), settings=settings, engines=engines(handlers)))


def twins(numbers: range) -> list[tuple[str, int]]:
    """Verdict and rows of comparisons of twins."""
    sims = {"": Simulator(SimSettings(seed=numbers.start))}
    found = []
    for k in numbers:
        done = one(
            variant("a", f"Route ticket {k:05} A."),
            variant("b", f"Route ticket {k:05} B."),
            sims,
            k,
            rows_max=AA_ROWS_MAX,
        )
        found.append((done.verdict, done.rows))
    return found


def same(numbers: range) -> list[tuple[str, int]]:
    """The same of identical variants; the simulator counts attempts at each prompt, so that times are new."""
    sims, both = {"": Simulator(SimSettings(seed=numbers.start))}, variant("a", "Route the ticket.")
    done = [one(both, both, sims, k, rows_max=AA_ROWS_MAX) for k in numbers]
    return [(each.verdict, each.rows) for each in done]


def faster(numbers: range) -> list[tuple[str, int]]:
    """What latency is said to be where B's provider is 15 % faster; all 100 rows."""
    found = []
    for k in numbers:
        sims = {"a": Simulator(SimSettings(seed=k)), "b": Simulator(SimSettings(seed=k + 10**6, latency_scale=0.85))}
        done = one(variant("a", "Route the ticket."), variant("b", "Route the ticket."), sims, k)
        latency = done.findings.metric("latency")
        assert latency is not None
        found.append((str(latency.verdict), done.rows))
    return found


def in_parts(work: Callable[[range], list[tuple[str, int]]], count: int) -> list[tuple[str, int]]:
    """On all cores."""
    parts = list(_parts(count, 4 * (os.cpu_count() or 1)))
    with ProcessPoolExecutor() as pool:
        return [found for part in pool.map(work, parts) for found in part]


def _parts(count: int, most: int) -> Iterator[range]:
    step = max(1, -(-count // most))
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def report(figure: str, work: Callable[[range], list[tuple[str, int]]], count: int) -> None:
    """False verdicts of one kind of A/A."""
    begun_s = time.perf_counter()
    found = in_parts(work, count)
    verdicts = Counter(verdict for verdict, _ in found)
    false = sum(verdicts[word] for word in ("better", "worse", "mixed"))
    emit(
        f"false verdicts over {count:,} whole comparisons of {figure}, at most {AA_ROWS_MAX} rows",
        "<= 5 %",
        f"{100 * false / count:.1f} %",
        reached=false <= 0.05 * count,
        verdicts=dict(verdicts),
        rows_mean=round(sum(rows for _, rows in found) / count, 1),
        took_s=round(time.perf_counter() - begun_s, 1),
    )


def power() -> None:
    """How often a true 15 % is found."""
    found = in_parts(faster, POWERED)
    hits = sum(word == "better" for word, _ in found)
    emit(
        f"power for a true 15 % in latency at 100 rows, {POWERED:,} whole comparisons",
        ">= 90 %",
        f"{100 * hits / POWERED:.1f} %",
        reached=hits >= 0.9 * POWERED,
        rows_mean=round(sum(rows for _, rows in found) / POWERED, 1),
    )


def material() -> None:
    """The verbose prompt against the concise one on a hundred tickets; streamed, which tells length from speed."""
    sims = {"": Simulator(SimSettings(seed=0))}
    a, b = (load_variant(ROOT / "examples" / f"{name}.toml") for name in ("verbose", "concise"))
    a, b = (Variant(name=each.name, task=each.task, run=RunTable(stream=True)) for each in (a, b))
    done = one(a, b, sims, 0, aa=True)
    parts = {name: done.findings.metric(name) for name in ("latency", "length_part", "speed_part", "dollars")}
    emit(
        "verbose against concise on 100 tickets",
        "an interval for each change, and whether quality holds",
        done.sentence,
        reached=None,
        ratios={
            name: [round(x, 3) for x in (found.ratio.low, found.ratio.estimate, found.ratio.high)]
            for name, found in parts.items()
            if found is not None and found.ratio is not None
        },
        dollars=round(done.dollars, 4),
    )


def main() -> None:
    own_state()
    material()
    report("twins (the same prompt but for a letter)", twins, COMPARISONS)
    report("identical variants", same, POWERED)
    power()


if __name__ == "__main__":
    main()
