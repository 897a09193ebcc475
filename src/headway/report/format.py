"""Figures as people read them: three digits that matter, a unit, and "-" or "unknown" where there is none."""

from __future__ import annotations

from math import floor, log10

__all__ = ["change", "count", "dollars", "interval", "percent", "printable", "seconds", "speedup"]


def seconds(value_s: float | None) -> str:
    """A duration in seconds >= 0: ``0.31 ms``, ``1.23 s``, ``2 min 05 s``, ``1 h 05 min``; None is "-"."""
    if value_s is None:
        return "-"
    if value_s == 0:
        return "0 s"
    if value_s < 0.9995:
        ms = value_s * 1000
        return f"{_digits(ms)} ms" if ms >= 0.01 else "< 0.01 ms"
    if value_s < 59.95:
        return f"{_digits(value_s)} s"
    if value_s < 3599.5:
        minutes, rest = divmod(round(value_s), 60)
        return f"{minutes} min {rest:02d} s"
    hours, rest = divmod(round(value_s / 60), 60)
    return f"{hours} h {rest:02d} min"


def dollars(value: float | None) -> str:
    """US dollars: ``$0.000123``, ``$0.0457``, ``$12.30``, ``$1,234``; None is "unknown", never zero."""
    if value is None:
        return "unknown"
    if value == 0:
        return "$0"
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 999.995:
        return f"{sign}${size:,.0f}"
    if size >= 0.995:
        return f"{sign}${size:,.2f}"
    places = min(12, 2 - floor(log10(size)))
    return f"{sign}${size:.{places}f}"


def percent(ratio: float | None) -> str:
    """A ratio as ``3.4 %`` or ``47 %``; None is "-". Only what is all or nothing reads 100 % or 0 %."""
    if ratio is None:
        return "-"
    value = ratio * 100
    if 99.5 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    if 0 < value < 0.05:
        return "< 0.1 %"
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def count(value: float | None) -> str:
    """A count with thousands apart; means keep one decimal below 100; None is "-"."""
    if value is None:
        return "-"
    if isinstance(value, int) or value == int(value) or value >= 99.95:
        return f"{round(value):,}"
    return f"{value:.1f}"


def printable(text: str) -> str:
    """Text of others, fit for a terminal: what cannot be printed, escape sequences among it, becomes a space."""
    return "".join(char if char.isprintable() else " " for char in text)


def speedup(base: float | None, value: float | None) -> str:
    """How `value` (a duration) compares: ``12.3x faster``, ``1.4x slower``, ``the same``; "" when unknown."""
    if not base or not value:
        return ""
    times = base / value
    if 0.98 <= times <= 1.02:
        return "the same"
    return f"{_digits(times)}x faster" if times > 1 else f"{_digits(1 / times)}x slower"


def change(base: float | None, value: float | None, what: str = "") -> str:
    """The relative change: ``-87 % cost``; "" when unknown or when there is nothing to compare with."""
    if not base or value is None:
        return ""
    delta = value / base - 1
    if abs(delta) < 0.005:
        return "the same"
    text = (
        f"{delta * 100:+.0f} %"
        if -0.995 < delta < 9.995
        else (f"{_digits(value / base)}x" if delta > 0 else f"{delta * 100:+.1f} %")
    )
    return f"{text} {what}".rstrip().replace("+-", "-")


def interval(low: float, high: float) -> str:
    """An interval of ratios: ``70-97 %``."""
    return f"{low * 100:.0f}-{high * 100:.0f} %"


def _digits(value: float) -> str:
    """Three digits that matter, at most two decimals of them below ten, thousands apart."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
