"""A plan in the terminal: what would be sent, and each lane's price and time. Plain text when piped."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from headway.report import format as fmt
from headway.report.grid import grid
from headway.report.plan_figures import InputTokens, Interval, LanePlan, Plan

__all__ = ["print_plan"]

_BAR_WIDTH = 32
_SURE = {"yes": "green", "perhaps": "yellow", "no": "red"}


def print_plan(plan: Plan, console: Console) -> None:
    """Print a plan, readable from 80 columns on."""
    console.print()
    console.print(Text(f"{fmt.printable(plan.input)}  {fmt.printable(plan.model)}  plan", style="bold"))
    console.print(_figures(plan))
    if plan.input_tokens.bars:
        bar = "\u2588" if console.encoding.startswith("utf") else "#"
        _block(console, "Input tokens a request", _bars(plan.input_tokens, bar))
    if plan.requests:
        _block(console, "Lanes", Group(_lanes(plan), Text(), *_legend(plan)))
    if plan.warnings:
        table = Table.grid(padding=(0, 1, 0, 0))
        for warning in plan.warnings:
            table.add_row(Text("!", style="yellow"), Text(fmt.printable(warning)))
        _block(console, "Warnings", table)
    console.print(f"Nothing was sent. Without --plan, this takes {fmt.printable(plan.lane)}.", highlight=False)


def _block(console: Console, heading: str, block: Table | Group) -> None:
    console.print(Group(Text(heading, style="bold"), Padding(block, (0, 0, 1, 2))))


def _figures(plan: Plan) -> Table:
    table = grid()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim")
    for label, value, note in _lines(plan):
        table.add_row(label, value, note)
    table.add_row("", "", "")
    return table


def _lines(plan: Plan) -> Iterator[tuple[str, str, str]]:
    cached, tokens, output = plan.cached, plan.input_tokens, plan.output_tokens
    width = len(f"{plan.rows:,}")
    yield "Rows", f"{plan.rows:,}", ""
    sample = f", by {cached.looked_up:,} look-ups" if cached.extrapolated else ""
    for count, what in (
        (plan.unreadable, "cannot be read"),
        (plan.finished, "finished before"),
        (plan.batched, "in batches that are out"),
        (plan.repeated, "ask what others ask"),
        (cached.requests, f"in the cache{sample}"),
    ):
        if count:
            yield "", f"{count:>{width},}", what
    yield "To send", f"{plan.requests:>{width},}", "requests"
    if not plan.requests:
        return
    yield "Input", f"{_rounded(tokens.total)} tokens", tokens.source
    bound = "unbounded" if output.bound is None else f"at most {output.bound:,}"
    yield "Output", f"{_rounded(output.mean)} tokens a row", f"{bound}; {output.source}"
    if plan.prefix_saves:
        note = f"saves up to {fmt.dollars(plan.prefix_saves)} while the provider's prompt cache holds it"
        yield "In common", f"{plan.prefix_tokens:,} tokens", note


def _bars(tokens: InputTokens, bar: str) -> Group:
    most = max(one.requests for one in tokens.bars)
    table = grid()
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    for one in tokens.bars:
        width = max(1, round(_BAR_WIDTH * one.requests / most)) if one.requests else 0
        table.add_row(f"to {one.tokens_max:,}", f"{one.requests:,}", bar * width)
    quantiles = ("p50", tokens.p50), ("p95", tokens.p95), ("p99", tokens.p99), ("max", tokens.max)
    return Group(table, Text("  ".join(f"{name} {value:,.0f}" for name, value in quantiles), style="dim"))


def _lanes(plan: Plan) -> Table:
    table = grid("dim")
    table.add_column("", no_wrap=True)
    for heading in ("dollars", "at most", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    if plan.deadline_s is not None:
        table.add_column(f"in {_time(plan.deadline_s)}", no_wrap=True)
    if plan.budget_usd is not None:
        table.add_column(f"for {fmt.dollars(plan.budget_usd)}", no_wrap=True)
    for lane in plan.lanes:
        figures = [_money(lane.dollars), _most(lane), "unknown" if lane.eta_s is None else _times(lane.eta_s)]
        sure = [one for one in (lane.in_time, lane.in_budget) if one]
        name = Text(lane.name, style="bold" if lane.name == plan.lane else "")
        table.add_row(name, *figures, *(Text("?" if one == "unknown" else one, _SURE.get(one, "dim")) for one in sure))
        for assumed in lane.assumed if lane.name == "online" else ():
            limits = Text(f"at {assumed.limits}", style="dim")
            table.add_row("", limits, "", Text(_times(assumed.eta_s), style="dim"))
    return table


def _legend(plan: Plan) -> Iterator[Text]:
    """What each lane's figures rest on, and what low and high mean."""
    for lane in plan.lanes:
        if lane.note:
            yield Text(f"{lane.name}: {lane.note}", style="dim")
    yield Text(
        "Dollars from short answers and a read prompt cache to long ones and none; at most: all at their bound. "
        "Time from full quotas to empty ones. Repairs of malformed answers come on top.",
        style="dim",
    )


def _most(lane: LanePlan) -> str:
    if lane.dollars_max is not None:
        return fmt.dollars(lane.dollars_max)
    return "unknown" if lane.dollars is None else "no bound"


def _money(interval: Interval | None) -> str:
    if interval is None:
        return "unknown"
    low, high = fmt.dollars(interval.low), fmt.dollars(interval.high)
    return low if low == high else f"{low} to {high}"


def _times(interval: Interval) -> str:
    low, high = _time(interval.low), _time(interval.high)
    return low if low == high else f"{low} to {high}"


def _time(value_s: float) -> str:
    """A duration in one unit: an interval's ends are not known to the second."""
    if value_s < 59.5:
        return f"{value_s:.0f} s" if value_s >= 0.5 or value_s == 0 else "< 1 s"
    minutes = value_s / 60
    if minutes < 89.5:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 9.95 and round(hours, 1) % 1 else f"{hours:,.0f} h"


def _rounded(interval: Interval) -> str:
    """Both ends to three digits."""
    low, high = (
        f"{value:.1f}" if 0 < value < 9.95 else f"{float(f'{value:.3g}'):,.0f}"
        for value in (interval.low, interval.high)
    )
    return low if low == high else f"{low} to {high}"
