"""The command line: one file a command; this one only dispatches.

Exit codes: 0 done, 1 it failed (some rows failed, the provider is down), 2 the call is wrong (a setting, a column, a
file), 130 interrupted. What a human reads goes to stderr, what a pipe reads to stdout.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headway.cli.ask import ask
from headway.cli.bench import bench
from headway.cli.cache import cache
from headway.cli.compare import compare
from headway.cli.compress import compress
from headway.cli.demo import demo
from headway.cli.doctor import doctor
from headway.cli.init import init
from headway.cli.keys import keys
from headway.cli.lint import lint
from headway.cli.log import log
from headway.cli.optimize import optimize
from headway.cli.pipelines import pipelines
from headway.cli.regions import regions
from headway.cli.run import run
from headway.cli.serve import serve
from headway.cli.sim import sim
from headway.cli.summarize import summarize
from headway.errors import ConfigError, HeadwayError, InputError

__all__ = ["app", "main"]

app = typer.Typer(
    name="headway",
    help="The performance engine for applications that call language models: faster, cheaper, proven by measurement.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(ask)
app.command()(bench)
app.command()(compare)
app.command()(compress)
app.command()(lint)
app.command()(demo)
app.command()(doctor)
app.command()(init)
app.command()(log)
app.command()(optimize)
app.command()(pipelines)
app.command()(regions)
app.command()(serve)
app.command()(sim)
app.command()(summarize)
app.add_typer(cache, name="cache")
app.add_typer(keys, name="keys")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from headway import __version__

        typer.echo(f"headway {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """The `headway` command. Errors are one sentence on stderr, never a traceback."""
    try:
        app()
    except (ConfigError, InputError) as error:
        sys.stderr.write(f"headway: {error}\n")
        sys.exit(2)
    except HeadwayError as error:
        sys.stderr.write(f"headway: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our pipe left (`| head`): that is its right, and no error of ours.
        sys.stderr.close()
        sys.exit(0)
