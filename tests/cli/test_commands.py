"""One command is imported, not all of them; and it is the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.cli.commands import COMMANDS, app_of


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_by_itself_says_what_it_says_among_all(name):
    """Whoever runs one gets an application that holds that one only."""
    runner = CliRunner(env={"COLUMNS": "100"})
    alone, among = runner.invoke(app_of([name]), [name, "--help"]), runner.invoke(app, [name, "--help"])
    assert (alone.exit_code, alone.output) == (among.exit_code, among.output)
    assert alone.exit_code == 0


def test_serve_waits_for_no_other_command(tmp_path):
    """A gateway is there sooner, and smaller, without the engine's batch jobs, the simulator and their like."""
    code = (
        "import contextlib, sys; from headway.cli import main\n"
        "sys.argv[:] = ['headway', 'serve', '--check']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(*(name for name in ('jobs', 'sim', 'measure', 'cli.run') if f'headway.{name}' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == ""
