"""`headway lint` as a command: files, exit codes, JSON, SARIF, fixes in place, and the page that describes it."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from typer.testing import CliRunner, Result

from headway import Engine
from headway.cli import app
from headway.prompts.lint.registry import RULES
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

ROOT = Path(__file__).parents[2]
DIRTY = "Answer in one sentence.  \n\nQuestion: {text}\n"
CLEAN = "Answer in one sentence.\n\nQuestion: {text}\n"

SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "minItems": 1,
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "rules", "semanticVersion"],
                                "properties": {"rules": {"items": {"$ref": "#/$defs/rule"}}},
                            }
                        },
                    },
                    "results": {"items": {"$ref": "#/$defs/result"}},
                },
            },
        },
    },
    "$defs": {
        "message": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "rule": {
            "required": ["id", "shortDescription", "fullDescription", "help"],
            "properties": {
                "id": {"type": "string"},
                "shortDescription": {"$ref": "#/$defs/message"},
                "fullDescription": {"$ref": "#/$defs/message"},
                "help": {"$ref": "#/$defs/message"},
                "defaultConfiguration": {"properties": {"level": {"$ref": "#/$defs/level"}}},
            },
        },
        "result": {
            "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
            "properties": {
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"$ref": "#/$defs/level"},
                "message": {"$ref": "#/$defs/message"},
                "locations": {
                    "minItems": 1,
                    "items": {
                        "required": ["physicalLocation"],
                        "properties": {
                            "physicalLocation": {
                                "required": ["artifactLocation", "region"],
                                "properties": {
                                    "artifactLocation": {
                                        "required": ["uri"],
                                        "properties": {"uri": {"type": "string", "pattern": "^[^ \\\\]+$"}},
                                    },
                                    "region": {
                                        "required": ["startLine", "startColumn", "endLine", "endColumn"],
                                        "additionalProperties": {"type": "integer", "minimum": 1},
                                    },
                                },
                            }
                        },
                    },
                },
            },
        },
    },
}
"""What SARIF 2.1.0 and GitHub's reading of it ask of the fields that are written."""


def lint(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(app, ["lint", *map(str, arguments)], input=given)


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """A prompt with one space too many at a line's end."""
    file = tmp_path / "my prompt.md"
    file.write_text(DIRTY, "utf-8")
    return file


def test_exit_codes(dirty: Path, tmp_path: Path):
    """0 clean, 1 found, 2 wrong call; --level decides what counts."""
    assert lint(dirty).exit_code == 1
    dirty.write_text(CLEAN, "utf-8")
    assert lint(dirty).exit_code == 0
    dirty.write_text("Please " + CLEAN, "utf-8")
    assert lint(dirty, "--level", "auto").exit_code == 0
    assert lint(dirty, "--level", "suggest").exit_code == 1
    assert lint(dirty, "--ignore", "filler").exit_code == 0
    for wrong in ([], [tmp_path / "no.md"], [dirty, "--select", "HW999"], [tmp_path / "*.txt"], ["--explain", "HW999"]):
        assert lint(*wrong).exit_code == 2
        assert "headway lint: " in lint(*wrong).stderr


def test_data_is_no_prompt(dirty: Path):
    """A table of rows would be linted as if it were words; a pattern passes over it."""
    rows = dirty.with_name("rows.csv")
    rows.write_text("text,label\nHello,x\n", "utf-8")
    done = lint(rows)
    assert done.exit_code == 2
    assert "rows.csv is data, not a prompt" in done.stderr
    assert "--input or --verify" in done.stderr
    assert lint(str(dirty.parent / "*")).exit_code == 1


def test_findings_are_shown_with_place_and_estimate(dirty: Path):
    """The line, the rule, its tier, the words, and what it all comes to."""
    dirty.write_text("Please " + CLEAN, "utf-8")
    out = lint(dirty, "--model", "gpt-5.4-mini").stdout
    assert re.search(r'1:1 +HW202 +suggest .*\n +\d tokens?, \$0\.\d+ per 1,000, 0\.\d ms +"Please"', out)
    assert "1 finding in" in out


def test_fix_changes_the_file_and_keeps_its_rights(dirty: Path):
    """Only with --fix; once is enough; nothing is left beside it."""
    dirty.chmod(0o640)
    assert lint(dirty, "--diff").exit_code == 1
    assert dirty.read_text("utf-8") == DIRTY
    done = lint(dirty, "--fix", "--diff")
    assert done.exit_code == 0
    assert "-Answer in one sentence.  \n+Answer in one sentence.\n" in done.stdout
    assert dirty.read_text("utf-8") == CLEAN
    assert stat.S_IMODE(dirty.stat().st_mode) == 0o640
    assert [file.name for file in dirty.parent.iterdir()] == [dirty.name]
    assert lint(dirty, "--fix").stderr == ""


def test_standard_input(tmp_path: Path):
    """A prompt may come through a pipe; with --fix it comes out mended."""
    assert lint("-", given=DIRTY).exit_code == 1
    assert lint("-", "--fix", "--quiet", given=DIRTY).stdout == CLEAN


def test_json(dirty: Path):
    """Findings and sums, as the page on linting says."""
    tree = json.loads(lint(dirty, "--json").stdout)
    (one,) = tree["findings"]
    assert (one["rule"], one["tier"], one["where"]["line"]) == ("HW102", "auto", 1)
    assert tree["totals"]["tiers"] == {"auto": 1, "suggest": 0, "never": 0}
    assert (tree["version"], tree["files"]) == (1, [str(dirty)])


def test_sarif(dirty: Path, tmp_path: Path):
    """The fields that editors and CI need are there, for every rule and result."""
    dirty.write_text(DIRTY + '\nToday is 2026-11-21.\n{\n  "a": 1,\n  "b": 2\n}\nThanks!\n', "utf-8")
    assert lint(dirty, "--sarif", tmp_path / "out.sarif").exit_code == 1
    tree = json.loads((tmp_path / "out.sarif").read_text("utf-8"))
    jsonschema_rs.validator_for(SARIF).validate(tree)
    run = tree["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.id for rule in RULES]
    assert {result["ruleId"] for result in run["results"]} >= {"HW101", "HW102", "HW204"}
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert len({result["partialFingerprints"]["headwayLint/v1"] for result in run["results"]}) == len(run["results"])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explain(rule: Any):
    """Every rule can say what it finds and why, by its id or its name."""
    assert rule.reason in lint("--explain", rule.id).stdout
    assert lint("--explain", rule.name).exit_code == 0


def test_patterns_and_tasks_side_by_side():
    """A pattern stands for its files; tasks that could be one call are told."""
    done = lint(str(ROOT / "examples" / "*.toml"), "--json")
    tree = json.loads(done.stdout)
    assert len(tree["files"]) == len(list((ROOT / "examples").glob("*.toml")))
    rules = {one["rule"] for one in tree["findings"] if one["where"]["file"].endswith("verbose.toml")}
    assert {"HW202", "HW203", "HW204", "HW205", "HW207"} <= rules


def test_call_log(tmp_path: Path):
    """A real call log, told from its first bytes; and as --log beside the task that wrote it."""
    log, task = tmp_path / "calls.sqlite", tmp_path / "task.toml"
    task.write_text('model = "gpt-5.4-mini"\nprompt = "Name the topic: {text}"\nmax_output_tokens = 4000\n', "utf-8")

    async def main() -> None:
        from headway import Task

        simulator = Simulator(SimSettings(seed=1))
        rows = [{"text": "the same text"} for _ in range(120)]
        options = {"cache": "off", "log": str(log), "log_level": "off", "seed": 1}
        async with Engine(handler=simulator.handler, api_key="k", **options) as engine:
            async for _ in engine.map(rows, Task.load(task)):
                pass

    virtual_run(main)
    alone = json.loads(lint(log, "--json").stdout)
    assert "HW403" in {one["rule"] for one in alone["findings"]}
    assert not any(one["quote"] for one in alone["findings"])
    both = json.loads(lint(task, "--log", log, "--json").stdout)
    (bound,) = [one for one in both["findings"] if one["rule"] == "HW403"]
    assert bound["change"]["key"] == "max_output_tokens"
    assert bound["where"]["line"] == 3


def test_page_has_every_rule():
    """The table in docs/linting.md is the registry's."""
    page = (ROOT / "docs" / "linting.md").read_text("utf-8")
    rows = re.findall(r"^\| (HW\d+) \| ([\w-]+) \| (\w+) \| (.*?) \| .* \|$", page, re.MULTILINE)
    assert rows == [(rule.id, rule.name, rule.tier, rule.title) for rule in RULES]
