"""A run as a chart: a row for each line of its picture, in the parts its time had."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from headway.pipeline.explain.lines import Line
from headway.report import format as fmt
from headway.report.charts_base import Frame, Scale, empty, scale_of, svg, x_axis

__all__ = ["KEYS", "run_chart"]

KEYS = (
    ("s7", "waits"),
    ("s1", "until its first chunk"),
    ("s0", "the rest"),
    ("line", "on the critical path"),
)
"""The chart's colours, for the key below it."""

_CSS = ("s7", "s1", "s0")
_ROW, _BAR = 26, 14
_ROWS_MAX = 120
_LABEL_MAX = 24
_SLOTS = 160


def run_chart(lines: Sequence[Line], end_s: float) -> str:
    """Rows of at most 120 steps; a fold shows how many ran at once as the bar's height."""
    shown = lines[:_ROWS_MAX]
    if not shown or end_s <= 0:
        return empty("No step took any time.")
    frame = Frame(width=920, height=12 + _ROW * len(shown) + 42, left=188, right=120)
    scale = scale_of([0.0, end_s], zero=True)
    bottom = frame.height - frame.bottom
    places = [_x(frame, scale, tick) for tick in scale.ticks]
    parts = [f'<line class="grid" x1="{x}" x2="{x}" y1="{frame.top}" y2="{bottom}"/>' for x in places]
    for i, line in enumerate(shown):
        top = frame.top + i * _ROW + (_ROW - _BAR) / 2
        parts.append(_row(frame, scale, line, end_s, top))
    parts.append(x_axis(frame, scale.ticks, lambda value: float(_x(frame, scale, value)), "since the run's start"))
    told = ". ".join(f"{line.label}: {_told(line)}" for line in shown)
    return svg(frame, "run", "The steps of the run over time", f"{told}.", "".join(parts))


def _x(frame: Frame, scale: Scale, at_s: float) -> str:
    return f"{frame.left + frame.plot_width * scale.place(at_s):.1f}"


def _row(frame: Frame, scale: Scale, line: Line, end_s: float, top: float) -> str:
    label = fmt.printable(line.label)
    label = label if len(label) <= _LABEL_MAX else f"{label[: _LABEL_MAX - 1]}…"
    parts = [f'<text class="end" x="{frame.left - 9}" y="{top + 11:.1f}">{escape(label)}</text>']
    tip = f"<title>{escape(f'{line.label}: {_told(line)}')}</title>"
    if line.folded:
        parts.append(_fold(frame, scale, line, end_s, top, tip))
    for stretch in [] if line.folded else line.stretches():
        x, to = float(_x(frame, scale, stretch.from_s)), float(_x(frame, scale, stretch.to_s))
        parts.append(
            f'<rect class="{_CSS[stretch.kind]}" x="{x:.1f}" y="{top:.1f}" width="{max(1.0, to - x):.1f}" '
            f'height="{_BAR}">{tip}</rect>'
        )
    last_s = max(node.end_s for node in line.nodes)
    if line.critical:
        under = f"M{_x(frame, scale, line.ready_s)} {top + _BAR + 3:.1f}H{_x(frame, scale, last_s)}"
        parts.append(f'<path class="line" d="{under}">{tip}</path>')
    took = fmt.seconds(line.took_s[-1]) if line.stretches() or line.folded else line.outcome
    shown = f"p50 {fmt.seconds(line.p50_s)}" if line.folded else took
    place = float(_x(frame, scale, last_s)) + 6
    parts.append(f'<text class="start" x="{place:.1f}" y="{top + 11:.1f}">{escape(fmt.printable(shown))}</text>')
    return "".join(parts)


def _fold(frame: Frame, scale: Scale, line: Line, end_s: float, top: float, tip: str) -> str:
    counts = line.running(_SLOTS, end_s)
    most = max(counts) or 1.0
    base = f"{top + _BAR:.1f}"
    path = "".join(
        f"L{_x(frame, scale, i * end_s / _SLOTS)} {top + _BAR * (1 - n / most):.1f}"
        f"H{_x(frame, scale, (i + 1) * end_s / _SLOTS)}"
        for i, n in enumerate(counts)
    )
    return f'<path class="s0" d="M{_x(frame, scale, 0)} {base}{path}V{base}Z">{tip}</path>'


def _told(line: Line) -> str:
    if line.folded:
        return f"p50 {fmt.seconds(line.p50_s)}, max {fmt.seconds(line.took_s[-1])}, {line.outcome}"
    return f"{fmt.seconds(line.took_s[0])}, {line.outcome}" if line.stretches() else line.outcome
