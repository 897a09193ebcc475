"""`headway compare`: two ways to ask, on the same rows; which is better, by how much, and how sure that is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headway.cli.ending import exits, show
from headway.cli.run_options import MODEL
from headway.cli.trying import INPUT_ROWS_MAX, WIDTH_MIN, checker, column_of, rows_of, writable
from headway.cli.variants import variants_of
from headway.prompts.output import Api

if TYPE_CHECKING:
    from rich.console import Console

    from headway.measure.compare.comparison import Comparison
    from headway.measure.compare.run import Comparing
    from headway.measure.compare.settings import CompareSettings
    from headway.measure.compare.variant import Variant

__all__ = ["compare"]

_HELP = """
Compare two ways to ask, on the same rows: prompts, models, regions, settings.

A and B are prompts as text, with {column} names, or task files (.toml), which
may also hold the tables "settings" (any setting) and "run" (name, stream,
concurrency, order). A text without {column} names goes before each row's
{text}, as system text. Each row is asked
both ways, one after the other, in an order that is drawn; before that, A runs
against itself, to know the noise. It stops when the question is decided, at
--rows, or before --max-usd would be exceeded. Caches are off unless a file's
settings say otherwise.

Answers are checked against the tasks' 'expected' column, or by --check:
exact:COLUMN, schema, schema:FILE, regex:RE, python:MODULE:FUNCTION, or
judge:FILE, a task file whose prompt names {answer}.

Examples:

  headway compare verbose.toml concise.toml --input tickets.csv

  headway compare old.txt new.txt --input t.csv --expected queue
  --labels billing,shipping --model gpt-5.4-mini

  headway compare a.toml b.toml --input rows.csv --margin 3 --report ab.html

  headway compare old.toml new.toml --input rows.csv --expect not-worse

Exit codes: 0 B is better, or the same, or as --expect says; 1 B is worse, or
better in one thing and worse in another, or not as --expect says, or nothing
was answered; 3 inconclusive; 2 the call or the input is wrong; 130
interrupted (what is known by then is shown).
"""


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Prompt or task file: what there is.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Prompt or task file: what may be better.")],
    input_: Annotated[str, typer.Option("--input", metavar="ROWS", help="CSV, JSONL, text or Parquet file.")],
    model: Annotated[str | None, typer.Option(help=f"For prompts as text: the model; {MODEL}.")] = None,
    labels: Annotated[str | None, typer.Option(help="For prompts as text: comma-separated labels.")] = None,
    expected: Annotated[str | None, typer.Option(help="For prompts as text: the column with right answers.")] = None,
    api: Annotated[Api | None, typer.Option(help="For prompts as text: the API; responses.")] = None,
    margin: Annotated[float, typer.Option(min=0.01, max=99, help="Points of quality B may lose.")] = 2.0,
    rows: Annotated[int | None, typer.Option(min=1, max=INPUT_ROWS_MAX, help="Rows at most; all, up to 400.")] = None,
    max_usd: Annotated[str, typer.Option("--max-usd", metavar="MONEY", help='Spend at most; or "none".')] = "1",
    check: Annotated[str | None, typer.Option(metavar="CHECK", help="What makes an answer right.")] = None,
    expect: Annotated[
        Literal["better", "not-worse", "faster", "cheaper"] | None, typer.Option(help="What B has to be, for CI.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1_000, help="Rows under way, if [run] does not say.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the order of rows and sides.")] = 0,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="Go on to --rows when it is decided.")] = False,
    no_aa: Annotated[bool, typer.Option("--no-aa", help="Leave out the runs of A against itself.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page.")] = None,
    show_texts: Annotated[bool, typer.Option("--show-texts", help="Put rows and answers into the page.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    base_url: Annotated[str | None, typer.Option(help="The provider of both, e.g. http://127.0.0.1:8181/v1.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings of both; headway.toml if it is there.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False,
) -> None:
    """Compare two ways to ask, on the same rows."""
    with exits("compare"):
        writable(report, "--report")
        variants = variants_of((a, b), model, labels, expected, api, lambda name: column_of(input_, name))
        base = {"base_url": base_url} if base_url else {}
        settings = _settings(
            variants, margin, rows, max_usd, check, concurrency, seed, config, base, aa=not no_aa, early=not all_rows
        )
        found = rows_of(input_, variants[0].task, variants[1].task)
        done, interrupted = _run(variants, found, settings, quiet=quiet)
        _tell(done, json=json, quiet=quiet, report=report, show_texts=show_texts)
    raise typer.Exit(130 if interrupted else done.code(expect))


compare.__doc__ = _HELP


def _settings(
    variants: tuple[Variant, Variant],
    margin: float,
    rows: int | None,
    max_usd: str,
    check: str | None,
    concurrency: int,
    seed: int,
    config: Path | None,
    base: dict[str, Any],
    *,
    aa: bool,
    early: bool,
) -> CompareSettings:
    from headway.cli.amounts import cap_of
    from headway.measure.compare.settings import CompareSettings

    column = variants[0].task.expected or variants[1].task.expected
    return CompareSettings(
        margin=margin / 100,
        rows_max=rows,
        usd_max=cap_of(max_usd),
        concurrency=concurrency,
        seed=seed,
        aa=aa,
        early=early,
        checker=checker(check, column),
        base=base,
        config=config,
    )


def _run(
    variants: tuple[Variant, Variant], rows: list[dict[str, Any]], settings: CompareSettings, *, quiet: bool
) -> tuple[Comparison, bool]:
    """The comparison, and whether it was interrupted."""
    from headway.measure.compare.run import Comparing

    live = not quiet and sys.stderr.isatty()

    def progress(stage: str, done: int, of: int, dollars: float) -> None:
        if live:
            what = "A against itself" if stage == "noise" else f"{done:,} of at most {of:,} rows"
            sys.stderr.write(f"\r\x1b[K{what}, ${dollars:.4f}")
            sys.stderr.flush()

    comparing: Comparing = Comparing(*variants, rows, settings=settings, progress=progress)
    interrupted = False
    try:
        asyncio.run(comparing.run())
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if live:
            sys.stderr.write("\r\x1b[K")
    return comparing.comparison(), interrupted


def _tell(done: Comparison, *, json: bool, quiet: bool, report: Path | None, show_texts: bool) -> None:
    """As it was asked for."""

    def page(done: Comparison, command: str) -> str:
        from headway.measure.compare.page import comparison_page

        return comparison_page(done, command=command, show_texts=show_texts)

    show(done, page=page, table=_table, json=json, quiet=quiet, report=report, width_min=WIDTH_MIN)


def _table(done: Comparison, console: Console, width: int) -> None:
    from headway.measure.compare.table import print_comparison

    print_comparison(done, console, width=width)
