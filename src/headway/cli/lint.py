"""`headway lint`: what in a prompt, a task or a call log costs and does nothing; and the fixes that are safe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headway.errors import ConfigError, HeadwayError, InputError

if TYPE_CHECKING:
    from headway.prompts.lint.findings import Finding
    from headway.prompts.lint.run import Fixed
    from headway.prompts.lint.source import Source
    from headway.store.rows import LogRow

__all__ = ["lint"]

CALLS_MAX = 50_000
ROWS_MAX = 200
FILES_MAX = 1_000
_SQLITE = b"SQLite format 3\x00"
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

Code, quotations, {columns}, numbers and negations are never edited.

Examples:

  headway lint task.toml

  headway lint task.toml --log ~/.local/state/headway/calls.sqlite

  headway lint "prompts/*.md" --fix --diff

  headway lint task.toml --sarif lint.sarif --level auto

  headway lint --explain HW205

Exit codes: 0 nothing at or above --level was found, 1 something was, 2 the
call or a file is wrong.
"""


def lint(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATHS]...", help="What to lint.")] = None,
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing; the exit code tells.")] = False,
) -> None:
    """Find what in a prompt, a task or a call log costs and does nothing."""
    try:
        if explain:
            _explain(explain)
            raise typer.Exit(0)
        rules = {"select": _words(select), "ignore": _words(ignore)}
        sources = _sources(paths or [], log, run, input_, model)
        if fix or diff:
            sources = [_fixed(source, write=fix, show=diff and not quiet, **rules) for source in sources]
        found = _findings(sources, **rules)
        if sarif is not None:
            _write_sarif(sarif, found)
        if json:
            _print_json(sources, found)
        elif not quiet and not (diff and not fix):
            _print(sources, found)
        code = int(any(one.tier in _LEVELS[level] for one in found))
    except HeadwayError as error:
        typer.echo(f"headway lint: {error}", err=True)
        code = 2 if isinstance(error, ConfigError | InputError) else 1
    raise typer.Exit(code)


lint.__doc__ = _HELP


def _words(given: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _sources(paths: list[str], log: Path | None, run: str | None, rows: str | None, model: str) -> list[Source]:
    from headway.prompts.lint.observed import calls_of
    from headway.prompts.lint.source import log_source, read_source, source_of

    files = _files(paths)
    calls = _calls(log, run) if log is not None else []
    values = _rows(rows) if rows is not None else []
    sources: list[Source] = []
    for name in files:
        if name == "-":
            source = source_of("-", sys.stdin.read(), "text", model=model)
        elif _is_log(Path(name)):
            source = log_source(name, _calls(Path(name), run))
        else:
            source = read_source(Path(name), model=model)
        own = calls_of(source.task, calls) if source.task is not None else []
        sources.append(source.observing(own, values) if source.kind == "task" else source)
    return sources


def _files(paths: list[str]) -> list[str]:
    from glob import glob  # Path.glob takes no pattern that begins at the root

    if not paths:
        raise ConfigError("nothing to lint; name a prompt, a task file or a call log, e.g. headway lint task.toml")
    files: list[str] = []
    for name in paths:
        found = sorted(glob(name, recursive=True)) if any(mark in name for mark in "*?[") else [name]  # noqa: PTH207
        if not found:
            raise ConfigError(f"there is no file like {name}")
        files += found
    if len(files) > FILES_MAX:
        raise ConfigError(f"{len(files):,} files are more than {FILES_MAX:,}; name fewer")
    return list(dict.fromkeys(files))


def _is_log(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False  # whoever reads it as text will say what is wrong


def _calls(path: Path, run: str | None) -> list[LogRow]:
    from headway.store.call_reader import CallLogReader

    with CallLogReader(path) as reader:
        return reader.calls(run=run, limit=CALLS_MAX)


def _rows(name: str) -> list[dict[str, Any]]:
    from headway.jobs.source import open_source

    source = open_source(name, rows_max=ROWS_MAX)
    try:
        return [row.row for row in source.rows if not row.problem]
    finally:
        source.close()


def _fixed(source: Source, *, write: bool, show: bool, select: tuple[str, ...], ignore: tuple[str, ...]) -> Source:
    """The source after its safe changes; as it was, where they are only shown."""
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
        _replace(Path(source.file), done.source.raw)
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


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, with the rights it had."""
    import shutil

    path = path.resolve()  # a link stays a link
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def _findings(sources: list[Source], *, select: tuple[str, ...], ignore: tuple[str, ...]) -> list[Finding]:
    from headway.prompts.lint.run import lint_task, lint_together

    found = [one for source in sources for one in lint_task(source, select=select, ignore=ignore)]
    return found + lint_together(sources, select=select, ignore=ignore)


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
    sys.stdout.write(msgspec.json.encode(tree).decode() + "\n")


def _print(sources: list[Source], found: list[Finding]) -> None:
    from rich.console import Console

    from headway.prompts.lint.told import lines, verdict

    console = Console(highlight=False, soft_wrap=True)
    for style, text in lines(found):
        console.print(text, style=style or None, markup=False)
    console.print(verdict(sources, found), markup=False)
