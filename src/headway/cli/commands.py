"""Which commands there are. Whoever runs one waits for the import of that one only: all of them take half a second."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

__all__ = ["COMMANDS", "app_of"]

COMMANDS: Final = (
    "run",
    "ask",
    "bench",
    "compare",
    "compress",
    "lint",
    "demo",
    "doctor",
    "init",
    "log",
    "optimize",
    "pipelines",
    "regions",
    "serve",
    "sim",
    "summarize",
    "cache",
    "keys",
)
"""Each is the function, or the group of commands, of that name in the module of that name; in the order of the help."""


def app_of(names: Sequence[str]) -> typer.Typer:
    """The command line with those commands only."""
    app = typer.Typer(
        name="headway",
        help="The performance engine for applications that call language models: faster, cheaper, proven by "
        "measurement.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for name in names:
        command = getattr(import_module(f"headway.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command()(command)
    return app


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
