"""A run as text: a bar for each step on one axis of time, and a table of the figures below it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from headway.pipeline.explain.critical import CriticalPath
from headway.pipeline.explain.lines import Line, total_dollars
from headway.report import format as fmt

__all__ = ["WIDTH_MIN", "bars", "figures", "path_told", "times_told"]

WIDTH_MIN = 60
_LINES_MAX = 200
_NAME_MIN = 8
_OUTCOME_MIN, _OUTCOME_MAX = 25, 34
_DROPPED = ("first", "t/a", "ready", "start")
"""Columns that go, in this order, where there is no room for them."""
_PLAIN = ("░▒█", "▁▂▃▄▅▆▇█", "▏")
_ASCII = (".-#", "123456789", "|")
_HEAD = ("step", "ready", "wait", "start", "first", "end", "tokens", "dollars", "t/a", "outcome")


def bars(lines: Sequence[Line], end_s: float, width: int, *, ascii_only: bool = False) -> list[str]:
    """The bars, a line a step, at most 200, with an axis and a legend.

    Args:
        lines: The steps.
        end_s: Where the axis ends.
        width: Columns, at least 60.
        ascii_only: No characters beyond ASCII.
    """
    shown = lines[:_LINES_MAX]
    marks = _ASCII if ascii_only else _PLAIN
    took = [_took(line) for line in shown]
    right = max([len(fmt.seconds(end_s)), *map(len, took)])
    left = min(max([4, *(len(line.label) for line in shown)]), max(16, width // 4))
    room = max(10, width - 2 - left - 2 - 1 - right)
    drawn = [
        f"{'*' if line.critical else ' '} {_clipped(line.label, left):<{left}}  {_bar(line, end_s, room, marks)} "
        f"{told:>{right}}"
        for line, told in zip(shown, took, strict=True)
    ]
    if len(lines) > len(shown):
        drawn.append(f"  ({len(lines) - len(shown):,} more steps are in the page and in the data)")
    end = fmt.seconds(end_s)
    drawn.append(f"{'':{left + 4}}0 s{end:>{max(1, room - 3)}}")
    wait, first, rest = tuple(marks[0])
    legend = ["* critical path", f"{wait} waits", f"{first} until the first chunk", f"{rest} the rest"]
    if any(line.folded for line in shown):
        legend.append(f"{marks[1][0]} to {marks[1][-1]} how many of a fold ran at once")
    return [*drawn, *_flowing(legend, width)]


def _flowing(parts: Sequence[str], width: int) -> list[str]:
    """Parts side by side, in as many lines as it takes."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}  {part}" if lines[-1] else part
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(f"  {part}")
    return lines


def _took(line: Line) -> str:
    if not line.folded:
        return fmt.seconds(line.took_s[0]) if line.stretches() else line.outcome
    return f"p50 {fmt.seconds(line.p50_s)}, max {fmt.seconds(line.took_s[-1])}"


def _bar(line: Line, end_s: float, room: int, marks: tuple[str, str, str]) -> str:
    kinds, levels, thin = marks
    if end_s <= 0:
        return " " * room
    if line.folded:
        counts = line.running(room, end_s)
        most = max(counts) or 1.0
        return "".join(levels[min(len(levels) - 1, int(n / most * len(levels)))] if n > 0 else " " for n in counts)
    cells = [" "] * room
    for stretch in line.stretches():
        for cell in range(room):
            middle_s = (cell + 0.5) * end_s / room
            if stretch.from_s <= middle_s < stretch.to_s:
                cells[cell] = kinds[stretch.kind]
    if line.stretches() and not any(cell != " " for cell in cells):
        cells[min(room - 1, int(line.ready_s / end_s * room))] = thin
    return "".join(cells)


def figures(lines: Sequence[Line], end_s: float, width: int) -> list[str]:
    """The table: times in seconds after the run's start, of several steps the first's start and the last's end."""
    places = 3 if end_s < 1 else 2 if end_s < 100 else 0
    shown = lines[:_LINES_MAX]
    cells = [list(_HEAD), *(_cells(line, places) for line in shown)]
    cells.append(_totals(shown))
    columns, left, outcome = _fitted(cells, width)
    drawn = []
    for number, row in enumerate(cells):
        mark = "*" if 0 < number <= len(shown) and shown[number - 1].critical else " "
        middle = " ".join(f"{row[i]:>{size}}" for i, size in columns)
        drawn.append(f"{mark} {_clipped(row[0], left):<{left}} {middle} {_clipped(row[-1], outcome)}".rstrip())
    return drawn


def _fitted(cells: Sequence[Sequence[str]], width: int) -> tuple[list[tuple[int, int]], int, int]:
    """The columns between the first and the last as (index, width), and the widths of those two."""
    longest = min(max(len(row[-1]) for row in cells), _OUTCOME_MAX)
    outcome = min(longest, _OUTCOME_MIN)
    name = max(len(row[0]) for row in cells)
    columns = [(i, max(len(row[i]) for row in cells)) for i in range(1, len(_HEAD) - 1)]
    for dropped in (None, *_DROPPED):
        columns = [(i, size) for i, size in columns if _HEAD[i] != dropped]
        room = width - 4 - sum(size + 1 for _, size in columns) - outcome
        if room >= min(name, _NAME_MIN):
            break
    left = max(1, min(room, name))
    return columns, left, min(longest, outcome + max(0, room - left))


def _cells(line: Line, places: int) -> list[str]:
    def at(moment_s: float | None) -> str:
        return "-" if moment_s is None else f"{moment_s:.{places}f}"

    began = line.started_s is not None
    return [
        line.label,
        at(line.ready_s if began else None),
        at(line.waited_s if began else None),
        at(line.started_s),
        at(line.first_chunk_s),
        at(line.end_s),
        _tokens(*line.tokens()),
        _dollars(line.dollars()),
        f"{sum(n.row.tries for n in line.nodes) if began else 0}/{sum(n.row.attempts for n in line.nodes)}",
        line.outcome,
    ]


def _totals(lines: Sequence[Line]) -> list[str]:
    rows = [node.row for line in lines for node in line.nodes]
    tokens = _tokens(sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows))
    tries = sum(row.tries for row in rows if row.started_s is not None)
    tried = f"{tries}/{sum(row.attempts for row in rows)}"
    return ["sum", "", "", "", "", "", tokens, _dollars(total_dollars(rows)), tried, ""]


def _tokens(given: int, written: int) -> str:
    return f"{_short(given)}>{_short(written)}" if given or written else "-"


def _short(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M"


def _dollars(value: float | None) -> str:
    return "?" if value is None else "-" if value == 0 else fmt.dollars(value)


def _clipped(text: str, width: int) -> str:
    """Fit for a terminal, and cut to so many columns."""
    text = fmt.printable(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def path_told(path: CriticalPath) -> list[tuple[str, float]]:
    """What the run's time was made of, in words and seconds; what took no time is left out."""
    links = path.links
    parts = (
        ("waiting to start", sum(link.limit_s for link in links)),
        ("pacing", sum(link.pacing_s - link.budget_s for link in links)),
        ("waiting for the budget", sum(link.budget_s for link in links)),
        ("until first chunks", sum(link.first_chunk_s for link in links)),
        ("work", sum(link.work_s for link in links)),
        ("the program itself", path.program_s),
    )
    return [(label, took_s) for label, took_s in parts if took_s > 0.0005 * path.end_s]


def times_told(path: CriticalPath, width: int) -> list[str]:
    """The same as lines of text."""
    parts = ", ".join(f"{label} {fmt.seconds(took_s)}" for label, took_s in path_told(path))
    return wrap(f"On the critical path: {parts}.", width) if parts else []
