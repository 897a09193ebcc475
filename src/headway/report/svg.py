"""Charts as inline SVG: drawn for a column of 300 to 500 px, coloured by the page's own style sheet.

Every chart has a title and a description, its marks have tooltips that need no script, and the page puts the
same figures into a table next to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, isfinite, log10

from headway.report import format as fmt

__all__ = [
    "QUEUE_SHOWN",
    "histogram_chart",
    "log_ticks",
    "merge_bins",
    "nice_ticks",
    "over_time_chart",
    "short_seconds",
]

_WIDTH, _HEIGHT = 440, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_HISTOGRAM_BARS = 32
QUEUE_SHOWN = 0.05
"""Requests: a queue that never reaches this mean is the engine's own microseconds, and is not drawn."""

Bin = tuple[float, float, int, int]
_Scale = Callable[[float], float]


def nice_ticks(top: float, wanted: int = 4, *, whole: bool = False) -> list[float]:
    """Ticks from 0 to at least `top` > 0, about `wanted` of them, in steps of 1, 2 or 5 times a power of ten.

    Args:
        top: The largest value to be shown.
        wanted: How many steps, > 0; there may be up to twice as many.
        whole: Only whole numbers.
    """
    if not (isfinite(top) and top > 0):
        top = 1.0
    rough = top / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    return [step * i for i in range(ceil(top / step - 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks inside `low`..`high`, 0 < low < high: powers of ten, with 2 and 5 where there is room."""
    decades = log10(high / low)
    factors = (1, 2, 5) if decades <= 2.2 else (1, 3) if decades <= 3.2 else (1,)
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def short_seconds(value_s: float) -> str:
    """A tick's label: ``200 us``, ``5 ms``, ``2 s``, ``10 min``, ``3 h``."""
    for unit_s, unit in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value_s >= unit_s * (1 - 1e-9) and (unit_s < 60 or value_s >= 2 * unit_s):
            return f"{value_s / unit_s:g} {unit}"
    return "0" if value_s == 0 else f"{value_s / 1e-6:.2g} µs"


def histogram_chart(bins: Sequence[Bin], *, x_range: tuple[float, float] | None = None, id_: str = "h") -> str:
    """Latencies on a logarithmic axis, provider calls with reused answers on top of them.

    Args:
        bins: (from_s, to_s, calls, reused), ascending; adjacent ones are put together to at most 32 bars.
        x_range: The axis, in seconds, when several charts share one.
        id_: Makes the chart's ids unique on the page.
    """
    bins = merge_bins(bins, _HISTOGRAM_BARS)
    if not bins:
        return _empty("No row was answered, so there are no latencies.")
    low, high = x_range or (bins[0][0], bins[-1][1])
    ticks = nice_ticks(max(calls + reused for _, _, calls, reused in bins), whole=True)
    span = log10(high / low) or 1.0

    def x_of(value: float) -> float:
        return _LEFT + _PLOT_WIDTH * log10(value / low) / span

    def y_of(value: float) -> float:
        return _TOP + _PLOT_HEIGHT * (1 - value / ticks[-1])

    marks = []
    for from_s, to_s, calls, reused in bins:
        x, width = x_of(from_s), max(1.0, x_of(to_s) - x_of(from_s) - 1)
        tip = f"{fmt.seconds(from_s)} to {fmt.seconds(to_s)}: {calls:,} calls, {reused:,} reused"
        for css, bottom, size in (("a", 0, calls), ("b", calls, reused)):
            if size:
                y, height = y_of(bottom + size), y_of(bottom) - y_of(bottom + size)
                marks.append(
                    f'<rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
                    f"<title>{escape(tip)}</title></rect>"
                )
    x_ticks = [(x_of(tick), short_seconds(tick)) for tick in log_ticks(low, high)]
    total, reused_total = sum(b[2] + b[3] for b in bins), sum(b[3] for b in bins)
    told = (
        f"{total:,} rows between {fmt.seconds(bins[0][0])} and {fmt.seconds(bins[-1][1])}, "
        f"{reused_total:,} of them answered from the cache or another row's call."
    )
    body = _y_axis(ticks, y_of) + "".join(marks) + _x_axis(x_ticks, "latency of a row (logarithmic)")
    return _svg(id_, "Latency histogram", told, body)


def over_time_chart(
    step_s: float,
    in_flight: Sequence[float],
    waiting: Sequence[float],
    *,
    x_max_s: float | None = None,
    y_max: float | None = None,
    id_: str = "t",
) -> str:
    """Requests at the provider over time as an area, those that wait in our own queue as a line above zero.

    Args:
        step_s: The slots' length in seconds.
        in_flight: Mean number in each slot.
        waiting: The same length, or empty.
        x_max_s: Where the axis of time ends, when several charts share one.
        y_max: The same for the other axis.
        id_: Makes the chart's ids unique on the page.
    """
    if not in_flight:
        return _empty("Nothing was sent to the provider, so nothing was in flight.")
    length_s = step_s * len(in_flight)
    ticks = nice_ticks(y_max or max(1.0, *in_flight, *waiting), whole=True)
    x_ticks = [tick for tick in nice_ticks(x_max_s or length_s) if tick <= (x_max_s or length_s) * 1.001]
    width_s = max(x_max_s or length_s, x_ticks[-1])

    def x_of(at_s: float) -> float:
        return _LEFT + _PLOT_WIDTH * at_s / width_s

    def y_of(value: float) -> float:
        return _TOP + _PLOT_HEIGHT * (1 - value / ticks[-1])

    def steps(values: Sequence[float]) -> str:
        return "".join(
            f"L{x_of(i * step_s):.1f} {y_of(v):.1f}H{x_of((i + 1) * step_s):.1f}" for i, v in enumerate(values)
        )

    zero = f"{y_of(0):.1f}"
    area = f'<path class="area" d="M{_LEFT} {zero}{steps(in_flight)}V{zero}Z"/>'
    queue = (
        f'<path class="line" d="M{_LEFT} {zero}{steps(waiting)}V{zero}"/>'
        if max(waiting, default=0.0) >= QUEUE_SHOWN
        else ""
    )
    labels = [(x_of(tick), short_seconds(tick)) for tick in x_ticks]
    mean = sum(in_flight) / len(in_flight)
    told = (
        f"Over {fmt.seconds(length_s)}, {mean:.1f} requests were in flight on average and "
        f"{max(in_flight):.1f} at most; {max(waiting, default=0.0):.1f} at most waited in the queue."
    )
    return _svg(id_, "Requests over time", told, _y_axis(ticks, y_of) + area + queue + _x_axis(labels, "time"))


def merge_bins(bins: Sequence[Bin], bars_max: int) -> list[Bin]:
    """Adjacent bins put together until there are at most `bars_max`, all of the same width but the last."""
    size = max(1, ceil(len(bins) / bars_max))
    groups = [bins[i : i + size] for i in range(0, len(bins), size)]
    ratio = bins[0][1] / bins[0][0] if bins else 1.0
    return [(g[0][0], g[0][0] * ratio**size, sum(b[2] for b in g), sum(b[3] for b in g)) for g in groups]


def _svg(id_: str, title: str, told: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="{id_}-t {id_}-d">'
        f'<title id="{id_}-t">{escape(title)}</title><desc id="{id_}-d">{escape(told)}</desc>{body}</svg>'
    )


def _empty(told: str) -> str:
    return f'<p class="none">{escape(told)}</p>'


def _y_axis(ticks: Sequence[float], y_of: _Scale) -> str:
    parts = []
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 7}" y="{y + 4:.1f}">{tick:,.10g}</text>')
    return "".join(parts)


def _x_axis(ticks: Sequence[tuple[float, str]], name: str) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    last = -1e9
    for x, label in ticks:
        half = 4.3 * len(label)  # a label's half width at this size, near enough to keep them apart
        if x - half < last + 6:
            continue
        last = x + half
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        anchor = ' class="end"' if x + half > _WIDTH else ' class="mid"'
        parts.append(f'<text{anchor} x="{min(x, right):.1f}" y="{bottom + 18}">{escape(label)}</text>')
    parts.append(f'<text class="end name" x="{right}" y="{_HEIGHT - 6}">{escape(name)}</text>')
    return "".join(parts)
