"""Charts of where time goes: one call as a waterfall, and several as stacked bars on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from headway.report import format as fmt
from headway.report.charts_base import COLOURS, Frame, Scale, empty, scale_of, svg, x_axis

__all__ = ["Span", "stacked_chart", "waterfall_chart"]

_ROW, _BAR = 26, 14
_STACK_ROW = 38
_ROWS_MAX = 40
_LABEL_MAX = 22


class Span(NamedTuple):
    """A stretch of time within a call: seconds since it began; `colour` is an index into `COLOURS`."""

    label: str
    from_s: float
    to_s: float
    colour: int = 0


def waterfall_chart(spans: Sequence[Span], *, name: str, id_: str = "w") -> str:
    """One call as its parts one below the other, each where it began and as long as it took.

    Args:
        spans: In the order they are shown, at most 40; those that took no time are drawn as a line.
        name: What the axis is, e.g. "since it was due".
        id_: Makes the chart's ids unique on the page.
    """
    spans = spans[:_ROWS_MAX]
    if not spans:
        return empty("There is no call to draw.")
    frame = Frame(height=12 + _ROW * len(spans) + 42, left=124)
    scale = scale_of([0.0, *(span.to_s for span in spans)], zero=True)
    parts = _grid(frame, scale)
    for i, span in enumerate(spans):
        y = frame.top + i * _ROW + (_ROW - _BAR) / 2
        x, width = _x_of(frame, scale, span.from_s), _x_of(frame, scale, span.to_s) - _x_of(frame, scale, span.from_s)
        took = fmt.seconds(max(0.0, span.to_s - span.from_s))
        at, anchor = (x + width + 5, "start") if x + width < frame.width - 70 else (x - 5, "end")
        parts.append(
            f'<text class="end" x="{frame.left - 7}" y="{y + 11:.1f}">{escape(_cut(span.label))}</text>'
            f'<rect class="{_css(span.colour)}" x="{x:.1f}" y="{y:.1f}" width="{max(1.0, width):.1f}" height="{_BAR}">'
            f"<title>{escape(f'{span.label}: {took}')}</title></rect>"
            f'<text class="{anchor}" x="{at:.1f}" y="{y + 11:.1f}">{escape(took)}</text>'
        )
    parts.append(x_axis(frame, scale.ticks, lambda value: _x_of(frame, scale, value), name))
    told = ". ".join(f"{span.label}: {fmt.seconds(max(0.0, span.to_s - span.from_s))}" for span in spans)
    return svg(frame, id_, "Waterfall of one call", f"{told}.", "".join(parts))


def stacked_chart(rows: Sequence[tuple[str, Sequence[tuple[str, float, int]]]], *, name: str, id_: str = "s") -> str:
    """What times are made of: a bar a row, its parts side by side.

    Args:
        rows: (label, parts); a part is (label, seconds >= 0, colour). At most 40 rows.
        name: What the axis is.
        id_: Makes the chart's ids unique on the page.
    """
    rows = [(label, [part for part in parts if part[1] > 0]) for label, parts in rows[:_ROWS_MAX]]
    rows = [(label, parts) for label, parts in rows if parts]
    if not rows:
        return empty("There is no time to take apart.")
    frame = Frame(height=12 + _STACK_ROW * len(rows) + 42, left=12)
    scale = scale_of([0.0, *(sum(part[1] for part in parts) for _, parts in rows)], zero=True)
    drawn = _grid(frame, scale)
    for i, (label, parts) in enumerate(rows):
        y, at_s = frame.top + i * _STACK_ROW, 0.0
        drawn.append(f'<text class="start" x="{frame.left}" y="{y + 11}">{escape(label)}</text>')
        for part, seconds, colour in parts:
            x, end = _x_of(frame, scale, at_s), _x_of(frame, scale, at_s + seconds)
            at_s += seconds
            drawn.append(
                f'<rect class="{_css(colour)}" x="{x:.1f}" y="{y + 16}" width="{max(0.5, end - x):.1f}" '
                f'height="{_BAR}"><title>{escape(f"{label}, {part}: {fmt.seconds(seconds)}")}</title></rect>'
            )
    drawn.append(x_axis(frame, scale.ticks, lambda value: _x_of(frame, scale, value), name))
    told = ". ".join(
        f"{label}: {', '.join(f'{part} {fmt.seconds(seconds)}' for part, seconds, _ in parts)}" for label, parts in rows
    )
    return svg(frame, id_, "What the time is made of", f"{told}.", "".join(drawn))


def _grid(frame: Frame, scale: Scale) -> list[str]:
    bottom = frame.height - frame.bottom
    places = [_x_of(frame, scale, tick) for tick in scale.ticks]
    return [f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{bottom}"/>' for x in places]


def _x_of(frame: Frame, scale: Scale, value: float) -> float:
    return frame.left + frame.plot_width * scale.place(value)


def _css(colour: int) -> str:
    return COLOURS[colour % len(COLOURS)]


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL_MAX else f"{label[: _LABEL_MAX - 1]}…"
