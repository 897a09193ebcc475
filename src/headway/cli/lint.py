"""`headway lint`: what in a prompt, a task or a call log costs and does nothing; and the fixes that are safe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headway.cli.ending import exits, print_json, print_table, reader_may_leave
from headway.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from headway.cli.trying import Telling
    from headway.prompts.lint.findings import Finding
    from headway.prompts.lint.run import Fixed
    from headway.prompts.lint.source import Source

__all__ = ["lint"]

_LEVELS = {"auto": ("auto",), "suggest": ("auto", "suggest"), "never": ("auto", "suggest", "never")}

_HELP = """
Find what in a prompt costs and does nothing.

PATHS are prompts (text, Markdown, "-" for standard input), task files (TOML),
chat requests (JSON), call logs, or patterns of them. Each finding names its
rule, the place, and what it would save in tokens, in dollars for 1,000 calls,
and in milliseconds. Its tier says how far a change can be trusted:

  auto     safe: --fix does it

  suggest  usually right: change it, then verify with rows

  never    told only: the words are yours

Code, quotations, {columns}, numbers and negations are never edited. --verify
tries the suggestions for a task on rows with right answers and says which
hold; with --fix, those are made as well.

Examples:

  headway lint task.toml

  headway lint task.toml --log ~/.local/state/headway/calls.sqlite

  headway lint "prompts/*.md" --fix --diff

  headway lint task.toml --sarif lint.sarif --level auto

  headway lint task.toml --verify rows.csv --max-usd 0.50

  headway lint --explain HW205

Exit codes: 0 nothing at --level or surer was found, 1 something was, 2 the
call or a file is wrong, 130 interrupted. With --verify: 0 something holds, 1
nothing does, 3 nothing does but more rows or money may tell.
"""


def lint(
    paths: Annotated[list[str] | None, typer.Argument(metavar="PATHS", help="What to lint.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make the safe changes in the files.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show the safe changes; without --fix, only show them.")] = False,
    select: Annotated[str, typer.Option(metavar="RULES", help="Only these: HW101,HW2,filler.")] = "",
    ignore: Annotated[str, typer.Option(metavar="RULES", help="Not these.")] = "",
    level: Annotated[
        Literal["auto", "suggest", "never"], typer.Option(help="Exit with 1 for this tier or a surer one.")
    ] = "never",
    log: Annotated[Path | None, typer.Option(help="A call log: what was observed of the tasks.")] = None,
    run: Annotated[str | None, typer.Option(help="Of the log, only the calls of this run.")] = None,
    input_: Annotated[
        str | None, typer.Option("--input", metavar="ROWS", help="Rows that the tasks are run on.")
    ] = None,
    model: Annotated[str, typer.Option(help="Whose tokens and prices; by default the task's own.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    sarif: Annotated[Path | None, typer.Option(help="Write the findings as SARIF 2.1.0.")] = None,
    explain: Annotated[str, typer.Option(metavar="RULE", help="Say what a rule finds and why, and leave.")] = "",
    verify: Annotated[
        str | None, typer.Option("--verify", metavar="ROWS", help="Try suggestions on rows; keep what is not worse.")
    ] = None,
    margin: Annotated[float, typer.Option(min=0.01, max=99, help="--verify: points of quality to lose.")] = 2.0,
    max_usd: Annotated[str, typer.Option("--max-usd", metavar="MONEY", help='--verify: at most; or "none".')] = "1",
    check: Annotated[str | None, typer.Option(metavar="CHECK", help="--verify: what is right; see compare.")] = None,
    base_url: Annotated[str | None, typer.Option(help="--verify: the provider, e.g. http://127.0.0.1:8181/v1.")] = None,
    config: Annotated[Path | None, typer.Option(help="--verify: settings; headway.toml if it is there.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing; the exit code tells.")] = False,
) -> None:
    """Find what in a prompt, a task or a call log costs and does nothing."""
    from headway.cli.trying import Telling

    telling = Telling(quiet=quiet or json)
    with exits("lint", interrupted=lambda: telling.interrupted() if verify is not None else ""):
        if explain:
            _explain(explain)
            raise typer.Exit(0)
        rules = {"select": _words(select), "ignore": _words(ignore)}
        from headway.cli.lint_files import sources_of

        sources = sources_of(paths or [], log, run, input_, model)
        if fix or diff:
            sources = [_fixed(source, write=fix, show=diff and not (quiet or json), **rules) for source in sources]
        found = _findings(sources, **rules)
        if sarif is not None:
            _write_sarif(sarif, found)
        if verify is not None:
            given = {"margin": margin, "max_usd": max_usd, "base_url": base_url, "config": config}
            raise typer.Exit(_verify(sources, found, verify, check, given, telling, write=fix, json=json, quiet=quiet))
        with reader_may_leave():
            if json:
                _print_json(sources, found)
            elif not quiet and not (diff and not fix):
                _print(sources, found)
        code = int(any(one.tier in _LEVELS[level] for one in found))
    raise typer.Exit(code)


lint.__doc__ = _HELP


def _words(given: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _fixed(source: Source, *, write: bool, show: bool, select: tuple[str, ...], ignore: tuple[str, ...]) -> Source:
    """The source after its safe changes; as it was, where they are only shown."""
    from headway.cli.lint_files import replace
    from headway.prompts.lint.run import fixed

    if source.kind == "log":
        return source
    done = fixed(source, select=select, ignore=ignore)
    for sentence in done.skipped:
        typer.echo(f"headway lint: {sentence}", err=True)
    if show:
        _show_diff(source, done)
    if not write:
        return source
    if source.file == "-":
        sys.stdout.write(done.source.raw if not show else "")
    elif done.source.raw != source.raw:
        replace(Path(source.file), done.source.raw)
    if done.applied:
        typer.echo(f"{source.file}: {len(done.applied)} fixed", err=True)
    return done.source


def _show_diff(source: Source, done: Fixed) -> None:
    import difflib

    lines = difflib.unified_diff(
        source.raw.splitlines(keepends=True),
        done.source.raw.splitlines(keepends=True),
        fromfile=source.file,
        tofile=source.file,
    )
    for line in lines:
        sys.stdout.write(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")


def _findings(sources: list[Source], *, select: tuple[str, ...], ignore: tuple[str, ...]) -> list[Finding]:
    from headway.prompts.lint.run import lint_task, lint_together

    found = [one for source in sources for one in lint_task(source, select=select, ignore=ignore)]
    return found + lint_together(sources, select=select, ignore=ignore)


def _verify(
    sources: list[Source],
    found: list[Finding],
    rows: str,
    check: str | None,
    given: dict[str, Any],
    telling: Telling,
    *,
    write: bool,
    json: bool,
    quiet: bool,
) -> int:
    """Which suggestions hold on rows; 0 if one does, 1 if none, 3 if more rows or money may tell."""
    from headway.cli.lint_files import replace
    from headway.cli.trying import checker, rows_of, try_settings
    from headway.measure.rewrite.verify import verify_command

    if len(sources) != 1 or sources[0].task is None:
        raise ConfigError("--verify takes one task file; name one")
    source = sources[0]
    task = sources[0].task
    settings = try_settings(**given, seed=0, check=checker(check, task.expected))
    done = verify_command(source, found, rows_of(rows, task), settings, told=telling)
    if json:
        print_json(done.to_dict())
    elif not quiet:
        said = ""
        for one in done.verdicts:
            where = f"{one.finding.where.line}:{one.finding.where.column}"
            why = one.why.partition(";")[0] if one.why == said else one.why
            typer.echo(f"  {where:<8}{one.finding.rule}  {'holds' if one.kept else f'left: {why}'}")
            said = one.why
        typer.echo(done.sentence)
    if done.after is None:
        return 3 if done.open else 1
    if write:
        replace(Path(source.file), done.after.text)
    return 0


def _explain(name: str) -> None:
    from headway.prompts.lint.findings import TIERS
    from headway.prompts.lint.registry import rule_named

    rule = rule_named(name)
    typer.echo(f"{rule.id} {rule.name}: {rule.title}")
    typer.echo(f"  Why: {rule.reason}")
    typer.echo(f"  Tier: {rule.tier} ({TIERS[rule.tier].replace('`', '')})")
    if rule.needs:
        typer.echo(f"  Looks at: {rule.needs}")


def _write_sarif(path: Path, found: list[Finding]) -> None:
    import msgspec

    from headway import __version__
    from headway.prompts.lint.sarif import sarif_of

    text = msgspec.json.format(msgspec.json.encode(sarif_of(found, version=__version__)), indent=2)
    try:
        path.write_bytes(text + b"\n")
    except OSError as error:
        raise ConfigError(f"--sarif: {path} cannot be written: {error.strerror or error}; name another") from None


def _print_json(sources: list[Source], found: list[Finding]) -> None:
    import msgspec

    from headway.prompts.lint.told import totals

    tree = {
        "version": 1,
        "files": [source.file for source in sources],
        "findings": [msgspec.to_builtins(one) for one in found],
        "totals": totals(found),
    }
    print_json(tree)


def _print(sources: list[Source], found: list[Finding]) -> None:
    from headway.prompts.lint.told import lines, verdict

    def table(console: Console, _: int) -> None:
        for style, text in lines(found):
            console.print(text, style=style or None, markup=False, soft_wrap=True)
        console.print(verdict(sources, found), markup=False, soft_wrap=True)

    print_table(table)
