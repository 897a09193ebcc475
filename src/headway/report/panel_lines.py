"""The text of the panel: what stands in which line, as pieces of (style, text)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size

from headway.report import format as fmt
from headway.report.panel_state import LanePanel, PanelState

__all__ = ["Line", "panel_lines", "plain_line"]

_BATCHES_SHOWN, _FAILURES_SHOWN = 3, 3
_LABEL_WIDTH = 8
_BAR_MAX, _BAR_MIN = 48, 8

Line: TypeAlias = list[tuple[str, str]]
"""A line: pieces of (style, text)."""


def panel_lines(state: PanelState, width: int, *, unicode: bool = True) -> list[Line]:
    """The panel's lines, none of them wider than `width` >= 1."""
    return [_cut(line, width) for line in _lines(state, width, unicode=unicode)]


def plain_line(state: PanelState) -> str:
    """All of it in one line, for logs and pipes."""
    parts = [fmt.printable(state.label), _done(state), f"{fmt.count(round(state.rows_per_s, 1))}/s", _left(state)]
    if any(lane.name != "online" for lane in state.lanes):
        parts.append("; ".join(_lane(lane) for lane in state.lanes))
    else:
        parts.append(_some(state.in_flight, "in flight"))
    failed = _failed(state)
    parts += [_reused(state), _tries(state), failed and f"failed {failed}", _spent(state)]
    return "  ".join(filter(None, parts))


def _lines(state: PanelState, width: int, *, unicode: bool) -> Iterator[Line]:
    if state.label:
        yield [("bold", fmt.printable(state.label))]
    yield _bar(state, width, unicode=unicode)
    late = None not in (state.eta_s, state.deadline_left_s) and (state.eta_s or 0) > (state.deadline_left_s or 0)
    yield from _rows(width, "rate", [_rate(state)])
    yield from _rows(width, "time", [_left(state), _deadline(state)], "red" if late else "")
    if any(lane.name != "online" for lane in state.lanes):
        yield from _rows(width, "lanes", [_lane(lane) for lane in state.lanes])
    else:
        yield from _rows(width, "calls", [_some(state.in_flight, "in flight"), _some(state.queued, "queued")])
    batches = sorted((batch for lane in state.lanes for batch in lane.batches), key=lambda one: -one.age_s)
    for batch in batches[:_BATCHES_SHOWN]:
        name = f"{fmt.printable(batch.id)[:24]} {fmt.printable(batch.state)}"
        yield from _rows(width, "batch", [name, f"{batch.rows:,} rows", _whole(batch.age_s)])
    if len(batches) > _BATCHES_SHOWN:
        yield from _rows(width, "", [f"{len(batches) - _BATCHES_SHOWN:,} more batches"])
    yield from _rows(width, "spent", [_spent(state)])
    yield from _rows(width, "reused", [_reused(state)])
    yield from _rows(width, "tries", [_tries(state)])
    yield from _rows(width, "failed", [_failed(state)], "red")


def _rows(width: int, label: str, parts: list[str], style: str = "") -> Iterator[Line]:
    """The parts side by side, in as many lines as they need; none where there are none."""
    text = ""
    for part in filter(None, parts):
        if text and _LABEL_WIDTH + len(text) + 3 + len(part) > width:
            yield [("dim", label.ljust(_LABEL_WIDTH)), (style, text)]
            label, text = "", ""
        text += ("   " if text else "") + part
    if text:
        yield [("dim", label.ljust(_LABEL_WIDTH)), (style, text)]


def _bar(state: PanelState, width: int, *, unicode: bool) -> Line:
    """As much of a bar as is room for beside the figures; none where the total is not known."""
    figures = _done(state)
    room = min(_BAR_MAX, width - len(figures) - 2)
    if not state.total or room < _BAR_MIN:
        return [("", figures)]
    full = round(room * min(state.done, state.total) / state.total)
    on, off = ("\u2501", "\u2500") if unicode else ("#", "-")
    return [
        ("green" if state.done >= state.total else "cyan", on * full),
        ("dim", off * (room - full)),
        ("", f"  {figures}"),
    ]


def _done(state: PanelState) -> str:
    if state.total is None:
        return f"{state.done:,} rows"
    share = f" ({min(state.done * 100 // state.total, 100)} %)" if state.total else ""
    return f"{state.done:,}/{state.total:,}{share}"


def _rate(state: PanelState) -> str:
    """Rows a second, and how much of the limit is used that is nearer to its end."""
    used = [
        (rate / allowed, f"{fmt.percent(rate / allowed)} of {allowed:,.0f} {unit}")
        for rate, allowed, unit in (
            (state.requests_per_min, state.allowed_rpm, "RPM"),
            (state.tokens_per_min, state.allowed_tpm, "TPM"),
        )
        if rate is not None and allowed
    ]
    rows = f"{fmt.count(round(state.rows_per_s, 1))} rows/s"
    return f"{rows}, {max(used)[1]}" if used else rows


def _left(state: PanelState) -> str:
    return "" if state.eta_s is None else f"{_whole(max(1.0, state.eta_s))} left"


def _deadline(state: PanelState) -> str:
    left_s = state.deadline_left_s
    if left_s is None:
        return ""
    return f"deadline in {_whole(left_s)}" if left_s > 0 else "the deadline is over"


def _whole(value_s: float) -> str:
    """Whole seconds: more digits would only flicker."""
    return f"{value_s:.0f} s" if value_s < 59.5 else fmt.seconds(value_s)


def _some(n: int, what: str) -> str:
    return f"{n:,} {what}" if n else ""


def _lane(lane: LanePanel) -> str:
    parts = [f"{lane.done:,} done"]
    parts += [f"{n:,} {what}" for n, what in ((lane.out, "out"), (lane.waiting, "waiting")) if n]
    trouble = f" (waiting: {fmt.printable(lane.trouble)[:120]})" if lane.trouble else ""
    return f"{lane.name} {', '.join(parts)}{trouble}"


def _spent(state: PanelState) -> str:
    spent = "cost unknown" if state.dollars is None else fmt.dollars(state.dollars)
    if state.budget_usd is None:
        return spent
    left = "" if state.dollars is None else f", {fmt.dollars(max(0.0, state.budget_usd - state.dollars))} left"
    return f"{spent} of {fmt.dollars(state.budget_usd)}{left}"


def _reused(state: PanelState) -> str:
    counted = ((state.hits, "hits"), (state.joined, "joined"), (state.resumed, "from before"))
    return ", ".join(_some(n, what) for n, what in counted if n)


def _tries(state: PanelState) -> str:
    return ", ".join(_some(n, what) for n, what in ((state.throttled, "x 429"), (state.retries, "retries")) if n)


def _failed(state: PanelState) -> str:
    shown, rest = state.failures[:_FAILURES_SHOWN], sum(n for _, n in state.failures[_FAILURES_SHOWN:])
    parts = [f"{n:,} {fmt.printable(kind)}" for kind, n in shown]
    return ", ".join([*parts, _some(rest, "others")] if rest else parts)


def _cut(line: Line, width: int) -> Line:
    """The line's beginning, at most so many cells wide."""
    cut: Line = []
    for style, text in line:
        cells = cell_len(text)
        if cells > width:
            cut.append((style, set_cell_size(text, width)))
            break
        cut.append((style, text))
        width -= cells
    return cut
