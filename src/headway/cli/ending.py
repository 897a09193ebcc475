"""How commands end: errors in a line, exit codes, results as JSON, as a page or on the terminal."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import typer

from headway.errors import ConfigError, HeadwayError, InputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "call_log_path",
    "exits",
    "leave_stdout",
    "print_json",
    "print_table",
    "reader_may_leave",
    "show",
    "stdout_refused",
    "write_texts",
]


class Result(Protocol):
    """What a command found."""

    @property
    def sentence(self) -> str:
        """It in a sentence."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """It in plain values."""
        ...


R = TypeVar("R", bound=Result)


@contextmanager
def exits(command: str, *, interrupted: str | Callable[[], str] = "") -> Iterator[None]:
    """The errors of a command as one line and an exit code: 2 the call or the input, 1 any other, 130 Ctrl-C.

    Args:
        command: Its name.
        interrupted: What is said after Ctrl-C, or what gives it then.
    """
    try:
        yield
    except HeadwayError as error:
        typer.echo(f"headway {command}: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError | InputError) else 1) from None
    except KeyboardInterrupt:
        said = interrupted if isinstance(interrupted, str) else interrupted()
        if said:
            typer.echo(said, err=True)
        raise typer.Exit(130) from None


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads what is printed here may leave early (`| head`), which is no reason for another exit code."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        leave_stdout()
    except OSError as error:
        if error.filename is not None:
            raise  # a file's, not standard output's
        raise stdout_refused(error) from None


def stdout_refused(error: OSError, way_on: str = "mend that, and start it again") -> HeadwayError:
    """Standard output takes nothing more, e.g. because the disk is full: say so, once, also when the program ends."""
    leave_stdout()
    return HeadwayError(f"standard output cannot be written: {error.strerror or error}; {way_on}")


def leave_stdout() -> None:
    """What is still to be flushed to standard output goes nowhere: nobody takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(table: Callable[[Console, int], None], *, width_min: int = 0) -> None:
    """Print for people; `table` gets the console, at least `width_min` columns wide, and how wide it is really."""
    from rich.console import Console

    console = Console(highlight=False)
    width = console.width
    console.width = max(width, width_min)
    with console.capture() as shown:
        table(console, width)
    sys.stdout.write(shown.get())  # written by rich itself, a reader that has left would end the program


def print_json(tree: Any) -> None:
    """A line of JSON, written at once.

    Raises:
        BrokenPipeError: Its reader is gone.
        HeadwayError: Standard output takes nothing more.
    """
    import msgspec

    line = msgspec.json.encode(tree).decode() + "\n"
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise stdout_refused(error) from None


def show(
    done: R,
    *,
    page: Callable[[R, str], str],
    table: Callable[[R, Console, int], None],
    json: bool,
    quiet: bool,
    report: Path | None,
    width_min: int = 0,
) -> None:
    """A result as it was asked for.

    Args:
        done: The result.
        page: Its page, and the command that is named there.
        table: Prints it for people; see `print_table`, also for `width_min`.
        json: Print all of it as JSON.
        quiet: Print its sentence only.
        report: Where the page is written.

    Raises:
        ConfigError: The page cannot be written there.
    """
    if report is not None:
        from headway.report.written import write_page

        write_page(report, page(done, shlex.join(["headway", *sys.argv[1:]])))
    with reader_may_leave():
        if json:
            print_json(done.to_dict())
        elif quiet:
            typer.echo(done.sentence)
        else:
            print_table(lambda console, width: table(done, console, width), width_min=width_min)
            if report is not None:
                typer.echo(f"Report: {report}")


def write_texts(text: str, paths: Sequence[Path | None]) -> None:
    """Write a text to those of the files that are named. Raises `InputError` where that is not possible."""
    for path in paths:
        try:
            if path is not None:
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def call_log_path() -> Path:
    """The log that runs from here would write, unless a headway.toml says otherwise: then name it with --file."""
    from headway.config import state_dir

    name = os.environ.get("HEADWAY_LOG", "on")
    return Path(name) if name not in ("on", "off", "true", "false") else state_dir(os.environ) / "calls.sqlite"
