"""`headway init`: a configuration to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headway.cli.ending import exits, reader_may_leave
from headway.errors import InputError

__all__ = ["init"]

_HELP = """
Write a headway.toml to start from: every setting with its meaning and its default.

All of it is commented out, so that it changes nothing until you do. A file that is there already stays as it is.

Examples:

  headway init                            # headway.toml, here

  headway init conf/gateway.toml          # another name, to be given with --config

  headway init --stdout | less            # only look

Exit codes: 0 written, 2 the file exists or cannot be written.
"""


def init(
    file: Annotated[Path, typer.Argument(help="Where to.")] = Path("headway.toml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print it, write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False,
) -> None:
    """Write a headway.toml to start from: every setting with its meaning and its default."""
    with exits("init"):
        from headway.config.starter import starter

        if stdout:
            with reader_may_leave():
                typer.echo(starter(), nl=False)
            return
        _write(file, starter(), force=force)
        if not quiet:
            typer.echo(f"{file} is written. What holds: headway doctor --config {file} --explain")


init.__doc__ = _HELP


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise InputError(f"{file} exists; name another file, or overwrite it with --force") from None
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror or error}") from None
