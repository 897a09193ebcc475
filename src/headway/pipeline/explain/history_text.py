"""Many runs on the terminal: a table of steps for each pipeline, and more of one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from headway.pipeline.explain.history import PipelineFigures, StepFigures, Times, Window
from headway.pipeline.explain.regressions import Regression
from headway.report import format as fmt

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["gained", "heading", "more", "span_told", "spark", "steps_table", "troubles", "verdict"]

_LEVELS = "▁▂▃▄▅▆▇█"
_GOOD = ("ok", "cached")


def heading(figures: PipelineFigures) -> str:
    """A pipeline in a sentence or two."""
    times, count = figures.times, figures.runs
    bad = troubles(figures.outcomes)
    told = f"{fmt.printable(figures.pipeline)}: {count:,} {'run' if count == 1 else 'runs'}{f' ({bad})' if bad else ''}"
    if times.count:
        told += f", end to end {_quantiles(times)}"
    if figures.first_chunk.count:
        told += f"; first chunk {_quantiles(figures.first_chunk)}"
    return f"{told}. {fmt.dollars(figures.dollars)} a run."


def _quantiles(times: Times) -> str:
    named = (("p50", times.p50_s), ("p95", times.p95_s), ("p99", times.p99_s))
    return ", ".join(f"{name} {fmt.seconds(value_s)}" for name, value_s in named if value_s is not None)


def steps_table(figures: PipelineFigures, width: int) -> Table:
    """A row a step, fit for 80 columns."""
    from rich.text import Text

    from headway.report.grid import grid

    share = next((step.faster.faster for step in figures.steps if step.faster), 0.3)
    table = grid("dim", gap=1)
    table.add_column("step", no_wrap=True, overflow="ellipsis", max_width=max(14, width - 66))
    for name in ("n", "p50", "p95", "p99", "critical", "slack", "$ a run", f"{fmt.percent(share)} faster"):
        table.add_column(name, justify="right", no_wrap=True)
    for step in figures.steps:
        table.add_row(
            Text(fmt.printable(step.step), style="bold" if step.critical_share >= 0.5 else ""),
            f"{step.count:,}",
            *(fmt.seconds(value_s) for value_s in (step.times.p50_s, step.times.p95_s, step.times.p99_s)),
            fmt.percent(step.critical_share),
            fmt.seconds(step.slack_mean_s),
            "?" if step.dollars is None else fmt.dollars(step.dollars) if step.dollars else "-",
            gained(step),
        )
    return table


def gained(step: StepFigures) -> str:
    """What being faster would have taken off the end-to-end p95, or p50 where there are too few runs for that."""
    if step.faster is None:
        return "-"
    by_s = step.faster.p50_s if step.faster.p95_s is None else step.faster.p95_s
    if abs(by_s) < 5e-4:
        return "no gain"
    return f"{'-' if by_s > 0 else '+'}{fmt.seconds(abs(by_s))}"


def more(figures: PipelineFigures, console: Console) -> None:
    """What each step waits for, reads, writes, and how it went over time."""
    from rich.text import Text

    from headway.report.grid import grid

    table = grid("dim", gap=1)
    table.add_column("step", no_wrap=True, overflow="ellipsis", max_width=18)
    for name in ("1st chunk", "to start", "pacing", "of path", "in>out", "hits"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("p95 over time", no_wrap=True)
    table.add_column("not ok", overflow="fold")
    plain = not console.encoding.startswith("utf")
    for step in figures.steps:
        table.add_row(
            Text(fmt.printable(step.step)),
            fmt.seconds(step.first_chunk.p50_s),
            fmt.seconds(step.limit_mean_s),
            fmt.seconds(step.pacing_mean_s),
            fmt.percent(step.path_share),
            f"{step.input_tokens_mean:.0f}>{step.output_tokens_mean:.0f}",
            fmt.percent(step.hit_share),
            "-" if plain else spark(step.over_time),
            troubles(step.outcomes) or "-",
        )
    console.print()
    console.print(table)
    console.print(
        "1st chunk: p50 after the start. to start, pacing: mean wait to start (own limit, event loop), and for limits.",
        "of path: its share of the end-to-end time, on the critical path; the program's own is "
        f"{fmt.percent(figures.program_share)}.",
        style="dim",
        sep="\n",
    )


def verdict(regressions: Sequence[Regression], judged: int) -> list[str]:
    """What has become slower, a sentence each; else one that says that nothing has, or that it cannot be told.

    Args:
        regressions: What was found.
        judged: How many steps, and whole pipelines, there was enough history to judge.
    """
    if regressions:
        return [one.sentence for one in regressions]
    if not judged:
        return ["No step could be judged: it takes 20 recent runs (--recent) and 50 before them."]
    return [f"No step has become slower ({judged:,} looked at)."]


def spark(windows: Sequence[Window]) -> str:
    """The p95 of each stretch, from nothing to the highest; "-" below two of them."""
    values = [window.times.p95_s for window in windows]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "-"
    most = max(known) or 1.0
    bars = "".join(" " if v is None else _LEVELS[min(7, int(v / most * 7.999))] for v in values)
    return f"{bars} {fmt.seconds(known[-1])}"


def troubles(outcomes: Mapping[str, int]) -> str:
    """Outcomes that are not as wished, with their number."""
    return ", ".join(f"{count:,} {name}" for name, count in outcomes.items() if name not in _GOOD)


def span_told(figures: PipelineFigures) -> str:
    """From when to when its runs began."""
    ends = (datetime.fromtimestamp(wall_s).astimezone() for wall_s in (figures.from_wall_s, figures.to_wall_s))
    return " to ".join(f"{when:%Y-%m-%d %H:%M}" for when in ends)
