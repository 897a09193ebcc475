"""Lint's rules one by one: what each sees in settings, rows and call logs, and what it is reckoned to save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headway.errors import ConfigError
from headway.prompts.lint.findings import Change, Finding
from headway.prompts.lint.observed import calls_of
from headway.prompts.lint.registry import RULES, chosen, rule_named
from headway.prompts.lint.run import edited, lint_task, lint_together
from headway.prompts.lint.source import Source, log_source, source_of
from headway.prompts.task import Task
from headway.store.rows import LogRow, encoded, row_of, snapshot, taken
from headway.types import Tags, Trace, Usage
from headway.wire.blocks import block_hashes

MODEL = "gpt-5.4-mini"


def call(at_s: float = 0.0, *, input_tokens: int = 300, output: int = 8, reasoning: int = 0, **fields: Any) -> LogRow:
    """A streamed call that was answered: 0.5 s to its first content, 10 ms for each token after it."""
    made = Trace("call", "c", at_s, 1_000.0 + at_s)
    made.outcome, made.stream, made.flight_id, made.model, made.path = "ok", True, "f", MODEL, "/v1/responses"
    made.first_content_at_s, made.ended_at_s = at_s + 0.5, at_s + 0.5 + 0.01 * (output - 1)
    made.usage = Usage(input_tokens=input_tokens, output_tokens=output, reasoning_tokens=reasoning)
    made.cache = "off"
    for name, value in fields.items():
        setattr(made, name, value)
    return row_of(taken(encoded(snapshot(made))))


def found(source: Source, rule: str) -> list[Finding]:
    return [one for one in lint_task(source) if one.rule == rule]


def only(source: Source, rule: str) -> Finding:
    one, *more = found(source, rule)
    assert not more
    return one


def prompt(text: str, **given: Any) -> Source:
    return source_of("p.md", text, "text", **given)


def task(raw: str, tmp_path: Path, **given: Any) -> Source:
    file = tmp_path / "task.toml"
    file.write_text(raw, "utf-8")
    return source_of(str(file), raw, "task", **given)


def test_ids_are_stable_and_unique():
    """Ids are what people write into --ignore: none may change its meaning."""
    assert len({rule.id for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.id for rule in RULES if rule.tier == "auto"] == ["HW101", "HW102", "HW103", "HW104"]
    assert [rule.id for rule in RULES if rule.tier == "never"] == ["HW210", "HW301"]
    assert [rule.id for rule in chosen(["HW1", "filler"], ["HW102"])] == ["HW101", "HW103", "HW104", "HW105", "HW202"]
    assert rule_named("hw205").name == "unused-reasoning"


@pytest.mark.parametrize("word", ["HW999", "fillers", ""])
def test_unknown_rules_are_refused(word: str):
    """A misspelled --ignore must not silently ignore nothing."""
    with pytest.raises(ConfigError, match="There is no rule"):
        chosen([], [word])


def test_estimate_in_tokens_dollars_and_time():
    """Tokens by the model's count, dollars for a thousand calls, 0.1 ms a token; no dollars where no price is known."""
    text = "Name the city.\n\nReturn the name alone and nothing else. Return the name alone and nothing else."
    priced, unpriced = only(prompt(text, model=MODEL), "HW104"), only(prompt(text), "HW104")
    assert priced.tokens_saved == unpriced.tokens_saved
    assert priced.tokens_saved is not None
    assert 8 <= priced.tokens_saved <= 12
    assert priced.dollars_per_1000 == pytest.approx(priced.tokens_saved * 0.75e-6 * 1_000)  # $0.75 for a million
    assert priced.ms_saved == pytest.approx(0.1 * priced.tokens_saved)
    assert unpriced.dollars_per_1000 is None


def test_places_are_those_of_the_file(tmp_path: Path):
    """Line and column of the TOML file, characters of the text."""
    one = only(task('model = "m"\nsystem = "Be  brief."\nprompt = "{text}"\n', tmp_path), "HW103")
    assert (one.where.key, one.where.line, one.where.column, one.where.start, one.where.end) == ("system", 2, 14, 3, 4)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Please make sure that you answer in French.", "Answer in French."),
        ("It is very important that you name one city.", "Name one city."),
        ("Name one city, please.", "Name one city."),
        ("Read it very carefully in order to answer.", "Read it carefully to answer."),
        ("Be as exact as you possibly can.", "Be exact."),
        ("Bitte nenne nur die Stadt.", "Nenne nur die Stadt."),
        ("You are a helpful, highly experienced editor. Cut it.", "You are an editor. Cut it."),
        ("Name one city.\nThanks a lot!\n", "Name one city.\n"),
        ("This is a really important rule.", "This is an important rule."),
        (
            "It is an extremely thorough one; read it very carefully.",
            "It is an extremely thorough one; read it carefully.",
        ),
        ("You are an extremely helpful, friendly clerk. Cut it.", "You are a clerk. Cut it."),
        ("1. Thanks a lot!\n2. Name one city.\n", "1. Thanks a lot!\n2. Name one city.\n"),
    ],
)
def test_wording_that_goes(text: str, left: str):
    """What is left of filler, praises and thanks is a sentence."""
    source = prompt(text)
    fixes = [one.fix for one in lint_task(source) if one.fix is not None]
    assert edited(source, fixes)[0].raw == left


@pytest.mark.parametrize(
    "text",
    [
        "Never write the word please.",
        'Answer with "please wait" when it is late.',
        "If the customer is very angry, escalate.",
        "The pleased customer is positive.",
        "Count the words thank and sorry.",
        "You are a lawyer.",
    ],
)
def test_wording_that_means_something_stays(text: str):
    """Words that are mentioned, or that make the difference, are no filler."""
    assert not lint_task(prompt(text), select=["HW202", "HW203", "HW204"])


def test_repetition_that_means_something_stays():
    """Steps, branches, fields, dialogues, songs and lists of data repeat themselves with reason."""
    texts = [
        "1. Call the tool.\n2. Edit the file.\n3. Call the tool.\n",
        "If it is new, greet them. Ask for the order number. If it is old, skip that. Ask for the order number.",
        "- name: the customer. Use null when there is none.\n- date: the day. Use null when there is none.\n",
        "Mark duplicates.\n\n- red apple pie\n- red apple pie\n- green pear cake\n",
        "USER\nName a good city.\nASSISTANT\nParis.\nUSER\nName a good city.\n",
        "Open the file. Then close the file again. Read it. Then close the file again.",
    ]
    for text in texts:
        assert not lint_task(prompt(text), select=["HW104"]), text


EXAMPLE = 'Example:\nOrder: two lamps for Kim\n{\n  "item": "lamp",\n  "count": 2\n}\n'


def test_an_example_that_stands_there_twice_is_one_finding():
    """Introduction, input and JSON are one passage; the second one goes, with the empty line that was its own."""
    one = only(prompt(f"Read the order.\n\n{EXAMPLE}\nBe brief.\n\n{EXAMPLE}\nNow the order."), "HW104")
    assert (one.tier, one.message) == ("auto", "6 lines said before, letter by letter, from line 3 on")
    source = prompt(f"Read the order.\n\n{EXAMPLE}\nBe brief.\n\n{EXAMPLE}\nNow the order.")
    assert edited(source, [one.fix])[0].raw == f"Read the order.\n\n{EXAMPLE}\nBe brief.\n\nNow the order."
    last = prompt(f"Read the order.\n\n{EXAMPLE}\n{EXAMPLE}")
    assert edited(last, [only(last, "HW104").fix])[0].raw == f"Read the order.\n\n{EXAMPLE}"


@pytest.mark.parametrize(
    "text",
    [
        f"{EXAMPLE}\n" + EXAMPLE.replace("2", "3"),
        f"{EXAMPLE}\nOrder: {{order}}\n\n{EXAMPLE}",
        '{\n  "a": 1,\n  "b": 22222222222222222222222222\n}\n\n' * 2,
        "Example:\n{}\n\nExample:\n{}\n",
    ],
)
def test_passages_that_are_not_the_same_stay(text: str):
    """Another value, a row's text in between, data without a word, or next to nothing."""
    assert not found(prompt(text), "HW104")


def test_code_that_stands_there_twice_is_only_told():
    """Code is never edited."""
    one = only(prompt(f"Do it.\n\nExample:\n```\n{EXAMPLE}```\n\nNow.\n\nExample:\n```\n{EXAMPLE}```\n"), "HW104")
    assert (one.tier, one.fix) == ("suggest", None)


def test_a_prompt_alone_does_not_say_what_is_read():
    """Reasoning before a label is only a fault if nobody reads it: told with that condition, without a fix."""
    one = only(prompt("Classify the mail. Explain your reasoning step by step, then write the label."), "HW205")
    assert (one.tier, one.fix) == ("suggest", None)
    assert "if only the label is read" in one.message
    assert not found(prompt("Solve the riddle. Explain your reasoning step by step."), "HW205")


def test_conflicts_are_told_and_never_fixed():
    """Two bounds, or a yes and a no: only the owner knows."""
    text = "Always write the summary in formal English.\n\nNever write the summary in formal English."
    one = only(prompt(text), "HW210")
    assert (one.tier, one.fix) == ("never", None)
    assert not found(prompt(text), "HW201")


def test_unused_reasoning_is_reckoned_in_output(tmp_path: Path):
    """Output tokens at the output's price; by the log's median where there is one, never above the bound."""
    raw = f'model = "{MODEL}"\nsystem = "Think step by step."\nprompt = "{{text}}"\nmax_output_tokens = 400\n[output]\nlabels = ["a", "b"]\n'
    assert only(task(raw, tmp_path), "HW205").output_tokens_saved == 100
    assert only(task(raw, tmp_path, calls=[call(output=208)]), "HW205").output_tokens_saved == 200
    assert not found(task(raw.replace("Think step", "Do not think step"), tmp_path), "HW205")
    assert not found(task(raw.split("[output]")[0], tmp_path), "HW205")


def test_prefix_just_under_the_minimum(tmp_path: Path):
    """By model: 1,024 tokens here, 4,096 there; silent when far below or above."""

    def of(tokens: int, model: str, api: str) -> list[Finding]:
        words = " ".join(f"city{number:04}" for number in range(tokens // 2 - 4))
        raw = f'model = "{model}"\napi = "{api}"\nsystem = "{words}"\nprompt = "{{text}}"\n'
        return found(task(raw, tmp_path), "HW302")

    assert of(900, MODEL, "responses")
    assert not of(400, MODEL, "responses")
    assert not of(1_200, MODEL, "responses")
    assert of(3_600, "claude-haiku-4-5", "messages")
    assert not of(900, "claude-haiku-4-5", "messages")


def test_bound_far_over_what_answers_take(tmp_path: Path):
    """From 100 answers on, with the bound that would do; a bound that fits is left alone."""
    raw = f'model = "{MODEL}"\nprompt = "{{text}}"\nmax_output_tokens = 4000\n'
    calls = [call(output=20 + number % 10) for number in range(100)]
    one = only(task(raw, tmp_path, calls=calls), "HW403")
    assert one.change == Change(key="max_output_tokens", value=40)
    assert one.where.line == 3
    assert not found(task(raw, tmp_path, calls=calls[:99]), "HW403")
    assert not found(task(raw.replace("4000", "64"), tmp_path, calls=calls), "HW403")


def test_unbounded_output_gets_a_bound_from_the_log(tmp_path: Path):
    """Told without a log, with a number where 100 answers were seen."""
    raw = f'model = "{MODEL}"\nprompt = "Describe {{text}}."\n'
    assert only(task(raw, tmp_path), "HW401").change is None
    calls = [call(output=100)] * 100
    assert only(task(raw, tmp_path, calls=calls), "HW401").change == Change(key="max_output_tokens", value=128)


def test_log_rules_tell_no_prompt():
    """Of a log: bounds, thinking, repeats and short prefixes, by kind of call; no quotation of anybody's text."""
    calls = [call(output=200, reasoning=190, output_tokens_max=9_000, prompt=b"secret", block_hashes=("a", "b"))] * 120
    findings = lint_task(log_source("calls.sqlite", calls))
    assert [one.rule for one in findings] == ["HW304", "HW403", "HW404"]
    assert not any("secret" in repr(one) for one in findings)
    repeated = findings[0]
    assert repeated.tokens_saved == round(500 * 119 / 120)
    assert [one.rule for one in lint_task(log_source("l", [call(input_tokens=900)] * 20))] == ["HW302"]
    cached = [call(input_tokens=900, usage=Usage(input_tokens=900, cached_tokens=512, output_tokens=8))] * 20
    assert not lint_task(log_source("l", cached))


def test_empty_and_failed_calls_say_nothing():
    """No usage, no answers: no finding, and no division by zero."""
    assert not lint_task(log_source("l", []))
    assert not lint_task(log_source("l", [call(usage=None, outcome="error")] * 200))


def test_calls_to_merge():
    """Short calls one after the other in a session; not parallel ones, not chains that grow, not seven."""

    def sessions(many: int, gap_s: float, growth: int = 0, output: int = 8) -> Source:
        rows = []
        for session in range(5):
            for number in range(many):
                tags = Tags(session=f"s{session}")
                rows.append(call(number * gap_s, input_tokens=300 + growth * number, output=output, tags=tags))
        return log_source("l", rows)

    one = only(sessions(3, 2.0), "HW502")
    assert one.ms_saved == pytest.approx(2 / 3 * 500, abs=0.01)
    assert one.tokens_saved == 200
    for other in (sessions(3, 0.0), sessions(3, 2.0, growth=200), sessions(7, 2.0), sessions(3, 9.0, output=100)):
        assert not found(other, "HW502")


def test_tasks_to_merge(tmp_path: Path):
    """Two label tasks on one column of one model are seen together; not another model, column, or version of one."""

    def of(name: str, *labels: str, column: str = "text", model: str = MODEL) -> Source:
        file = tmp_path / name
        raw = f'model = "{model}"\nprompt = "{{{column}}}"\n[output]\nlabels = {list(labels)}\n'
        file.write_text(raw, "utf-8")
        return source_of(str(file), raw, "task")

    others = [of("c.toml", "e", "f", column="title"), of("d.toml", "g", "h", model="gpt-4o")]
    version = of("older.toml", "a", "b")
    (one,) = lint_together([of("a.toml", "a", "b"), of("b.toml", "c", "d"), version, *others])
    assert one.rule == "HW502"
    assert one.where.file.endswith("a.toml")
    assert "older" not in one.message
    assert not lint_together([of("a.toml", "a", "b"), version, *others])


def test_calls_to_split():
    """Long answers that are nearly all generation; what they would cost in input is counted against it."""
    one = only(log_source("l", [call(output=2_000)] * 20), "HW503")
    assert one.tokens_saved == -3 * 300
    assert one.ms_saved == pytest.approx(0.75 * 1_999 * 10)
    assert not found(log_source("l", [call(output=900)] * 20), "HW503")


def test_whole_document_with_rows(tmp_path: Path):
    """Long cells and a question: chunks would do. A summary needs all of it."""
    raw = f'model = "{MODEL}"\nprompt = "Who signed? {{contract}}"\nmax_output_tokens = 32\n'
    rows = [{"contract": "clause " * 4_000}]
    one = only(task(raw, tmp_path, rows=rows), "HW501")
    assert one.tokens_saved is not None
    assert one.tokens_saved > 2_000
    assert not found(task(raw.replace("Who signed?", "Summarise"), tmp_path, rows=rows), "HW501")
    assert not found(task(raw, tmp_path, rows=[{"contract": "short"}]), "HW501")


def test_calls_of_a_task_are_told_by_its_fixed_part():
    """Of one model's calls in a log, only those that begin as the task does are the task's."""
    one = Task(model=MODEL, prompt="{text}", system="Sort it.", max_output_tokens=16)
    two = Task(model=MODEL, prompt="{text}", system="Rate it.", max_output_tokens=16)
    logged = [call(block_hashes=block_hashes(each.body({"text": "hello"}))) for each in (one, two, two)]
    assert len(calls_of(one, logged)) == 1
    assert len(calls_of(two, logged)) == 2
    assert len(calls_of(Task(model="other", prompt="{text}"), logged)) == 0


def test_labels_in_the_prompt_alone(tmp_path: Path):
    """The change names the labels, as `output.labels` takes them."""
    raw = f'model = "{MODEL}"\nprompt = "Classify as one of: spam, ham, or other. {{text}}"\nmax_output_tokens = 16\n'
    assert only(task(raw, tmp_path), "HW206").change == Change(key="output.labels", value=["spam", "ham", "other"])
