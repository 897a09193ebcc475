"""`headway doctor`: what is well here, what is not, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.cli.ending import exits, print_json, reader_may_leave
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.config.explain import Value
    from headway.config.load import Gathered
    from headway.measure.doctor.examine import Wanted
    from headway.measure.doctor.finding import Finding

__all__ = ["doctor"]

_HELP = """
Look at configuration, key, connection, clock, prices, limits, files and Redis, and say what to do where something \
is wrong.

Costs nothing: the key is tried by asking for the list of models. Only --call has something generated, one tiny \
answer at each address; what it may cost is said beforehand. A key is never printed.

Examples:

  headway doctor                                    # what an engine would use here

  headway doctor --config headway.toml --explain    # every setting, and where it comes from

  headway doctor --call --model gpt-5.4-mini        # one tiny call as well

  headway doctor --base-url http://127.0.0.1:8181/v1 --json

Exit codes: 0 nothing failed (there may be warnings), 1 a check failed, 2 the call or the configuration is wrong, \
130 interrupted.
"""


def doctor(
    *,
    config: Annotated[Path | None, typer.Option(help="Settings; headway.toml if it is there.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.")] = None,
    model: Annotated[str, typer.Option(help="The model whose price to look up, and to call.")] = "",
    call: Annotated[bool, typer.Option("--call", help="Make a tiny call of --model; costs money.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Leave the network alone.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show every setting and its source.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only what is not well.")] = False,
) -> None:
    """Look at configuration, key, connection, clock, prices, limits, files and Redis."""
    with exits("doctor"):
        from headway.config.explain import explained
        from headway.config.load import gather
        from headway.measure.doctor.examine import Wanted
        from headway.measure.doctor.finding import worst

        if call and (not model or offline):
            raise ConfigError("--call needs a --model to call, and the network; name one, and leave --offline out")
        gathered = gather({"base_url": base_url}, file=config)
        wanted = Wanted(model=model, call=call, offline=offline)
        if call:
            _say_price(gathered, model)
        values = explained(gathered) if explain else []
        level = "ok"  # of a reader that left before all was looked at
        with reader_may_leave():
            if not json:
                _print_values(values)
            found = asyncio.run(_examined(gathered, wanted, show=not json, quiet=quiet))
            level = worst(found)
            if json:
                _print_json(found, values, level)
            elif not quiet:
                typer.echo(_sum(found))
    raise typer.Exit(1 if level == "failure" else 0)


doctor.__doc__ = _HELP


def _say_price(gathered: Gathered, model: str) -> None:
    from headway.measure.doctor.examine import most_usd

    most = most_usd(gathered, model)
    cost = "at a price that is not known" if most is None else f"for ${most:.6f} at most"
    typer.echo(f"One tiny call of {model} at each address, {cost}.", err=True)


async def _examined(gathered: Gathered, wanted: Wanted, *, show: bool, quiet: bool) -> list[Finding]:
    from headway.measure.doctor.examine import examine

    found = []
    async for finding in examine(gathered, wanted):
        found.append(finding)
        if show and not (quiet and finding.level in ("ok", "skipped")):
            _print(finding)
    return found


_COLOURS = {"ok": "green", "skipped": "bright_black", "warning": "yellow", "failure": "red"}


def _print(finding: Finding) -> None:
    level = typer.style(f"{finding.level:<7}", fg=_COLOURS[finding.level])
    typer.echo(f"{level}  {finding.check:<13}  {finding.text}")
    if finding.remedy:
        typer.echo(f"{'':<24}-> {finding.remedy}")
    sys.stdout.flush()


def _print_values(values: list[Value]) -> None:
    for value in values:
        source = "" if value.is_default else f"  # {value.source}"
        typer.echo(f"{value.name} = {value.value}{source}")
    if values:
        typer.echo()


def _print_json(found: list[Finding], values: list[Value], level: str) -> None:
    import msgspec

    tree: dict[str, Any] = {"worst": level, "findings": msgspec.to_builtins(found)}
    if values:
        tree["settings"] = msgspec.to_builtins(values)
    print_json(tree)


def _sum(found: list[Finding]) -> str:
    failures = sum(finding.level == "failure" for finding in found)
    warnings = sum(finding.level == "warning" for finding in found)
    if not failures and not warnings:
        return "All is well."
    told = [
        f"{count} {name}{'s' * (count > 1)}" for count, name in ((failures, "failure"), (warnings, "warning")) if count
    ]
    return f"{' and '.join(told)}; what to do stands below each."
