"""The figures of a comparison as lines of a table, for the terminal and the page; and the terminal's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from rich.console import Console
from rich.text import Text

from headway.measure.compare.comparison import Comparison
from headway.measure.compare.told import noise_line
from headway.measure.stats import Interval, MetricFinding
from headway.report import format as fmt
from headway.report.grid import grid

__all__ = ["Line", "facts", "lines", "print_comparison", "quality_line"]

_LABELS: Final[Mapping[str, str]] = {
    "latency": "Latency of a row",
    "latency_p50": "  median",
    "latency_p95": "  p95",
    "length_part": "  by length",
    "speed_part": "  by speed",
    "ttft": "Time to first token",
    "ttft_p50": "  median",
    "output_tokens": "Output tokens",
    "dollars": "$ per 1,000 rows",
    "failures": "Failed rows",
}
_STYLES: Final = {"better": "green", "worse": "red"}
_STOPPED: Final = {
    "decided": "it was decided",
    "rows": "all rows were asked",
    "money": "the money cap was reached",
    "interrupted": "it was interrupted",
}
_CHANGE_MAX: Final = 3.0


class Line(NamedTuple):
    """One metric: what A and B came to, B against A with its interval, and the word for it."""

    label: str
    a: str
    b: str
    change: str
    word: str
    full: str = ""
    """The label where nothing stands above it."""


def lines(done: Comparison) -> list[Line]:
    """All metrics there are values of, each followed by its parts."""
    found, above = [], ""
    if done.sets is not None:
        one = done.sets.finding
        speedup = "-" if done.sets.speedup is None else _times(done.sets.speedup)
        label = f"Time for {done.sets.rows_each} rows"
        found.append(
            Line(label, fmt.seconds(one.a), fmt.seconds(one.b), f"{speedup} as fast", one.verdict or "", label)
        )
    for name, label in _LABELS.items():
        metric = done.findings.metric(name)
        if metric is not None:
            show = _SHOWN[name]
            word: str = metric.verdict or ""
            above = label if not label.startswith(" ") else above
            full = label if above == label else f"{above}, {label.strip()}"
            change = _change(metric)
            if name == "failures" and word == "same" and not _within(metric, done.findings.smallest):
                word = "unclear"  # no row failed on one side alone, which is not yet "the same"
            if name == "failures" and not metric.a and not metric.b:
                change, word = "none", word if word == "same" else ""
            found.append(Line(label, show(metric.a), show(metric.b), change, word, full))
    again = done.repairs("a")["rows"], done.repairs("b")["rows"]
    if any(again):
        a, b = (_share(count / len(done.asked)) for count in again)
        found.append(Line("Repairs", a, b, "", "", "Repairs (rows asked again)"))
    return found


def _within(metric: MetricFinding, most: float) -> bool:
    found = metric.difference
    return found is not None and -most <= found.low and found.high <= most


def _change(metric: MetricFinding) -> str:
    if metric.ratio is not None:
        return percent_change(metric.ratio)
    if metric.difference is not None:
        return points(metric.difference)
    return "-"


def percent_change(ratio: Interval) -> str:
    """A ratio with its interval: ``-44 % (-48 to -41)``; as times where it is far more."""
    if ratio.high > _CHANGE_MAX:
        return _times(ratio)
    low, high = (ratio.low - 1) * 100, (ratio.high - 1) * 100
    digits = 1 if max(abs(low), abs(high)) < 9.95 else 0
    estimate = _signed((ratio.estimate - 1) * 100, digits)
    return _around(estimate, _signed(low, digits), _signed(high, digits), " %")


def points(difference: Interval) -> str:
    """A difference of shares with its interval, in points: ``+1.0 points (-2.1 to +4.0)``."""
    low, high = _signed(difference.low * 100, 1), _signed(difference.high * 100, 1)
    return _around(_signed(difference.estimate * 100, 1), low, high, " points")


def _times(ratio: Interval) -> str:
    return _around(f"{ratio.estimate:.2f}", f"{ratio.low:.2f}", f"{ratio.high:.2f}", "x")


def _around(estimate: str, low: str, high: str, unit: str) -> str:
    """A figure, and its interval where that reads otherwise."""
    return f"{estimate}{unit}" if low == estimate == high else f"{estimate}{unit} ({low} to {high})"


def _signed(value: float, digits: int) -> str:
    shown = f"{value:+.{digits}f}"
    return shown[1:] if float(shown) == 0 else shown


def quality_line(done: Comparison) -> str:
    """Marks, their difference, and whether B is inferior; in a line."""
    found = done.findings.quality
    if found.kind == "none" or found.a is None or found.b is None:
        return "not judged"
    margin = f"{found.margin * 100:g} points"
    few = found.difference is not None and found.difference.high < -found.margin
    word = {
        True: f"not worse by more than {margin}",
        False: f"worse by more than {margin}",
        None: f"{'too few to say ' if few else ''}whether it is worse by more than {margin}{'' if few else ' is open'}",
    }[found.not_inferior]
    if found.verdict == "better":
        word = "better"
    change = "" if found.difference is None else f", {points(found.difference)}"
    base = f"{_share(found.a)} against {_share(found.b)} on {found.rows:,} row{'' if found.rows == 1 else 's'}"
    if found.chance and found.not_inferior is None:
        return f"{base}; the same is asked, so that only chance can tell them apart"
    said = f"{base}{change}: {word}"
    if not found.only_a and not found.only_b:
        return f"{said}; no row is marked differently"
    return f"{said}; {done.a} is better on {found.only_a:,} rows, {done.b} on {found.only_b:,}"


def facts(done: Comparison) -> list[tuple[str, str]]:
    """What stands below the table."""
    judge = ""
    if done.dollars_judge is None or done.dollars_judge > 0:
        judge = f", {fmt.dollars(done.dollars_judge)} of it for the judge"
    of = "" if done.rows == done.rows_max else f" of at most {done.rows_max:,}"
    return [
        ("Quality", quality_line(done)),
        ("Noise", noise_line(done)),
        ("Rows", f"{done.rows:,}{of}, each asked both ways; {_STOPPED[done.stopped]}"),
        ("Spent", f"{fmt.dollars(done.dollars)}{judge}"),
        ("Changed", ", ".join(done.differences) or "nothing"),
    ]


def print_comparison(done: Comparison, console: Console, *, width: int | None = None) -> None:
    """The sentence, the table, and what else has to be known; readable from 80 columns on.

    Args:
        done: The comparison.
        console: Where; wide enough for the table.
        width: Of sentences, in columns; the console's without it.
    """
    for note in done.notes:
        if note.startswith("WARNING"):
            console.print(Text(note, style="bold red"), width=width)
    console.print(Text(done.sentence, style="bold"), width=width)
    console.print()
    table = grid("bold")
    table.add_column("", no_wrap=True)
    table.add_column(Text(fmt.printable(f"A: {done.a}")), justify="right")
    table.add_column(Text(fmt.printable(f"B: {done.b}")), justify="right")
    table.add_column("B against A", justify="right", no_wrap=True)
    table.add_column("")
    for line in lines(done):
        table.add_row(line.label, line.a, line.b, line.change, Text(line.word, style=_STYLES.get(line.word, "dim")))
    console.print(table)
    console.print()
    below = grid()
    below.add_column(style="bold", no_wrap=True)
    below.add_column()
    for label, value in facts(done):
        below.add_row(label, Text(value))
    console.print(below)
    for note in done.notes:
        if not note.startswith("WARNING"):
            console.print(Text(note, style="dim"), width=width)
    if done.unscored_first:
        console.print(Text(f"The check's first failure: {done.unscored_first}", style="dim"), width=width)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f} %"


def _thousand(value: float | None) -> str:
    return fmt.dollars(None if value is None else value * 1_000)


def _nothing(value: float | None) -> str:
    return ""


_SHOWN: Final[Mapping[str, Callable[[float | None], str]]] = {
    "latency": fmt.seconds,
    "latency_p50": fmt.seconds,
    "latency_p95": fmt.seconds,
    "length_part": _nothing,
    "speed_part": _nothing,
    "ttft": fmt.seconds,
    "ttft_p50": fmt.seconds,
    "output_tokens": fmt.count,
    "dollars": _thousand,
    "failures": _share,
}
