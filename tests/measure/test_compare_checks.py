"""What makes an answer right: checkers, judges, and rows that cannot be judged."""

from __future__ import annotations

import asyncio

import pytest

from headway import ConfigError, InputError, Task
from headway.measure.compare.checkers import MISSING, checker_of, marked
from headway.measure.compare.judge import Judge
from headway.measure.compare.opening import own_check
from headway.measure.compare.variant import Variant
from headway.prompts.taskfile import load_task
from headway.types import Result

from .compare_world import MODELS, Plays, World, compared, rows, variant

A, B = variant("a"), variant("b")
ROW = {"right": " Yes ", "n": "1"}


def mark(checker, text="yes", *, value=None, outcome="ok", row=None):
    result = Result(index=0, row=row or ROW, value=text if value is None else value, text=text, outcome=outcome)
    return asyncio.run(marked(checker, row or ROW, result))


def test_an_exact_label_is_right_but_for_case_and_spaces():
    """The row's column decides; without an entry there is no mark, whatever was answered."""
    check = checker_of("exact", "right")
    assert mark(check).value == 1.0
    assert mark(check, "no").value == 0.0
    assert mark(check, row={"right": ""}) == (None, MISSING, False)
    assert mark(check, outcome="invalid_output", row={"right": ""}).value is None
    assert mark(checker_of("exact:right")).value == 1.0


def test_what_broke_its_form_is_wrong_and_what_did_not_come_is_no_answer():
    """0 for the one, no mark for the other, under every check."""
    for spec in ("exact:right", "schema", "regex:."):
        assert mark(checker_of(spec), outcome="invalid_output").value == 0.0
        assert mark(checker_of(spec), outcome="server_error").value is None
    assert mark(checker_of("schema")).value == 1.0


def test_a_schema_and_a_pattern(tmp_path):
    """The text has to fit the file's schema; the pattern has to be found in it."""
    file = tmp_path / "s.json"
    file.write_text('{"type": "object", "required": ["n"]}')
    check = checker_of(f"schema:{file}")
    assert (mark(check, '{"n": 1}').value, mark(check, "{}").value, mark(check, "no JSON").value) == (1.0, 0.0, 0.0)
    assert mark(checker_of("regex:^y.s$")).value == 1.0
    assert mark(checker_of("regex:^y.s$"), "yes.").value == 0.0


def test_a_function_of_ones_own(tmp_path):
    """From a file or a module, sync or async; true, false or a score."""
    file = tmp_path / "mine.py"
    file.write_text(
        "async def half(row, value, text):\n    return 0.5\n"
        "def same(row, value, text):\n    return value == text\n"
        "def bad(row, value, text):\n    return 'fine'\n"
        "def oops(row, value, text):\n    return row['gone']\n"
        "class Mine(Exception): pass\n"
        "async def own(row, value, text):\n    raise Mine('of my own kind')\n"
    )
    assert mark(checker_of(f"python:{file}:own")).note == "the check failed (Mine: of my own kind)"
    assert mark(checker_of(f"python:{file}:half")).value == 0.5
    assert mark(checker_of(f"python:{file}:same")).value == 1.0
    assert mark(checker_of("python:operator:contains"), row=ROW).raised  # takes two arguments, not three
    bad = mark(checker_of(f"python:{file}:bad"))
    assert (bad.value, bad.raised) == (None, True)
    assert "returned 'fine'" in bad.note
    oops = mark(checker_of(f"python:{file}:oops"))
    assert "KeyError: 'gone'" in oops.note


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("exact", "no task names its 'expected' column"),
        ("regex:(", "is no regular expression"),
        ("regex:", "there is no such check"),
        ("nice", "there is no such check"),
        ("schema:gone.json", "cannot be read"),
        ("python:json", "names no function"),
        ("python:json:gone", "has no function 'gone'"),
        ("python:no_such_module:f", "cannot be imported"),
        ("judge:gone.toml", "cannot be read"),
    ],
)
def test_a_check_that_cannot_be_had_is_a_wrong_call(spec, said):
    """Found before anything is sent."""
    with pytest.raises(ConfigError, match=said):
        checker_of(spec)


def test_a_check_that_fails_on_some_rows_leaves_them_unscored():
    """They are counted, with the first reason; the others decide."""

    def check(row, value, text):
        if int(row["n"]) % 5 == 0:
            raise RuntimeError("no idea")
        return value == row["right"]

    done = compared(World(), A, B, rows(50), checker=check, early=False)
    assert (done.unscored, done.findings.quality.rows, done.findings.quality.unscored) == (10, 40, 10)
    assert done.unscored_first == "the check failed (RuntimeError: no idea)"
    assert "The check failed on 10 of 50 rows." in done.notes


def test_a_check_that_always_fails_is_an_error():
    """It names the first failure: no verdict comes out of it."""

    def check(row, value, text):
        raise ZeroDivisionError("never")

    with pytest.raises(InputError, match=r"no mark on any of \d+ rows; the first time: .*ZeroDivisionError: never"):
        compared(World(), A, B, rows(30), checker=check)


def test_a_column_without_any_right_answer_is_an_error_before_anything_is_sent():
    """Misspelt in --check or in the task: no verdict that quality has no say in."""
    world = World()
    for a, checker in ((A, checker_of("exact:rihgt")), (variant("a", task={"expected": "rihgt"}), None)):
        with pytest.raises(InputError, match="no row has a right answer in column 'rihgt'; there is n, text, right"):
            compared(world, a, B, rows(30), checker=checker)
    assert world.seen == []


def test_a_check_that_never_has_anything_to_say_is_an_error():
    """None for every row: a check was asked for, and there was none."""
    with pytest.raises(InputError, match=r"no mark on any of \d+ rows; the first time: the row has no right answer"):
        compared(World(), A, B, rows(30), checker=lambda row, value, text: None)


def test_rows_without_a_right_answer_are_counted_apart():
    """They count for latency and cost, not for quality."""
    given = [{**row, "right": row["right"] if i % 3 else ""} for i, row in enumerate(rows(60))]
    done = compared(World(), A, B, given, early=False)
    assert (done.missing, done.unscored) == (20, 0)
    assert done.findings.quality.rows == 40
    assert done.findings.metric("latency").rows == 60
    assert "20 of 60 rows have no right answer to compare with." in done.notes


def test_without_a_check_nothing_is_said_of_quality():
    """No expected column, no check: a note, and no claim of not being inferior."""
    one, other = (variant(side, task={"expected": ""}) for side in "ab")
    done = compared(World(), one, other, rows(40))
    assert done.findings.quality.kind == "none"
    assert not done.not_inferior
    assert any("--check" in note for note in done.notes)


def test_each_output_of_a_task_with_several_is_marked(tmp_path):
    """The mark is the share of those that are right, of those whose right value is known."""
    file = tmp_path / "t.toml"
    file.write_text(
        'model = "gpt-4.1-mini"\nprompt = "{text}"\n'
        '[outputs.queue]\nlabels = ["x", "y"]\nexpected = "right"\n[outputs.tone]\nlabels = ["p", "q"]\nexpected = "t"\n'
    )
    task = load_task(file)
    check = own_check(task, task)
    row = {"right": "x", "t": "q"}
    assert mark(check, "{}", value={"queue": "x", "tone": "p"}, row=row).value == 0.5
    assert mark(check, "{}", value={"queue": "x", "tone": "p"}, row={"right": "x", "t": ""}).value == 1.0
    assert mark(check, "{}", value={}, row={"id": 1}).value is None


# -- a judge -----------------------------------------------------------------------------------------------------------


def judge(**task) -> Judge:
    given = {"model": "gpt-4o", "prompt": "{text} / {answer}", "labels": ("good", "fair", "bad")} | task
    return Judge(Variant(name="judge", task=Task(**given)))


def verdict(prompt: str) -> str:
    text, _, answer = prompt.partition(" / ")
    return "good" if answer == text.rpartition(" ")[2] else "bad"


def test_a_judge_marks_answers_without_knowing_the_sides():
    """A call for each answer, one for two that are equal; labels go from 1 to 0; its cost is told apart."""
    world = World(b=Plays(answer=lambda prompt: "yes"), judge=Plays(latency_s=0.1, answer=verdict, output_tokens=1))
    done = compared(world, A, B, rows(40), checker=judge(), engine={"budget_usd": 1.0})
    assert done.findings.quality.verdict == "worse"
    asked = {prompt for model, prompt in world.seen if model == "gpt-4o"}
    assert asked == {"it is yes / yes", "it is no / no", "it is no / yes"}  # equal answers to equal texts: asked once
    assert 0 < done.dollars_judge < done.dollars
    assert done.dollars_judge == pytest.approx(3 * (50 * 2.5 + 10) / 1e6)


def test_a_judges_numbers_are_taken_as_they_are():
    """0..1, alone or as an object's "score"; anything else is no mark."""
    plain = {"labels": ()}
    for said, value in (("0.25", 0.25), ("1", 1.0)):
        assert judge(**plain)._mark(said) == value
    assert judge(**plain)._mark({"score": 0.5}) == 0.5
    assert [judge()._mark(label) for label in ("good", "fair", "bad")] == [1.0, 0.5, 0.0]
    for said in ("7", "nan", "fine", {"mark": 1}, None):
        with pytest.raises(ValueError, match="no number from 0 to 1"):
            judge(**plain)._mark(said)


def test_a_judge_has_to_see_the_answer():
    """A prompt without {answer} would judge the row."""
    with pytest.raises(ConfigError, match="has to name \\{answer\\}"):
        judge(prompt="{text}")


def test_a_judge_that_fails_is_a_check_that_fails():
    """The reason is its error; when it never answers, the comparison is an error."""
    world = World(judge=Plays(status=lambda n: 500))
    with pytest.raises(InputError, match=r"the judge gave no mark: .*500"):
        compared(world, A, B, rows(30), checker=judge())


def test_the_judge_is_under_the_cap():
    """All three together stay below it."""
    long = Plays(output_tokens=16, answer=lambda prompt: f"{prompt.rpartition(' ')[2]}")
    world = World(a=long, b=long, judge=Plays(latency_s=0.1, answer=verdict, output_tokens=16))
    world_rows = [{**row, "text": f"{row['n']} is {row['right']}"} for row in rows(200)]
    done = compared(world, A, B, world_rows, checker=judge(), usd_max=0.01, engine={"budget_usd": 0.01}, early=False)
    assert done.stopped == "money"
    assert 0 < done.rows < 200
    assert 0.004 < done.dollars <= 0.01
    assert world.calls["gpt-4o"] >= done.rows
    assert world.calls[MODELS["a"]] == world.calls[MODELS["b"]] + 2 * done.noise.rows
