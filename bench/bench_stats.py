"""What the statistics of `headway compare` hold to: false verdicts, power, coverage, and what a look takes.

Everything is simulated, without a request: times come from the provider simulator's own formula (`sim/latency.py`), for
rows whose answers are 20 to 400 tokens long. An A/A comparison looks seven times on its way to 200 rows and stops when
it is decided; "better" or "worse" of any metric, of quality or in the verdict, where it stopped, is false.

    python bench/bench_stats.py [comparisons, 1,000 by default]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from math import exp
from random import Random
from statistics import median

from common import emit
from headway.measure.stats import Interval, Pair, Side, TrialSettings, bootstrap, paired_ratio, quantile
from headway.measure.stats.findings import Findings
from headway.measure.stats.paired import total_ratio, typical_ratio
from headway.measure.stats.parts import Taken, apart
from headway.measure.stats.proportions import graded_difference, paired_difference
from headway.measure.stats.trial import Trial
from headway.sim.latency import network_s, timing
from headway.sim.profiles import PROFILES

COMPARISONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
ROWS_MAX = 200
PROFILE = PROFILES["gpt-5.4"]  # the widest spread of all profiles
TAIL = 0.025

Rows = Callable[[int, Random], list[Pair]]


def side(
    rng: Random, tokens_mean: float, *, scale: float = 1.0, faults: bool = False, right: float = 0.9, grade: float = 0.0
) -> Side:
    """One answer: the simulator's times; a length that varies by 15 %; with `faults`, 3 % fail and 3 % hang."""
    if faults and rng.random() < 0.03:
        return Side(ok=False, dollars=0.0)
    tokens = max(1, round(tokens_mean * exp(rng.gauss(0.0, 0.15))))
    times = timing(PROFILE, uncached_tokens=400, in_flight=8, capacity=64, scale=scale, rng=rng)
    network = network_s("us-east", scale, rng)
    slow = 10.0 if faults and rng.random() < 0.03 else 1.0
    return Side(
        ok=True,
        latency_s=slow * (network + times.total_s(tokens)),
        ttft_s=slow * (network + times.total_s(1)),
        output_tokens=tokens,
        dollars=400 * 2.5e-6 + tokens * 15e-6,
        score=grade or float(rng.random() < right),
    )


def length(rng: Random) -> float:
    """Of a row's answer: 20 to 400 tokens, log-normal."""
    return min(max(exp(rng.gauss(4.6, 0.7)), 20.0), 400.0)


def plain(count: int, rng: Random, b_scale: float = 1.0, b_right: float = 0.9) -> list[Pair]:
    """The simulator's noise alone."""
    lengths = [length(rng) for _ in range(count)]
    return [
        Pair(row=i, a=side(rng, tokens), b=side(rng, tokens, scale=b_scale, right=b_right))
        for i, tokens in enumerate(lengths)
    ]


def faulty(count: int, rng: Random) -> list[Pair]:
    """With failures and requests that hang; a row is easy to get right, or hard."""
    pairs = []
    for row in range(count):
        tokens, right = length(rng), rng.choice((0.6, 0.98))
        a, b = (side(rng, tokens, faults=True, right=right) for _ in "ab")
        pairs.append(Pair(row=row, a=a, b=b))
    return pairs


def clustered(count: int, rng: Random) -> list[Pair]:
    """Four rows of each document, which share what suits A and what suits B; scores are grades."""
    pairs = []
    for row in range(count):
        if row % 4 == 0:
            tokens, tilt, gap = length(rng), exp(rng.gauss(0, 0.1)), rng.gauss(0, 0.05)
        grades = [min(max(0.7 + sign * gap + rng.gauss(0, 0.1), 0.01), 1.0) for sign in (-1, 1)]
        a = side(rng, tokens, grade=grades[0])
        b = side(rng, tokens, scale=tilt, grade=grades[1])
        pairs.append(Pair(row=row, cluster=f"document {row // 4}", a=a, b=b))
    return pairs


def compared(pairs: Sequence[Pair], settings: TrialSettings) -> Findings:
    """A comparison to its end: decided, or out of rows."""
    trial = Trial(settings)
    for pair in pairs:
        trial.add(pair)
        if trial.due():
            findings = trial.look(described=False)
            if findings.decided:
                return findings
    return trial.look(final=True, described=False)


def claims(findings: Findings) -> bool:
    """Whether it says better or worse anywhere."""
    words = [one.verdict for one in findings.metrics] + [findings.quality.verdict, findings.verdict]
    return any(word in ("better", "worse", "mixed") for word in words) or findings.quality.not_inferior is False


def false_verdicts() -> None:
    """A/A, three ways."""
    ways = (("plain", plain, 1), ("faults and hard rows", faulty, 4), ("clusters and grades", clustered, 4))
    for name, rows, part in ways:
        began_s, count = time.perf_counter(), COMPARISONS // part
        false = sum(
            claims(compared(rows(ROWS_MAX, Random(seed)), TrialSettings(rows_max=ROWS_MAX, seed=seed)))
            for seed in range(count)
        )
        emit(
            f"A/A false better or worse, any metric, {name}",
            "<= 5 %",
            f"{false / count:.1%}",
            reached=false / count <= 0.05,
            comparisons=count,
            took_s=round(time.perf_counter() - began_s, 1),
        )


def power() -> None:
    """B takes 15 % less time: found with 100 rows, as all there are and as half of what may come."""
    count = COMPARISONS // 4
    for rows_max in (100, 200):
        found = 0
        for seed in range(count):
            pairs = plain(100, Random(10_000 + seed), b_scale=0.85)
            trial = Trial(TrialSettings(rows_max=rows_max, seed=seed))
            for pair in pairs:
                trial.add(pair)
                if trial.due():
                    findings = trial.look(described=False)
            latency = findings.metric("latency")
            found += latency is not None and latency.verdict == "better"
        asked = ">= 90 %" if rows_max == 100 else "(early look)"
        emit(
            f"power: a true 15 % in latency, at row 100 of at most {rows_max}",
            asked,
            f"{found / count:.1%}",
            reached=found / count >= 0.9 if rows_max == 100 else None,
            comparisons=count,
        )


def inferior_passed() -> None:
    """B is worse by just the margin of 5 points: how often that passes as not inferior, early looks included."""
    count, margin = COMPARISONS // 4, 0.05
    for name in ("right or wrong", "grades"):
        passed = 0
        for seed in range(count):
            rng, pairs = Random(20_000 + seed), []
            for row in range(ROWS_MAX):
                if name == "grades":
                    a, b = 0.7 + rng.gauss(0, 0.1), 0.7 - margin + rng.gauss(0, 0.1)
                else:
                    right = rng.choice((0.8, 0.99))  # hard rows are hard for both
                    a, b = float(rng.random() < right), float(rng.random() < right - margin)
                pairs.append(Pair(row=row, a=Side(ok=True, score=a), b=Side(ok=True, score=b)))
            settings = TrialSettings(margin=margin, rows_max=ROWS_MAX, seed=seed)
            passed += compared(pairs, settings).quality.not_inferior is True
        emit(
            f"worse by the margin, yet passed ({name})",
            "about 2.5 % at most",
            f"{passed / count:.1%}",
            reached=passed / count <= 0.04,  # two standard errors above, at 250
            comparisons=count,
        )


Interval_of = Callable[[Random], Interval | None]


def noise(rng: Random, count: int, sigma: float = 0.25, ratio: float = 0.85) -> tuple[list[float], list[float]]:
    """Log-normal rows with log-normal noise on either side, B at 0.85 of A."""
    rows = [exp(rng.gauss(0, 0.6)) for _ in range(count)]
    return [x * exp(rng.gauss(0, sigma)) for x in rows], [x * ratio * exp(rng.gauss(0, sigma)) for x in rows]


def coverage() -> None:
    """How often 95 % intervals hold the true value, on log-normal noise."""
    cases: list[tuple[str, float, Interval_of]] = []
    for n in (20, 100):
        cases += [
            (f"typical ratio, {n} rows", 0.85, lambda rng, n=n: typical_ratio(*noise(rng, n), tail=TAIL)),
            (f"ratio of sums, {n} rows", 0.85, lambda rng, n=n: total_ratio(*noise(rng, n), tail=TAIL)),
            (
                f"ratio of medians, {n} rows",
                0.85,
                lambda rng, n=n: paired_ratio(*noise(rng, n), median, rng=rng, resamples=300),
            ),
            (
                f"ratio of p95, {n} rows",
                0.85,
                lambda rng, n=n: paired_ratio(*noise(rng, n), lambda v: quantile(v, 0.95), rng=rng, resamples=300),
            ),
            (
                f"mean by bootstrap, {n} rows",
                exp(0.18 + 0.03125),
                lambda rng, n=n: bootstrap(noise(rng, n)[0], mean_of, rng=rng, resamples=300),
            ),
        ]
    cases += [
        ("difference of proportions, 100 rows", -0.05, proportions),
        ("grades, 30 documents of 4 rows", 0.0, grades),
        ("speed part, streamed, 100 rows", 0.85, lambda rng: speed_part(rng, streamed=True)),
        ("speed part, not streamed, 100 rows", 0.85, lambda rng: speed_part(rng, streamed=False)),
    ]
    count = 3 * COMPARISONS // 10
    for name, true, interval_of in cases:
        rng, held, made = Random(30_000), 0, 0
        for _ in range(count):
            interval = interval_of(rng)
            if interval is not None:
                made += 1
                held += interval.low <= true <= interval.high
        emit(f"coverage: {name}", "95 %", f"{held / max(made, 1):.1%}", reached=held >= 0.92 * made, intervals=made)


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def proportions(rng: Random) -> Interval:
    """Tango's interval; both sides fail on the same rows more often than by chance."""
    only_a = only_b = 0
    for _ in range(100):
        at = rng.random()
        only_a += at < 0.08
        only_b += 0.08 <= at < 0.11
    return paired_difference(only_a, only_b, 100, tail=TAIL)


def grades(rng: Random) -> Interval | None:
    differences, clusters = [], []
    for document in range(30):
        gap = rng.gauss(0, 0.1)
        differences += [gap + rng.gauss(0, 0.1) for _ in range(4)]
        clusters += [str(document)] * 4
    return graded_difference(differences, tail=TAIL, rng=rng, resamples=1000, clusters=clusters)


def speed_part(rng: Random, *, streamed: bool) -> Interval | None:
    """B writes 30 % less, at 0.85 of the time for as much."""
    sides: list[list[Taken]] = [[], []]
    for _ in range(100):
        tokens = length(rng)
        for found, scale, share in zip(sides, (1.0, 0.85), (1.0, 0.7), strict=True):
            one = side(rng, tokens * share, scale=scale)
            found.append(Taken(one.latency_s or 0.0, one.ttft_s if streamed else None, one.output_tokens or 0.0))
    parts = apart(*sides, rng=rng, resamples=100)
    return None if parts is None else parts[1]


def look_times() -> None:
    """One look over 200 pairs with everything in it, and without the bootstrap."""
    trial = Trial(TrialSettings(rows_max=400))
    for pair in faulty(200, Random(1)):
        trial.add(pair)
    for name, described in (("all of it", True), ("verdicts only", False)):
        took = []
        for _ in range(5):
            began_s = time.perf_counter()
            trial.look(described=described)
            took.append(time.perf_counter() - began_s)
        emit(f"a look over 200 pairs, {name}", "< 0.3 s", f"{median(took):.3f} s", reached=median(took) < 0.3)


if __name__ == "__main__":
    look_times()
    power()
    coverage()
    inferior_passed()
    false_verdicts()
