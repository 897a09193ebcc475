"""The pipelines of examples/, run as they stand without a key, on virtual time."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from headway.testing import virtual_run

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_three_ways_give_the_same_answers_in_less_time(capsys):
    """examples/pipeline_three.py: side by side takes the slowest of the three, merged one call; each has its waterfall."""
    virtual_run(example("pipeline_three").main)
    printed = capsys.readouterr().out
    answers = [line for line in printed.splitlines() if line.startswith(("(", "{"))]
    assert answers[0] == answers[1]
    assert "'label': 'shipping'" in answers[2]
    took = [float(line.split(" took ")[1].split()[0]) for line in printed.splitlines() if " took " in line]
    sequence, parallel, merged = took
    assert parallel < 0.5 * sequence
    assert merged < sequence
    for step in ("classify", "summarise", "keywords", "everything"):
        assert f"* {step}" in printed


def test_the_article_is_read_while_it_is_written(capsys):
    """examples/article.py: the facts beside the outline, the picture at the title, the text as it comes, a report."""
    program = example("article")
    virtual_run(lambda: program.main("the tides"))
    text, _, report = capsys.readouterr().out.partition("\n\n")
    assert len(text.split()) > 80
    assert report.startswith("article took ")
    assert "Critical path: outline -> write" in " ".join(report.split())


def test_the_pictures_step_starts_at_the_title():
    """Not at the outline's end."""
    program = example("article")

    async def main() -> dict[str, object]:
        async with program.engine() as engine, program.article.run("the tides", engine=engine) as run:
            await run.result()
        return {row.step: row for row in run.rows()}

    rows = virtual_run(main)
    assert [edge.kind for edge in rows["picture"].edges] == ["field"]
    assert rows["picture"].ready_s < rows["outline"].end_s
    assert rows["facts"].started_s == rows["outline"].started_s == 0.0
    assert rows["write"].ready_s == max(rows["outline"].end_s, rows["facts"].end_s)


def test_each_stage_of_the_tutorial_is_what_it_says(capsys, monkeypatch):
    """examples/pipeline_stages.py: each stage takes less, or shows its first word sooner, as its page tells."""
    for name in ("OPENAI_API_KEY", "HEADWAY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    virtual_run(lambda: example("pipeline_stages").main([0, 1, 2, 3, 4, 5, 6, 7]))
    printed = capsys.readouterr().out
    times = {
        int(line[0]): [float(word) for word in line.split() if word.replace(".", "").isdigit()]
        for line in printed.splitlines()
        if line[1:3] == ": "
    }
    first = {stage: found[0] for stage, found in times.items()}
    last = {stage: found[-1] for stage, found in times.items()}
    assert last[2] < 0.8 * last[1] < last[0]  # side by side
    assert first[3] < 0.8 * last[2]  # streamed
    assert last[4] > last[3]  # facts that need the outline
    assert last[5] < last[4] - 0.5  # and start at their question
    assert last[6] < 1.1 * last[5]  # nobody waits for the picture
    assert "picture" in printed
    assert "fetched ahead" in printed
    assert "1 of 1 asked for" in printed


@pytest.mark.parametrize("name", ["pipeline_three", "article", "pipeline_stages"])
def test_they_ask_the_provider_where_there_is_a_key(name, monkeypatch):
    """No simulator then."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    engine = example(name).engine()
    assert engine._handler is None
    assert json.dumps(engine.settings.base_url)
