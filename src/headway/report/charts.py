"""Charts of measurements as inline SVG: distributions of several series, and differences of pairs.

Like `report.svg`: no script, tooltips by title, a description in words, and colours of the page's own style sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import isfinite

from headway.report import format as fmt
from headway.report.charts_base import COLOURS, Frame, empty, marked, scale_of, svg, x_axis, y_axis
from headway.report.svg import short_seconds

__all__ = ["SERIES_MAX", "differences_chart", "ecdf_chart", "ecdf_keys"]

SERIES_MAX = len(COLOURS)
_POINTS_MAX = 160
"""Steps drawn of a series: more than a column of 440 px can show."""
_BARS_MAX = 200


def ecdf_keys(names: Sequence[str]) -> list[tuple[str, str]]:
    """The key of `ecdf_chart`, for `page.figure`: the series' colours in the order they were given."""
    return [(COLOURS[i], name) for i, name in enumerate(names[:SERIES_MAX])]


def ecdf_chart(
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    name: str,
    marks: Sequence[tuple[float, str]] = (),
    show: Callable[[float], str] = fmt.seconds,
    show_tick: Callable[[float], str] = short_seconds,
    id_: str = "e",
) -> str:
    """The share of values up to each value, a line a series: left is lower, steep is steady.

    Args:
        series: (name, values), at most `SERIES_MAX`; further ones are left out. NaN and infinities are left out.
        name: What the values are, with a word on their unit, e.g. "time to first token".
        marks: (value, word): limits, drawn as dashed lines where they lie on the axis.
        show: A value in tooltips and in the description; seconds by default.
        show_tick: A value at the axis.
        id_: Makes the chart's ids unique on the page.
    """
    drawn = [(label, sorted(v for v in values if isfinite(v))) for label, values in series[:SERIES_MAX]]
    every = [value for _, values in drawn for value in values]
    if not every:
        return empty(f"There are no values, so there is no {name} to draw.")
    high = max(every)
    near = [mark for mark in marks if isfinite(mark[0]) and mark[0] <= high * 1.6]
    frame, scale = Frame(), scale_of([*every, *(value for value, _ in near)])

    def x_of(value: float) -> float:
        return frame.left + frame.plot_width * scale.place(value)

    def y_of(share: float) -> float:
        return frame.top + frame.plot_height * (1 - share)

    lines, told = [], []
    for i, (label, values) in enumerate(drawn):
        if not values:
            continue
        count = len(values)
        steps = _thinned(count, _POINTS_MAX)
        path = "".join(f"H{x_of(values[k]):.1f}V{y_of((k + 1) / count):.1f}" for k in steps)
        start = f"M{x_of(values[0]):.1f} {y_of(0):.1f}"
        middle = f"{label}: half of {count:,} within {show(values[(count - 1) // 2])}, all within {show(values[-1])}"
        told.append(middle)
        lines.append(f'<path class="line {COLOURS[i]}" d="{start}{path}"><title>{escape(middle)}</title></path>')
    body = (
        y_axis(frame, (0.0, 0.25, 0.5, 0.75, 1.0), y_of, lambda share: f"{share * 100:.0f} %")
        + "".join(marked(frame, x_of(value), word, line) for line, (value, word) in enumerate(near))
        + "".join(lines)
        + x_axis(frame, scale.ticks, x_of, f"{name}{' (logarithmic)' if scale.log else ''}", show_tick)
    )
    return svg(frame, id_, f"Distribution: {name}", ". ".join(told) + ".", body)


def differences_chart(
    differences: Sequence[float],
    *,
    name: str,
    interval: tuple[float, float, float] | None = None,
    lower: str = "B is lower",
    higher: str = "A is lower",
    show: Callable[[float], str] = fmt.seconds,
    show_tick: Callable[[float], str] | None = None,
    id_: str = "d",
) -> str:
    """What changed for each pair, B less A, sorted: bars below zero are pairs for which B is lower.

    Args:
        differences: One a pair, in any order; NaN and infinities are left out.
        name: What the differences are of, e.g. "latency, B less A".
        interval: (low, estimate, high) of the typical difference: drawn as a band and a line.
        lower: The word for what lies below zero.
        higher: The word for what lies above.
        show: The size of a difference, >= 0; its sign is put in front.
        show_tick: The same at the axis; `show` by default.
        id_: Makes the chart's ids unique on the page.
    """
    values = sorted(v for v in differences if isfinite(v))
    if not values:
        return empty(f"There are no pairs, so there is no {name} to draw.")
    count, frame = len(values), Frame(left=62)
    # The furthest pair of each end may be an outlier of its own: the axis ends where 98 % of the bars are whole.
    inner = values[round(0.01 * (count - 1)) : round(0.99 * (count - 1)) + 1] if count >= 100 else values
    scale = scale_of([0.0, *inner, *(interval or ())])  # never logarithmic, for zero is on it
    steps = _thinned(count, _BARS_MAX)
    width = frame.plot_width / len(steps)

    def y_of(value: float) -> float:
        return frame.top + frame.plot_height * (1 - scale.place(value))

    bars = "".join(
        _bar(frame.left + i * width, width, y_of(0.0), y_of(values[k]), COLOURS[0] if values[k] < 0 else COLOURS[1])
        for i, k in enumerate(steps)
    )
    below, above = sum(v < 0 for v in values), sum(v > 0 for v in values)
    told = f"{lower} in {below:,} of {count:,} pairs, {higher} in {above:,}."
    band = ""
    if interval is not None:
        low, middle, high = interval
        top, bottom, right = y_of(high), y_of(low), frame.width - frame.right
        told += f" Typical difference {_signed(middle, show)}, between {_signed(low, show)} and {_signed(high, show)}."
        band = (
            f'<rect class="s7" fill-opacity=".25" x="{frame.left}" y="{top:.1f}" width="{frame.plot_width}" '
            f'height="{max(1.0, bottom - top):.1f}"><title>{escape(told)}</title></rect>'
            f'<line class="mark" x1="{frame.left}" x2="{right}" y1="{y_of(middle):.1f}" y2="{y_of(middle):.1f}"/>'
        )
    body = (
        y_axis(frame, scale.ticks, y_of, lambda tick: _signed(tick, show_tick or show))
        + band
        + bars
        + f'<line class="axis" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y_of(0.0):.1f}" '
        f'y2="{y_of(0.0):.1f}"/>'
        + x_axis(
            frame,
            (0.0, 0.25, 0.5, 0.75, 1.0),
            lambda share: frame.left + frame.plot_width * share,
            f"{name}; pairs, sorted",
            lambda share: f"{share * 100:.0f} %",
        )
    )
    return svg(frame, id_, f"Differences of pairs: {name}", told, body)


def _bar(x: float, width: float, zero: float, y: float, css: str) -> str:
    gap = 1.0 if width >= 4 else 0.0
    top, height = min(zero, y), abs(zero - y)
    return f'<rect class="{css}" x="{x:.1f}" y="{top:.1f}" width="{max(0.8, width - gap):.1f}" height="{height:.1f}"/>'


def _signed(value: float, show: Callable[[float], str]) -> str:
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{show(abs(value))}"


def _thinned(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` sorted values, evenly over them; the last one is always there."""
    if count <= most:
        return list(range(count))
    return [round((i + 1) * count / most) - 1 for i in range(most)]
