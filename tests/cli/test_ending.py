"""How commands end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import typer

from headway.cli import ending
from headway.cli.ending import exits, reader_may_leave, write_texts
from headway.errors import ConfigError, HeadwayError, InputError
from headway.store.call_log import CallLog
from headway.types import Trace


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("a"), 2, "headway x: a\n"),
        (InputError("b"), 2, "headway x: b\n"),
        (HeadwayError("c"), 1, "headway x: c\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_errors_are_a_line_and_an_exit_code(error, code, said, capsys):
    """2 for the call and the input, 1 for what went wrong, 130 for Ctrl-C; all on stderr."""
    with pytest.raises(typer.Exit) as left, exits("x", interrupted="stopped"):
        raise error
    assert (left.value.exit_code, capsys.readouterr()) == (code, ("", said))


def test_what_is_said_after_ctrl_c_may_be_found_out_then(capsys):
    """What is known is only known at the end."""
    known = []
    with pytest.raises(typer.Exit), exits("x", interrupted=lambda: ", ".join(known)):
        known.append("a step")
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "a step\n"


def test_files_that_cannot_be_written_are_named(tmp_path):
    """Those that are not asked for are passed over; the one that fails is in the message."""
    write_texts("x\n", (None, tmp_path / "a"))
    assert (tmp_path / "a").read_text() == "x\n"
    with pytest.raises(InputError, match="gone/b cannot be written"):
        write_texts("x\n", (tmp_path / "gone" / "b",))


def test_an_error_of_a_file_is_not_standard_outputs(tmp_path, monkeypatch):
    """What cannot be written is told of standard output only where it is that."""
    with pytest.raises(FileNotFoundError), reader_may_leave():
        (tmp_path / "none").read_text()
    left = []
    monkeypatch.setattr(ending, "leave_stdout", lambda: left.append(True))
    told = "standard output cannot be written: No space left; mend that"
    with pytest.raises(HeadwayError, match=told), reader_may_leave():
        raise OSError(errno.ENOSPC, "No space left")
    assert left == [True]


@pytest.mark.parametrize("command", [("doctor", "--offline"), ("doctor", "--offline", "--explain"), ("log",)])
def test_a_reader_may_leave_early(command, tmp_path):
    """`headway doctor | head -1`: nobody reads on, which is no failure, and nothing is said of it."""
    environ = {**os.environ, "HEADWAY_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-own"}
    log = CallLog(tmp_path / "calls.sqlite")
    log.write(Trace("call", "c1", 50.0, 1_000.0))
    log.close()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from headway.cli import main; main()", *command],
            cwd=tmp_path, env=environ, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
