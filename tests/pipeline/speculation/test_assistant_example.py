"""examples/assistant.py, run as it stands without a key, on virtual time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from headway.testing import virtual_run

EXAMPLE = Path(__file__).parents[3] / "examples" / "assistant.py"


def test_the_assistants_usual_follow_ups_are_there(capsys, monkeypatch):
    """What most customers ask next is there at once, what hardly anybody does is waited for, and the waste is told."""
    for name in ("OPENAI_API_KEY", "HEADWAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location("assistant", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    virtual_run(program.main)
    lines = capsys.readouterr().out.splitlines()
    waits = {tuple(line.split()[:3:2]): float(line.split()[3]) for line in lines if " words " in line}
    assert max(waits["brass", "price"], waits["brass", "delivery"], waits["paper", "price"]) < 0.01
    assert min(waits["brass", "overview"], waits["paper", "returns"]) > 0.5
    assert "5 fetched ahead, 4 asked for" in "\n".join(lines)
    assert lines[-1].startswith("$0.000")
