"""`headway log` on a narrow terminal."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.store.call_log import CallLog
from headway.types import Trace

CODE = "a_word_for_what_went_wrong_that_is_long"


@pytest.mark.parametrize(("columns", "shown"), [(80, "a_wor"), (40, "a_wor"), (200, CODE)])
def test_answers_are_cut_and_figures_are_not(columns, shown, tmp_path, monkeypatch):
    """One line a call; the times are whole at any width, and an error's code where there is room."""
    log = CallLog(tmp_path / "calls.sqlite")
    trace = Trace("call", "c1", 50.0, 1_000.0)
    trace.outcome, trace.error_code, trace.dollars, trace.wait_s = "client_error", CODE, 0.125, 0.0
    trace.sent_at_s, trace.first_byte_at_s, trace.ended_at_s = 50.0, 1_284.5, 1_284.5
    log.write(trace)
    log.close()
    monkeypatch.setenv("COLUMNS", str(columns))
    done = CliRunner().invoke(app, ["log", "--file", str(tmp_path / "calls.sqlite")])
    head, line, *_ = done.stdout.splitlines()
    assert "net+queue" in head
    assert shown in line
    assert line.count("1234.500") >= 2
    assert ("…" in line) == (columns < 200)
