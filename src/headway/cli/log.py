"""`headway log`: the last calls, and where each one's time went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.cli.ending import call_log_path, print_json, print_table, reader_may_leave
from headway.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from headway.store.call_reader import LatencyBreakdown, Part
    from headway.store.rows import LogRow

__all__ = ["log"]

_WIDE = 1_000
_ANSWER_MIN = 6
_ASKED = ("", "off", "miss", "refresh")

_HELP = """
Show the last calls from the call log, and where each one's time went.

  own wait + connect + network and queue + processing = TTFT (time to first token)

  TTFT + generation = total

"~" marks an estimate: without the provider's own word on its processing time, only the sum of that and the network \
is measured. An answer that was not streamed has its first token when it is complete, so its generation is part of \
processing. Tries that failed before the one that answered count as own wait; --json has them apart, as "earlier".

Exit codes: 0 shown, 2 there is no such log.
"""


def log(
    run: Annotated[str | None, typer.Option(help="Only the calls of this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The last N calls.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, all figures.")] = False,
    file: Annotated[
        Path | None, typer.Option(help="The call log; by default calls.sqlite in the state directory.")
    ] = None,
) -> None:
    """Show the last calls, and where each one's time went."""
    from headway.store.call_reader import CallLogReader, breakdown_of

    path = file or call_log_path()
    try:
        with CallLogReader(path) as reader:
            calls = reader.calls(run=run, limit=limit)
            tries = {call.flight_id: reader.attempts(flight_id=call.flight_id) for call in calls if call.flight_id}
    except ConfigError as error:
        typer.echo(f"headway log: {error}", err=True)
        raise typer.Exit(2) from None
    rows = [(call, breakdown_of(call, tries.get(call.flight_id, []))) for call in calls]
    with reader_may_leave():
        if json:
            _print_json(rows)
        else:
            _print(rows, path, run)


log.__doc__ = _HELP


def _print_json(rows: list[tuple[LogRow, LatencyBreakdown | None]]) -> None:
    import msgspec

    for call, parts in rows:
        line = {**msgspec.to_builtins(call), "latency": msgspec.to_builtins(parts)}
        print_json(line)


def _print(rows: list[tuple[LogRow, LatencyBreakdown | None]], path: Path, run: str | None) -> None:
    if not rows:
        which = f"no call of run {run!r}" if run is not None else "no call"
        typer.echo(f"There is {which} in {path}.")
        return

    def table(console: Console, width: int) -> None:
        shown = _table(rows)
        # Figures are never cut: where they alone are wider than the terminal, the lines are, too.
        full = console.measure(shown, options=console.options.update(width=_WIDE)).maximum
        answers = max(len(_answer(call)) for call, _ in rows)
        console.width = max(width, full - max(0, answers - _ANSWER_MIN))
        console.print(shown)
        console.print("wait + conn + net+queue + process = TTFT; + gener = total (s); ~: estimated")
        if told := _prefixes([call for call, _ in rows]):
            console.print(told)

    print_table(table)


def _prefixes(calls: list[LogRow]) -> str:
    """What the provider's prompt cache came to over these calls; "" where it was not used."""
    from headway.policy.prefix_cache import net_dollars
    from headway.report import format as fmt
    from headway.types import Usage
    from headway.wire.prices import Prices

    used = [call for call in calls if (call.cached_tokens or call.cache_write_tokens) and call.cache in _ASKED]
    if not used:
        return ""
    prices, net, read = Prices(), 0.0, 0
    for call in used:
        usage = Usage(
            input_tokens=call.input_tokens or 0,
            cached_tokens=call.cached_tokens or 0,
            cache_write_tokens=call.cache_write_tokens or 0,
        )
        rates = prices.rates(call.model)
        net += net_dollars(usage, rates) if rates is not None else 0.0
        read += usage.cached_tokens
    verb = "saved" if net >= 0 else "lost"
    return f"provider's prompt cache: {read:,} tokens read, {verb} {fmt.dollars(abs(net))}"


def _table(rows: list[tuple[LogRow, LatencyBreakdown | None]]) -> Table:
    """One row a call; on a narrow terminal answers are cut, never figures."""
    from rich.text import Text

    from headway.report import format as fmt
    from headway.report.grid import grid

    table = grid("dim", gap=1)
    table.add_column("time", no_wrap=True)
    table.add_column("answer", min_width=_ANSWER_MIN)  # the only one that rich may make narrower
    for name in ("wait", "conn", "net+queue", "process", "TTFT", "gener", "total", "out", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for call, parts in rows:
        table.add_row(
            _time(call.start_wall_s),
            Text(
                fmt.printable(_answer(call)),
                style="" if call.outcome == "ok" else "red",
                no_wrap=True,
                overflow="ellipsis",
            ),
            *_parts(parts),
            fmt.count(call.output_tokens),
            "?" if call.dollars is None else fmt.dollars(call.dollars),
        )
    return table


def _answer(call: LogRow) -> str:
    """Where the answer came from, or why there is none."""
    if call.outcome not in (None, "ok"):
        return call.error_code or call.outcome
    return call.cache if call.cache not in ("", "off") else "call"


def _parts(parts: LatencyBreakdown | None) -> list[str]:
    if parts is None:
        return ["-"] * 7
    own = _sum(parts.earlier, parts.wait)
    return [
        own,
        _part(parts.connect),
        _part(parts.network_and_queue),
        _part(parts.processing),
        _seconds(parts.ttft_s),
        _part(parts.generation),
        _seconds(parts.ttlt_s),
    ]


def _sum(earlier: Part, wait: Part) -> str:
    """Tries that failed, and the back-off after them, were waiting as well."""
    return _seconds(earlier.s + wait.s) if earlier.measured and wait.measured else f"~{_seconds(earlier.s + wait.s)}"


def _part(part: Part) -> str:
    return _seconds(part.s) if part.measured else f"~{_seconds(part.s)}"


def _seconds(value_s: float) -> str:
    """Narrow, one unit for the whole table so that columns add up by eye."""
    return f"{value_s:.3f}"


def _time(wall_s: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(wall_s).astimezone().strftime("%H:%M:%S")
