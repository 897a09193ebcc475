"""The `llm` command in an environment of its own, all calls in one process; run by `test_clients_tools.py`."""

from __future__ import annotations

from click.testing import CliRunner
from llm.cli import cli


def llm(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.output.strip()


def main() -> None:
    streamed = llm("-m", "chat", "Write 12 words about tides.")
    assert len(streamed.split()) == 12
    assert llm("-m", "chat", "--no-stream", "Write 12 words about tides.") == streamed
    assert llm("-m", "responses", "Write 12 words about tides.")
    refused = CliRunner().invoke(cli, ("-m", "none", "Hello"))
    assert refused.exit_code != 0
    assert "unheard-of" in refused.output


main()
