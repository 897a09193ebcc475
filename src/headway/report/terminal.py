"""Reports in the terminal: the figures of one run, and several runs side by side. Plain text when piped."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headway.report import format as fmt
from headway.report.comparison import COMPARED, Compared
from headway.report.figures import Cost, LatencyFigures, Summary
from headway.report.grid import grid
from headway.report.progress import Progress

__all__ = ["Progress", "comparison_table", "print_summary"]

_CATEGORIES_SHOWN = 12
_FAILURES_SHOWN = 5
_BAR_WIDTH = 24


def print_summary(summary: Summary, console: Console, *, title: str = "") -> None:
    """Print one run's figures, readable from 80 columns on."""
    console.print()
    if title:
        console.print(Text(title, style="bold"))
    console.print(_figures(summary))
    for heading, block in (
        ("Latency", _latencies(summary)),
        ("Categories", _categories(summary, "\u2588" if console.encoding.startswith("utf") else "#")),
        ("Failures", _failures(summary)),
    ):
        if block is not None:
            console.print(Group(Text(heading, style="bold"), Padding(block, (0, 0, 1, 2))))


def comparison_table(summaries: Mapping[str, Summary], baseline: str) -> Table:
    """Runs side by side, one a column, each figure with its ratio to the baseline's below it.

    Args:
        summaries: Name -> figures, in the order of the columns; names may hold line breaks.
        baseline: The name of the run that the others are compared with.

    Raises:
        KeyError: There is no run of that name.
    """
    base = summaries[baseline]
    table = grid("bold")
    table.add_column("")
    for name in summaries:
        table.add_column(name, justify="right", no_wrap=False)
    for label, cell in COMPARED:
        table.add_row(label, *(_cell(cell(base, summary), summary is base) for summary in summaries.values()))
    return table


def _cell(cell: Compared, is_base: bool) -> Text:
    text = Text(cell.value)
    if cell.note and (cell.always or not is_base):
        text.append(f"\n{cell.note}", style="green" if cell.better else "dim")
    return text


def _figures(s: Summary) -> Table:
    table = grid()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for label, value, note in _lines(s):
        table.add_row(label, value, note)
    table.add_row("", "", "")
    return table


def _lines(s: Summary) -> list[tuple[str, str, str]]:
    failed = s.rows - s.ok
    lines = [
        (
            "Rows",
            f"{s.ok:,} of {s.rows + s.owed:,} answered",
            _join(_some(failed, "failed"), _some(s.owed, "owed"), _some(s.resumed, "from an earlier run")),
        ),
        (
            "Total runtime",
            fmt.seconds(s.runtime_s),
            f"{fmt.count(s.requests_per_s)} requests/s" if s.requests_per_s else "",
        ),
        (
            "Requests sent",
            fmt.count(s.attempts),
            _join(f"{s.throttled:,} x 429", _some(s.repairs, "repairs"), _allowed(s)),
        ),
        *_lanes(s),
        (
            "Cache hit rate",
            fmt.percent(s.reuse.hit_rate) if s.reuse.hit_rate is not None else "off",
            _reuse(s),
        ),
        (
            "Mean output",
            f"{fmt.count(s.output_tokens_mean)} tokens",
            f"{fmt.count(s.output_chars_mean)} characters",
        ),
        ("Tokens", f"{s.tokens.input:,} in, {s.tokens.output:,} out", _tokens(s)),
        ("Cost", fmt.dollars(s.cost.total), cost_note(s.cost)),
    ]
    if s.accuracy is not None:
        a = s.accuracy
        shown = f"{a.right:,} of {a.count:,}; 95 % interval {fmt.interval(a.low, a.high)}"
        lines.append(("Accuracy", fmt.percent(a.ratio), shown))
    return lines


def _lanes(s: Summary) -> list[tuple[str, str, str]]:
    """Only where there is more to say than that all rows went online."""
    if not set(s.lanes) - {"online"}:
        return []
    rows = ", ".join(f"{count:,} {lane}" for lane, count in s.lanes.items())
    saved = s.cost.saved_lane
    return [("Lanes", rows, f"{fmt.dollars(saved)} less than all online" if saved else "")]


def _reuse(s: Summary) -> str:
    if s.reuse.hit_rate is None:
        return ""
    return f"{s.reuse.hits:,} hits, {s.reuse.joins:,} joined, {s.reuse.misses:,} misses"


def _allowed(s: Summary) -> str:
    if s.lanes.get("batch"):
        return ""  # batches have limits of their own
    if s.allowed_rpm is None:
        return "allowed rate unknown"
    return f"{fmt.percent(s.allowed_used)} of the allowed {s.allowed_rpm:,.0f}/min"


def _tokens(s: Summary) -> str:
    return _join(
        _some(s.tokens.cached, "cached by the provider"),
        _some(s.tokens.reasoning, "reasoning"),
        "estimated" if s.tokens.estimated else "",
    )


def cost_note(cost: Cost) -> str:
    """What stands beside the sum: per 1,000 rows, saved by reuse, and how much is unknown."""
    saved = None if cost.saved_cache is None or cost.saved_join is None else cost.saved_cache + cost.saved_join
    unknown = f"{fmt.dollars(cost.known)} known, {cost.rows_unknown:,} rows unknown" if cost.rows_unknown else ""
    return _join(
        "" if cost.per_1000_rows is None else f"{fmt.dollars(cost.per_1000_rows)} per 1,000 rows",
        f"saved {fmt.dollars(saved)}" if saved else "",
        prefix_note(cost),
        unknown,
    )


def prefix_note(cost: Cost) -> str:
    """What the provider's prompt cache came to; "" when it was not used, or that is unknown."""
    net = cost.saved_prefix
    if not net:
        return ""
    return f"prompt caching saved {fmt.dollars(net)}" if net > 0 else f"prompt caching lost {fmt.dollars(-net)}"


def _latencies(s: Summary) -> RenderableType | None:
    rows: list[tuple[str, LatencyFigures]] = [
        ("all rows", s.latency),
        ("provider calls", s.call_latency),
        ("cache hits", s.hit_latency),
        ("joined", s.join_latency),
        ("own wait in calls", s.own_wait),
    ]
    shown = [(label, one) for label, one in rows if one.count]
    if not shown:
        return None
    if s.call_latency.count == s.latency.count:
        shown = [pair for pair in shown if pair[0] != "all rows"]
    table = grid("dim", gap=3)
    table.add_column("")
    for name in ("n", "mean", "p50", "p95", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for label, one in shown:
        figures = (one.mean_s, one.p50_s, one.p95_s, one.p99_s)
        table.add_row(label, f"{one.count:,}", *(fmt.seconds(figure) for figure in figures))
    return table


def _categories(s: Summary, bar: str) -> RenderableType | None:
    if not s.categories:
        return None
    shown = list(s.categories.items())[:_CATEGORIES_SHOWN]
    most = shown[0][1]
    table = grid()
    table.add_column(max_width=36, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    for name, n in shown:
        table.add_row(Text(fmt.printable(name)), f"{n:,}", bar * max(1, round(_BAR_WIDTH * n / most)))
    kinds = len(s.categories) - len(shown)
    if rest := sum(list(s.categories.values())[_CATEGORIES_SHOWN:]) + s.categories_other:
        table.add_row(Text(f"({kinds} more)" if kinds else "(others)", style="dim"), f"{rest:,}", "")
    return table


def _failures(s: Summary) -> RenderableType | None:
    if not s.failures:
        return None
    table = grid()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in s.failures[:_FAILURES_SHOWN]:
        what = fmt.printable(f"{one.outcome} {one.code}".strip())
        table.add_row(
            f"{one.count:,}", Text(what, style="red"), Text(f"row {one.row + 1}: {fmt.printable(one.message)}")
        )
    if rest := sum(one.count for one in s.failures[_FAILURES_SHOWN:]):
        table.add_row(f"{rest:,}", "of other kinds", "")
    return table


def _some(n: int, what: str) -> str:
    return f"{n:,} {what}" if n else ""


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
