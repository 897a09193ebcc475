"""`headway init` writes a file, and never over another."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.config import Settings, load_settings
from headway.config.starter import starter


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A directory of its own."""
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_it_writes_a_file_that_changes_nothing(tmp_path):
    """headway.toml in the working directory, found there by an engine."""
    done = invoke()
    assert done.exit_code == 0, done.output
    assert "headway doctor --config headway.toml" in done.stdout
    assert (tmp_path / "headway.toml").read_text("utf-8") == starter()
    assert load_settings(environ={}) == Settings()


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    """Exit code 2 and a remedy; --force is the only way over it."""
    file = tmp_path / "headway.toml"
    file.write_text("mine")
    done = invoke()
    assert (done.exit_code, file.read_text()) == (2, "mine")
    assert "overwrite it with --force" in done.stderr
    assert invoke("--force", "--quiet").stdout == ""
    assert file.read_text("utf-8") == starter()


def test_it_can_be_looked_at_and_go_elsewhere(tmp_path):
    """--stdout writes nothing; a name is taken; a place that is none is said."""
    assert invoke("--stdout").stdout == starter()
    assert not (tmp_path / "headway.toml").exists()
    assert invoke("gateway.toml").exit_code == 0
    assert (tmp_path / "gateway.toml").exists()
    done = invoke("none/gateway.toml")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
