"""`headway optimize`: improve a task, one verified change at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headway.cli import try_options as opt
from headway.cli.ending import exits, show, write_texts
from headway.cli.trying import WIDTH
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.measure.rewrite.optimized import Optimized
    from headway.measure.rewrite.taskedit import TaskText

__all__ = ["optimize"]

_HELP = """
Improve a task, one verified change at a time.

Measures the task as it is; tries the change with the greatest expected gain
(a shorter prompt, the label alone, a bound, less effort, another model, cache,
streaming, more rows at once, merged outputs); compares before and after on the
same rows; keeps it if it is better at what --for names and quality is not
worse by more than --margin points; and repeats until nothing is left or the
money is. At the end the original and the result are compared on rows that no
step has seen. Nothing is changed in place without --write.

TASK is a task file, or a text file with --model and --expected, of which --out
then makes a task file. Ctrl-C tells what is known by then, and what was spent.

Examples:

  headway optimize triage.toml --input tickets.csv --for cost --out better.toml

  headway optimize triage.toml --input tickets.csv --for latency
  --models gpt-5.4-nano,gpt-4.1-nano --report steps.html

  headway optimize prompt.txt --model gpt-5.4-mini --input rows.csv
  --expected label --out better.toml

Exit codes: 0 improved, and confirmed; 1 nothing is known to help, or nothing
was answered; 3 improved, but together not confirmed; 2 the call or the input
is wrong; 130 interrupted.
"""


def optimize(
    task: Annotated[Path, typer.Argument(metavar="TASK", help="Task file (.toml), or a prompt as text.")],
    input_: Annotated[str, typer.Option("--input", metavar="ROWS", help="Rows with right answers.")],
    goal: Annotated[
        Literal["cost", "latency", "ttft", "throughput"], typer.Option("--for", help="What is wanted.")
    ] = "cost",
    max_usd: opt.MaxUsd = "2",
    margin: Annotated[float, typer.Option(min=0.01, max=99, help="Points of quality a step may lose.")] = 2.0,
    models: Annotated[str, typer.Option(metavar="A,B", help="Other models that may be asked.")] = "",
    check: opt.Check = None,
    model: opt.Model = "",
    column: opt.Column = "",
    expected: opt.Expected = "",
    api: opt.Api = "",
    write: Annotated[bool, typer.Option("--write", help="Change TASK in place.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the improved task there.")] = None,
    report: opt.Report = None,
    concurrency: opt.Concurrency = WIDTH,
    seed: opt.Seed = 0,
    json: opt.Json = False,
    base_url: opt.BaseUrl = None,
    config: opt.Config = None,
    quiet: opt.Quiet = False,
) -> None:
    """Improve a task, one verified change at a time."""
    from headway.cli.trying import Telling, checker, rows_of, text_of, try_settings, writable

    telling = Telling(quiet=quiet or json)
    with exits("optimize", interrupted=telling.interrupted):
        from headway.measure.rewrite.optimizing import optimize as improve

        writable(out, "--out")
        writable(report, "--report")
        writable(task if write else None, "--write")
        text = text_of(task, input_, model=model, column=column, expected=expected, api=api)
        _writes_a_task(text, write=write, out=out)
        read = text.variant().task
        rows = rows_of(input_, read)
        settings = try_settings(
            margin=margin,
            max_usd=max_usd,
            seed=seed,
            check=checker(check, read.expected),
            base_url=base_url,
            config=config,
            concurrency=concurrency,
        )
        names = [name.strip() for name in models.split(",") if name.strip()]
        done = asyncio.run(improve(text, rows, goal, settings, models=names, told=telling))
        if done.changed:
            write_texts(done.after.text, (task if write else None, out))
        _tell(done, json=json, quiet=quiet, report=report, written=write or out is not None)
        code = (0 if done.holds else 3) if done.changed else 1
    raise typer.Exit(code)


optimize.__doc__ = _HELP


def _writes_a_task(text: TaskText, *, write: bool, out: Path | None) -> None:
    """What comes of a text file is a task file: the model, a bound or a cache are no words of a prompt."""
    if text.plain and (write or (out is not None and out.suffix != ".toml")):
        raise ConfigError(f"of {text.path} comes a task file, for a text cannot say it all; give --out better.toml")


def _tell(done: Optimized, *, json: bool, quiet: bool, report: Path | None, written: bool) -> None:
    from headway.measure.rewrite.page_optimized import optimized_page
    from headway.measure.rewrite.told import print_optimized

    show(
        done,
        page=optimized_page,
        table=lambda done, console, _: print_optimized(done, console, written=written),
        json=json,
        quiet=quiet,
        report=report,
    )
