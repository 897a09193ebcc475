"""Many runs as a page that loads nothing: tables, and every step's p50 and p95 over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from headway.pipeline.explain.history import PipelineFigures, StepFigures, Window
from headway.pipeline.explain.history_text import gained, heading, span_told, troubles
from headway.report import format as fmt
from headway.report.charts_base import COLOURS, Frame, empty, scale_of, svg, y_axis
from headway.report.page import bar_table, figure, page, section, table, text
from headway.report.svg import short_seconds

__all__ = ["history_page", "over_time_chart"]

_STEPS_MAX = 60
_SERIES = (("p50", 0), ("p95", 1), ("p99", 3))


def history_page(pipelines: Sequence[PipelineFigures], verdict: Sequence[str], command: str = "") -> str:
    """The page.

    Args:
        pipelines: In the order they are shown.
        verdict: Sentences on what has become slower, see `history_text.verdict`.
        command: What gives the same again.
    """
    parts = [f'<header><h1>Pipelines</h1></header><p class="lead">{text(" ".join(verdict))}</p>']
    for number, figures in enumerate(pipelines):
        parts.append(_pipeline(figures, number))
    if command:
        parts.append(section("How to get this again", f"<pre>{text(command)}</pre>", wide=True))
    return page("Pipelines", "\n".join(parts))


def _pipeline(figures: PipelineFigures, number: int) -> str:
    shown = figures.steps[:_STEPS_MAX]
    share = next((step.faster.faster for step in shown if step.faster), 0.3)
    head = (
        "step", "n", "p50", "p95", "p99", "critical in", "slack", "to\nstart", "pacing", "cost\na run",
        "tokens\nout", "hits", f"{fmt.percent(share)} faster:\nend to end p95", "not ok",
    )  # fmt: skip
    bars = [
        (f"{fmt.printable(s.step)}\non the path in {fmt.percent(s.critical_share)} of its runs", s.path_share,
         fmt.percent(s.path_share), "a")
        for s in shown
    ]  # fmt: skip
    bars.append(("the program itself", figures.program_share, fmt.percent(figures.program_share), "b"))
    charts = "".join(
        section(step.step, figure(chart, _keys(step.over_time)))
        for i, step in enumerate(shown)
        if (chart := over_time_chart(step.over_time, f"p{number}-{i}"))
    )
    if whole := over_time_chart(figures.over_time, f"p{number}"):
        charts = section("End to end", figure(whole, _keys(figures.over_time))) + charts
    return "\n".join(
        [
            f'<h2 class="run">{text(figures.pipeline)}</h2>',
            f'<p class="note">{text(heading(figures))} {text(span_told(figures))}.</p>',
            section("Step by step", table(head, [_row(step) for step in shown]), wide=True),
            section("What end-to-end time is made of", bar_table(bars, "share of the critical paths"), wide=True),
            f'<div class="grid2">{charts}</div>',
        ]
    )


def _keys(windows: Sequence[Window]) -> list[tuple[str, str]]:
    """Of the series that there are."""
    return [
        (COLOURS[colour], name)
        for name, colour in _SERIES
        if any(getattr(window.times, f"{name}_s") is not None for window in windows)
    ]


def _row(step: StepFigures) -> tuple[str, ...]:
    return (
        fmt.printable(step.step),
        f"{step.count:,}",
        *(fmt.seconds(value_s) for value_s in (step.times.p50_s, step.times.p95_s, step.times.p99_s)),
        fmt.percent(step.critical_share),
        fmt.seconds(step.slack_mean_s),
        fmt.seconds(step.limit_mean_s),
        fmt.seconds(step.pacing_mean_s),
        fmt.dollars(step.dollars),
        fmt.count(step.output_tokens_mean),
        fmt.percent(step.hit_share),
        gained(step),
        troubles(step.outcomes) or "-",
    )


def over_time_chart(windows: Sequence[Window], id_: str) -> str:
    """p50, p95 and p99 of consecutive stretches of the history; "" below two of them."""
    if len(windows) < 2:
        return ""
    frame = Frame()
    series = [(name, colour, [getattr(window.times, f"{name}_s") for window in windows]) for name, colour in _SERIES]
    known = [value for _, _, values in series for value in values if value is not None]
    if not known:
        return empty("There are too few values.")
    scale = scale_of([0.0, *known], zero=True)

    def x_of(i: int) -> float:
        return frame.left + frame.plot_width * i / (len(windows) - 1)

    def y_of(value: float) -> float:
        return frame.top + frame.plot_height * (1 - scale.place(value))

    parts = [y_axis(frame, scale.ticks, y_of, short_seconds)]
    for name, colour, values in series:
        points = [(x_of(i), y_of(value), value) for i, value in enumerate(values) if value is not None]
        if points:
            line = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in points)
            parts.append(f'<path class="line {COLOURS[colour]}" d="M{line}"/>')
        for x, y, value in points:
            tip = f"<title>{escape(f'{name} {fmt.seconds(value)}')}</title>"
            parts.append(f'<circle class="{COLOURS[colour]}" cx="{x:.1f}" cy="{y:.1f}" r="2.6">{tip}</circle>')
    ends = (windows[0].start_wall_s, windows[-1].start_wall_s)
    first, last = (f"{datetime.fromtimestamp(wall_s).astimezone():%m-%d %H:%M}" for wall_s in ends)
    right, bottom = frame.width - frame.right, frame.height - frame.bottom + 18
    parts.append(f'<text class="start" x="{frame.left}" y="{bottom}">{first}</text>')
    parts.append(f'<text class="end" x="{right}" y="{bottom}">{last}</text>')
    told = "; ".join(
        f"{name} from {fmt.seconds(values[0])} to {fmt.seconds(values[-1])}" for name, _, values in series if values[0]
    )
    return svg(frame, id_, "Times over the history", f"{told}.", "".join(parts))
