"""`headway log` says what the provider's prompt cache came to."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from headway import Engine
from headway.cli import app
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

SYSTEM = "You label questions, by these rules. " * 300
BLOCK = {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}


def shown(tmp_path, calls: int, system: object) -> str:
    """The log of so many calls, one after the other."""
    log = tmp_path / "calls.sqlite"

    async def main() -> None:
        simulator = Simulator(SimSettings(seed=1))
        async with Engine(handler=simulator.handler, api_key="k", log=str(log), log_level="off", seed=1) as engine:
            for n in range(calls):
                turns = [{"role": "user", "content": f"Question {n}"}]
                body = {"model": "claude-sonnet-5", "max_tokens": 9, "system": system, "messages": turns}
                await engine.send("/v1/messages", body)

    virtual_run(main)
    done = CliRunner().invoke(app, ["log", "--file", str(log)])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("calls", "told"), [(5, "saved $0.0"), (1, "0 tokens read, lost $0.00")])
def test_the_net_of_the_calls_shown_is_told(calls, told, tmp_path):
    """One write and four reads saved money; a write alone lost some."""
    assert told in shown(tmp_path, calls, [BLOCK])


def test_nothing_is_said_where_there_was_none(tmp_path):
    """No line about what was not used."""
    assert "prompt cache" not in shown(tmp_path, 2, SYSTEM)
