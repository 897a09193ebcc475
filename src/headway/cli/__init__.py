"""The command line: one file a command; this one only dispatches.

Exit codes: 0 done, 1 it failed (some rows failed, the provider is down), 2 the call is wrong (a setting, a column, a
file), 130 interrupted. What a human reads goes to stderr, what a pipe reads to stdout.
"""

from __future__ import annotations

import signal
import sys
from functools import cache as once
from typing import TYPE_CHECKING, Any

from headway.errors import ConfigError, HeadwayError, InputError

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def main() -> None:
    """The `headway` command. Errors are one sentence on stderr, never a traceback."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked == "serve" and hasattr(signal, "pthread_sigmask"):
        # Before the imports, for they take their time: SIGHUP is a reload, and waits (see `gateway.hangup`).
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    from headway.cli.commands import COMMANDS, app_of

    try:
        (app_of([asked]) if asked in COMMANDS else _whole())()
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


@once
def _whole() -> typer.Typer:
    from headway.cli.commands import COMMANDS, app_of

    return app_of(COMMANDS)


def __getattr__(name: str) -> Any:
    """`app`, with every command, is made when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _whole()
