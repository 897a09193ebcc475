"""`headway compress`: the shortest version of a prompt that is not inferior on your rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.cli import try_options as opt
from headway.cli.ending import exits, show, write_texts
from headway.cli.trying import WIDTH

if TYPE_CHECKING:
    from headway.measure.rewrite.compressing import Compressed

__all__ = ["compress"]

_HELP = """
Find the shortest version of a prompt that is not inferior on your rows.

Rules (and with --writer a model) propose shorter versions of the fixed text:
system text and template. A guard, which is free, refuses those that lose a
label, a number, a negation, a rule, quoted text or code. The others are tried
on a third of the rows, the shortest first; one that looks no worse is compared
again on the rows that were held out, and kept if it is not worse by more than
--margin points.

PROMPT is a task file, or a text file with --model and --expected. Nothing is
changed in place without --write.

Examples:

  headway compress verbose.toml --verify tickets.csv --out shorter.toml

  headway compress verbose.toml --verify tickets.csv --writer gpt-5.4 --write

  headway compress prompt.txt --model gpt-5.4-mini --verify rows.csv
  --expected label --out shorter.txt

A prompt that is right on less than 20 % of 10 rows or more is no yardstick:
nothing is kept then. Ctrl-C tells what is known by then, and what was spent.

Exit codes: 0 a shorter one holds, 1 none does, or nothing was answered, 3 none
does but more rows or money may show one, or the prompt is no yardstick, 2 the
call or the input is wrong, 130 interrupted.
"""


def compress(
    prompt: Annotated[Path, typer.Argument(metavar="PROMPT", help="Task file (.toml), or a prompt as text.")],
    verify: Annotated[str, typer.Option("--verify", metavar="ROWS", help="Rows with right answers.")],
    margin: Annotated[float, typer.Option(min=0.01, max=99, help="Points of quality it may lose.")] = 2.0,
    max_usd: opt.MaxUsd = "1",
    writer: Annotated[
        str | None, typer.Option(metavar="MODEL", help='Also ask a model to rewrite; "same": the task\'s own.')
    ] = None,
    drafts: Annotated[int, typer.Option(min=1, max=6, help="Drafts that the writer makes.")] = 4,
    check: opt.Check = None,
    model: opt.Model = "",
    column: opt.Column = "",
    expected: opt.Expected = "",
    api: opt.Api = "",
    write: Annotated[bool, typer.Option("--write", help="Change PROMPT in place.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the shorter version there.")] = None,
    report: opt.Report = None,
    concurrency: opt.Concurrency = WIDTH,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    base_url: opt.BaseUrl = None,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
) -> None:
    """Find the shortest version of a prompt that is not inferior on your rows."""
    from headway.cli.trying import Telling, checker, rows_of, text_of, try_settings, writable

    telling = Telling(quiet=quiet or json)
    with exits("compress", interrupted=telling.interrupted):
        from headway.measure.rewrite.compressing import compress as shorten
        from headway.measure.rewrite.compressing import output_of
        from headway.measure.rewrite.writing import Writer

        writable(out, "--out")
        writable(report, "--report")
        writable(prompt if write else None, "--write")
        text = text_of(prompt, verify, model=model, column=column, expected=expected, api=api)
        task = text.variant().task
        found = rows_of(verify, task)
        settings = try_settings(
            margin=margin,
            max_usd=max_usd,
            seed=seed,
            check=checker(check, task.expected),
            base_url=base_url,
            config=config,
            concurrency=concurrency,
        )
        scribe = Writer(model="" if writer == "same" else writer, drafts_max=drafts) if writer else None
        done = asyncio.run(shorten(text, found, settings, writer=scribe, told=telling))
        if done.after is not None:
            text_after = output_of(done.after)
            ending = "" if text_after.endswith("\n") else "\n"
            write_texts(text_after + ending, (prompt if write else None, out))
        _tell(done, json=json, quiet=quiet, report=report, written=write or out is not None)
        code = 0 if done.after is not None else 3 if done.open else 1
    raise typer.Exit(code)


compress.__doc__ = _HELP


def _tell(done: Compressed, *, json: bool, quiet: bool, report: Path | None, written: bool) -> None:
    from headway.measure.rewrite.page import compressed_page
    from headway.measure.rewrite.told import print_compressed

    show(
        done,
        page=compressed_page,
        table=lambda done, console, _: print_compressed(done, console, written=written),
        json=json,
        quiet=quiet,
        report=report,
    )
