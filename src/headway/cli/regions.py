"""`headway regions`: the configured upstreams side by side, and which one is fastest from here."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.cli.ending import exits, print_json
from headway.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from headway.config import Settings
    from headway.measure.regions import Measured, Target, Winner

__all__ = ["regions"]

_HELP = """
Measure the upstreams of the configuration from here, and name the fastest.

Sends short streamed requests (64 output tokens at most) to base_url and to
every upstream entry, in rounds, all at the same time within a round, after
one request each that does not count. What it may cost is shown beforehand.

TTFT is the median time to the first token, +- its standard deviation.

Examples:

  headway regions --config headway.toml

  headway regions --runs 30 --model gpt-4o --json

Exit codes: 0 measured, 1 an upstream gave no answer at all, 2 the call or the
configuration is wrong, 130 interrupted.
"""


def regions(
    config: Annotated[Path | None, typer.Option(help="Settings; headway.toml if it is there.")] = None,
    model: Annotated[str, typer.Option(help="Model to ask for.")] = "gpt-5.4-mini",
    runs: Annotated[int, typer.Option(min=1, max=1_000, help="Requests to each that count.")] = 10,
    max_usd: Annotated[float, typer.Option("--max-usd", min=0, help="Send nothing if it may cost more.")] = 0.10,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False,
) -> None:
    """Measure the upstreams of the configuration from here, and name the fastest."""
    with exits("regions"):
        code = _run(config, model, runs, max_usd, json=json, quiet=quiet)
    raise typer.Exit(code)


regions.__doc__ = _HELP


def _run(config: Path | None, model: str, runs: int, max_usd: float, *, json: bool, quiet: bool) -> int:
    from headway.config import load_settings
    from headway.measure.regions import targets_of, winner_of, worst_case_usd

    settings = load_settings(file=config)
    targets = targets_of(settings, model)
    most_usd = worst_case_usd(targets, runs)
    if not quiet:
        typer.echo(_plan(targets, runs, most_usd), err=True)
    if most_usd is not None and most_usd > max_usd:
        raise ConfigError(f"this may cost ${most_usd:.4f}, more than --max-usd {max_usd:g}; raise it, or lower --runs")
    measured = asyncio.run(_measured(settings, config, targets, runs, quiet=quiet))
    winner = winner_of(measured)
    if json:
        _print_json(measured, winner)
    elif not quiet:
        _print(measured, winner)
    return 0 if all(one.answers for one in measured) else 1


def _plan(targets: list[Target], runs: int, most_usd: float | None) -> str:
    cost = "at a price that is not known" if most_usd is None else f"for ${most_usd:.4f} at most"
    return f"{len(targets)} upstreams, {runs} + 1 short requests each, {cost}."


async def _measured(
    settings: Settings, config: Path | None, targets: list[Target], runs: int, *, quiet: bool
) -> list[Measured]:
    from headway.engine import Engine
    from headway.measure.regions import measure

    live = not quiet and sys.stderr.isatty()

    def progress(done: int) -> None:
        if live:
            sys.stderr.write(f"\rround {done} of {runs}" + ("\n" if done == runs else ""))
            sys.stderr.flush()

    # No routing, cache or caps of its own: what is asked for is what is sent. Connections and time-outs as configured.
    engine = Engine(
        config=config,
        base_url=settings.base_url,
        upstreams=(),
        cache="off",
        attempts_max=1,
        log="off",
        log_level="off",
    )
    async with engine:
        return await measure(engine, targets, runs=runs, progress=progress)


def _print_json(measured: list[Measured], winner: Winner | None) -> None:
    import msgspec

    found = {"winner": msgspec.to_builtins(winner), "upstreams": [msgspec.to_builtins(one) for one in measured]}
    print_json(found)


def _print(measured: list[Measured], winner: Winner | None) -> None:
    from rich.console import Console

    from headway.report import format as fmt

    console = Console(highlight=False, stderr=True)
    console.print(_table(measured, winner))
    for one in measured:
        if one.error:
            console.print(f"{one.name}: {fmt.printable(one.error)}", markup=False, style="red")
    console.print(_verdict(winner), markup=False)


def _verdict(winner: Winner | None) -> str:
    if winner is None:
        return "No upstream answered often enough to be named."
    if not winner.next_name:
        return f"{winner.name} is the only one that answered."
    lead = f"{winner.faster_ratio:.0%} before {winner.next_name}"
    if winner.clear:
        return f"{winner.name} is the fastest to its first token, {lead}."
    return f"{winner.name} leads ({lead}), but by no more than chance: more --runs would tell."


def _table(measured: list[Measured], winner: Winner | None) -> Table:
    """One row an upstream; narrow enough for 80 columns."""
    from rich.text import Text

    from headway.report import format as fmt
    from headway.report.grid import grid

    table = grid("dim", gap=1)
    for name in ("upstream", "region", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("TTFT ms", "worst", "total ms", "tok/s", "errors", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in measured:
        best = winner is not None and one.name == winner.name and winner.clear
        table.add_row(
            Text(fmt.printable(one.name), style="bold green" if best else ""),
            fmt.printable(one.region) or "-",
            fmt.printable(one.model),
            _spread(one.ttft_s, one.ttft_sd_s),
            _ms(one.ttft_worst_s),
            _spread(one.total_s, one.total_sd_s),
            "-" if one.tokens_per_s is None else f"{one.tokens_per_s:.0f}",
            Text(str(one.errors), style="red" if one.errors else ""),
            "?" if one.dollars is None else fmt.dollars(one.dollars),
        )
    return table


def _ms(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s * 1e3:.0f}"


def _spread(value_s: float | None, sd_s: float | None) -> str:
    return _ms(value_s) if sd_s is None else f"{_ms(value_s)} ±{_ms(sd_s)}"
