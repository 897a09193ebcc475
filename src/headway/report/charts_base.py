"""What the charts of several series share: colours, a frame, axes, and ticks that need not begin at zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from headway.report.svg import log_ticks, short_seconds

__all__ = ["COLOURS", "Frame", "Scale", "empty", "marked", "scale_of", "spread_ticks", "svg", "x_axis", "y_axis"]

COLOURS = ("s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7")
"""CSS classes of series, in the order they are given out; keys of a figure use them, too."""

_LIGHT = ("#0b6e8a", "#c2571a", "#6b4fa0", "#2f7d32", "#b0306a", "#7a6a00", "#3a5fb8", "#5f5e58")
_DARK = ("#4fb6d1", "#f0a063", "#b9a2ea", "#7fcf83", "#f28bb8", "#d9c65a", "#8fb0f5", "#a9a8a1")
_LOG_FROM = 15.0
"""Values that lie further apart than this are drawn on a logarithmic axis."""


def _style() -> str:
    """Rules for the series' classes: they stand in each chart, so that a chart brings its colours with it."""
    light = "".join(f"--{name}:{colour};" for name, colour in zip(COLOURS, _LIGHT, strict=True))
    dark = "".join(f"--{name}:{colour};" for name, colour in zip(COLOURS, _DARK, strict=True))
    fills = "".join(
        f"svg .{name}{{fill:var(--{name})}}svg .line.{name}{{fill:none;stroke:var(--{name})}}"
        f".key .{name}{{background:var(--{name})}}"
        for name in COLOURS
    )
    return (
        f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{fills}"
        "svg .mark{stroke:var(--warn);stroke-dasharray:4 3}svg .told{fill:var(--warn)}svg .start{text-anchor:start}"
    )


_STYLE = _style()


class Frame(NamedTuple):
    """A chart's measures in px: the whole, and the margins around the plot."""

    width: int = 440
    height: int = 230
    left: int = 46
    right: int = 12
    top: int = 12
    bottom: int = 42

    @property
    def plot_width(self) -> int:
        """Between the margins."""
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> int:
        """Between the margins."""
        return self.height - self.top - self.bottom


class Scale(NamedTuple):
    """An axis: its ends, whether it is logarithmic, and its ticks. `place` maps a value to 0..1."""

    low: float
    high: float
    log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; values outside are moved to the end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def spread_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Ticks that enclose `low`..`high`, about `wanted` steps of 1, 2 or 5 times a power of ten.

    Args:
        low: The smallest value; may be negative.
        high: The largest; widened where it is not above `low`.
        wanted: How many steps, > 0.
    """
    if not (isfinite(low) and isfinite(high)):
        low, high = 0.0, 1.0
    if high <= low:
        low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
    rough = (high - low) / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def scale_of(values: Sequence[float], *, zero: bool = False) -> Scale:
    """An axis for finite values, at least one: logarithmic where they are > 0 and lie more than 15-fold apart.

    Args:
        values: What has to be on it.
        zero: It begins at zero, and is never logarithmic.
    """
    low, high = min(values), max(values)
    if not zero and low > 0 and high / low > _LOG_FROM:
        low, high = low / 1.15, high * 1.15
        return Scale(low=low, high=high, log=True, ticks=tuple(log_ticks(low, high)))
    ticks = spread_ticks(0.0 if zero else low, high)
    return Scale(low=ticks[0], high=ticks[-1], log=False, ticks=tuple(ticks))


def svg(frame: Frame, id_: str, title: str, told: str, body: str) -> str:
    """The chart around its marks; `told` says in words what is seen."""
    return (
        f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" aria-labelledby="{id_}-t {id_}-d">'
        f'<title id="{id_}-t">{escape(title)}</title><desc id="{id_}-d">{escape(told)}</desc>'
        f"<style>{_STYLE}</style>{body}</svg>"
    )


def empty(told: str) -> str:
    """What stands where there is nothing to draw."""
    return f'<p class="none">{escape(told)}</p>'


def y_axis(frame: Frame, ticks: Sequence[float], y_of: Callable[[float], float], show: Callable[[float], str]) -> str:
    """Lines across the plot, each with its label at the left."""
    right = frame.width - frame.right
    return "".join(
        f'<line class="grid" x1="{frame.left}" x2="{right}" y1="{y_of(tick):.1f}" y2="{y_of(tick):.1f}"/>'
        f'<text class="end" x="{frame.left - 7}" y="{y_of(tick) + 4:.1f}">{escape(show(tick))}</text>'
        for tick in ticks
    )


def x_axis(
    frame: Frame,
    ticks: Sequence[float],
    x_of: Callable[[float], float],
    name: str,
    show: Callable[[float], str] = short_seconds,
) -> str:
    """The line below the plot, with as many labels as fit, and what it means."""
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    parts = [f'<line class="axis" x1="{frame.left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    last = -1e9
    for tick in ticks:
        x, label = x_of(tick), show(tick)
        half = 4.3 * len(label)  # a label's half width at this size, near enough to keep them apart
        if x - half < last + 6:
            continue
        last = x + half
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        anchor = "end" if x + half > frame.width else "mid"
        parts.append(f'<text class="{anchor}" x="{min(x, right):.1f}" y="{bottom + 18}">{escape(label)}</text>')
    parts.append(f'<text class="end name" x="{right}" y="{frame.height - 6}">{escape(name)}</text>')
    return "".join(parts)


def marked(frame: Frame, x: float, label: str, line: int = 0) -> str:
    """A dashed line down the plot with a word at its top, on the side where there is room, `line` lines down."""
    near_end = x > frame.left + frame.plot_width * 0.7
    anchor, at = ("end", x - 5) if near_end else ("start", x + 5)
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{frame.height - frame.bottom}"/>'
        f'<text class="told {anchor}" x="{at:.1f}" y="{frame.top + 11 + 13 * line}">{escape(label)}</text>'
    )
