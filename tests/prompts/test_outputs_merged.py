"""Several outputs as one constraint: the schema, reading key by key, what is kept of broken answers, task files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError, Task
from headway.prompts.labels import Labels
from headway.prompts.merge import MergedTask
from headway.prompts.output import Bullets, Json, Sentence, Text
from headway.prompts.outputs import Ask, Outputs

ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False}
ALL = Outputs(
    {
        "queue": Ask("Which queue?", Labels(labels=("billing", "shipping"))),
        "summary": Ask("Summarise.", Sentence()),
        "points": Ask(output=Bullets(count=3, words_max=4)),
        "order": Ask(output=Json(schema=ORDER)),
        "note": Ask(output=Text()),
    }
)
GOOD = {"queue": "billing", "summary": "It is late.", "points": ["one", "two"], "order": {"id": 7}, "note": "hm"}
TABLES = """
model = "gpt-5.4-mini"
prompt = "{text}"
[outputs.queue]
ask = "Which queue?"
labels = ["billing", "shipping"]
expected = "right"
[outputs.summary]
sentence = true
[outputs.points]
bullets = 2
[outputs.note]
"""


def load(tmp_path: Path, text: str) -> Task:
    path = tmp_path / "task.toml"
    path.write_text(text, encoding="utf-8")
    return Task.load(path)


def test_the_schema_is_composed_of_the_parts():
    """Labels are an enum, prose is a string, bullets are a list, a schema is nested; all keys are required."""
    schema = ALL.schema
    assert schema["properties"] == {
        "queue": {"type": "string", "enum": ["billing", "shipping"]},
        "summary": {"type": "string"},
        "points": {"type": "array", "items": {"type": "string"}},
        "order": ORDER,
        "note": {"type": "string"},
    }
    assert schema["required"] == list(GOOD)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("output", "strict"),
    [
        (Json(schema=ORDER), True),
        (Json(schema={"type": "object", "properties": {"id": {"type": "integer"}}}), False),
        (Json(), False),
        (Json(schema={**ORDER, "$defs": {"x": ORDER}, "properties": {"id": {"$ref": "#/$defs/x"}}}), False),
        (Labels(labels=tuple(f"label {n}" for n in range(501))), False),
    ],
)
def test_strict_only_where_the_rules_allow(output, strict):
    """A nested schema that leaves keys open, a moved reference or too many enum values end strictness."""
    outputs = Outputs({"a": Ask(output=Sentence()), "b": Ask(output=output)})
    assert outputs.response_format("responses")["text"]["format"]["strict"] is strict
    assert outputs.response_format("chat")["response_format"]["json_schema"]["strict"] is strict


def test_references_of_a_nested_schema_move_with_it():
    """What pointed to the root points to where the root is now, and still validates."""
    tree = {"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"id": {"$ref": "#/$defs/n"}}}
    outputs = Outputs({"order": Ask(output=Json(schema=tree))})
    assert outputs.schema["properties"]["order"]["properties"]["id"] == {"$ref": "#/properties/order/$defs/n"}
    whole = Json(schema=outputs.schema)
    assert whole.read('{"order": {"id": 3}}') == {"order": {"id": 3}}
    with pytest.raises(ValueError, match="id"):
        whole.read('{"order": {"id": "three"}}')


def test_the_messages_api_is_told_in_words():
    """No field carries the schema there, so labels and nested schemas stand in the sentence; elsewhere they do not."""
    assert ALL.response_format("messages") == {}
    assert "One of: billing, shipping." in ALL.spelled_out()
    assert '"id":{"type":"integer"}' in ALL.spelled_out()
    assert "billing, shipping" not in ALL.instruction()
    assert '- "summary": Summarise. One sentence.' in ALL.instruction()


def test_each_value_is_read_by_its_own_constraint():
    """Case and separators of labels, white space of sentences, bullets as a list or as text."""
    assert ALL.read(json.dumps(GOOD)) == GOOD
    odd = {**GOOD, "queue": "Billing.", "summary": " It is\nlate. ", "points": "- one\n- two", "more": 1}
    assert ALL.read(f"Sure:\n```json\n{json.dumps(odd)}\n```") == GOOD


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("queue", "invoice", "not one of the 2 labels"),
        ("queue", ["billing"], "not a string"),
        ("queue", None, "missing"),
        ("summary", "One. Two.", "2 sentences"),
        ("points", ["a", "b", "c", "d"], "4 bullets"),
        ("points", ["far too many words in it"], "words"),
        ("points", [1], "list of strings"),
        ("order", {"id": "x"}, "schema"),
        ("note", "  ", "empty"),
    ],
)
def test_a_wrong_key_is_named_and_the_others_are_kept(key, value, why):
    """One bad value costs no good one."""
    good, left = ALL.take(json.dumps({**GOOD, key: value}))
    assert good == {name: one for name, one in GOOD.items() if name != key}
    assert list(left) == [key]
    assert why in left[key][0]
    with pytest.raises(ValueError, match=f"^{key}: "):
        ALL.read(json.dumps({**GOOD, key: value}))


@pytest.mark.parametrize("text", ["", "No.", "[1, 2]", '"billing"', "{", "null", "{}", '{"a":1} or {"a":2}', "{{}}"])
def test_no_object_means_no_keys(text):
    """Whatever came, every key is left, with a reason."""
    good, left = ALL.take(text)
    assert good == {}
    assert list(left) == list(GOOD)
    assert all(why for why, _ in left.values())


@given(cut=st.integers(0, 200), fence=st.booleans())
@settings(max_examples=150, deadline=None)
def test_of_a_cut_answer_the_whole_keys_are_kept(cut, fence):
    """Never a value that was cut, never one that stands deeper; all that a comma stood behind."""
    whole = json.dumps({"order": {"id": 7, "note": "inner"}, **{k: v for k, v in GOOD.items() if k != "order"}})
    text = whole[: min(cut, len(whole) - 1)]
    outputs = Outputs({name: ask if name != "order" else Ask(output=Json()) for name, ask in ALL.asks.items()})
    good, left = outputs.take(("Here it is: " if fence else "") + text)
    assert {**good} == {name: value for name, value in outputs.read(whole).items() if name in good}
    ends = {name: whole.index(f'"{name}": ', 40 if name == "note" else 0) + len(f'"{name}": ') for name in GOOD}
    for name in GOOD:
        value = json.dumps(json.loads(whole)[name])
        assert (name in good) == (len(text) > ends[name] + len(value)), (name, text)
        assert (name in good) != (name in left)


@pytest.mark.parametrize(
    "outputs", [{}, {"a b": Text()}, {"": Text()}, {f"n{n}": Text() for n in range(21)}, {"a": Outputs({"b": Ask()})}]
)
def test_what_cannot_be_declared(outputs):
    """None, too many, odd names and nesting are refused when the task is made."""
    with pytest.raises(ConfigError, match=r"^task: outputs"):
        MergedTask(model="m", prompt="{text}", outputs=outputs)


@pytest.mark.parametrize("how", [{"mode": "both"}, {"order": "random"}, {"fallback_max": 1.5}])
def test_wrong_settings_are_named(how):
    """By the key that stands in a task file."""
    with pytest.raises(ConfigError, match=f"merge.{next(iter(how))} must be"):
        MergedTask(model="m", prompt="{text}", outputs={"a": Text()}, **how)


def test_the_bound_is_the_sum_of_the_parts():
    """Twice the sum where all are bounded; none where one is not."""
    labels = Labels(labels=("a", "b"))
    bounded = MergedTask(model="m", prompt="{text}", outputs={"a": labels, "b": Sentence()})
    assert bounded.max_output_tokens == 2 * (16 + 256 + 2)
    assert MergedTask(model="m", prompt="{text}", outputs={"a": labels, "b": Text()}).max_output_tokens is None


def test_a_part_is_asked_plainly():
    """One output alone is a plain task with its own constraint, several are a smaller merged one; flex stays flex."""
    task = MergedTask(model="m", prompt="{text}", system="Rules.", outputs=ALL.asks)
    one = json.loads(task.part("queue").body({"text": "hi"}))
    assert one["instructions"] == "Rules.\n\nWhich queue?\n\nReturn only the label, one of: billing, shipping."
    assert "text" not in one
    two = json.loads(task.part("queue", "note").body({"text": "hi"}))
    assert two["text"]["format"]["schema"]["required"] == ["queue", "note"]
    assert json.loads(task.flex().part("queue").body({"text": "hi"}))["service_tier"] == "flex"
    assert task.part("queue") is task.part("queue")


def test_it_goes_to_other_processes():
    """With everything compiled, as Ray needs it."""
    task = MergedTask(model="m", prompt="{text}", outputs=ALL.asks)
    task.part("order").accept('{"id": 1}')
    ALL.take(json.dumps(GOOD))
    other = pickle.loads(pickle.dumps(task))
    assert other.fingerprint == task.fingerprint
    assert other.accept(json.dumps(GOOD)) == GOOD


def test_the_way_of_asking_is_part_of_what_is_owed():
    """Rows asked separately are other rows than merged ones; auto and merged differ, too, and stay what they were."""
    task = MergedTask(model="m", prompt="{text}", outputs=ALL.asks)
    ways = [task, task.merged_as(mode="merged"), task.merged_as(mode="separate")]
    ways += [task.merged_as(mode="separate", order="sequential")]
    assert len({way.fingerprint for way in ways}) == 4
    assert task.merged_as().row_key({"text": "x"}) == task.row_key({"text": "x"})


def test_scores_are_shares_of_the_outputs_that_have_a_right_answer():
    """Case does not matter; rows without a right answer are not judged."""
    asks = {"a": Ask(output=Text(), expected="wa"), "b": Ask(output=Text(), expected="wb"), "c": Ask()}
    task = MergedTask(model="m", prompt="{text}", outputs=asks)
    assert task.score({"wa": "X", "wb": "y"}, {"a": "x", "b": "z"}) == 0.5
    assert task.score({"wa": "x"}, {"a": "x"}) == 1.0
    assert task.score({"wa": "x"}, None) == 0.0
    assert task.score({}, {"a": "x"}) is None


def test_a_task_file_declares_outputs(tmp_path):
    """Constraints as under [output], a default for the rest, and [merge] and [run] for how."""
    task = load(tmp_path, TABLES)
    assert isinstance(task, MergedTask)
    assert task.names == ("queue", "summary", "points", "note")
    assert task.output.asks["queue"] == Ask("Which queue?", Labels(labels=("billing", "shipping")), "right")
    assert task.output.asks["note"].output == Text()
    assert (task.merge.mode, task.merge.order, task.merge.fallback_max) == ("auto", "parallel", 0.2)
    how = '[merge]\nmode = "separate"\norder = "sequential"\nfallback_max = 0.5\n'
    task = load(tmp_path, TABLES + how)
    assert (task.merge.mode, task.merge.order, task.merge.fallback_max) == ("separate", "sequential", 0.5)
    task = load(tmp_path, TABLES + how + '[run]\nmerge = "merged"\n')
    assert (task.merge.mode, task.merge.order) == ("merged", "sequential")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TABLES + "lables = []\n", r"unknown key 'outputs.note.lables' \(did you mean 'labels'"),
        (TABLES + "instruct = false\n", "outputs.note.instruct"),
        (TABLES + "labels = []\n", "outputs.note.labels: the list is empty"),
        (TABLES + 'labels_file = "none.txt"\n', "outputs.note.labels_file: .* cannot be read"),
        (TABLES + "json = true\nsentence = true\n", "outputs.note has both 'json' and 'sentence'"),
        (TABLES + "[output]\njson = true\n", "'output' does not go with"),
        ('model = "m"\nprompt = "{text}"\n[outputs]\n', r"\[outputs\] names no output"),
        ('expected = "x"\n' + TABLES, "'expected' does not go with .* put it under the output"),
        ('stop = ["x"]\n' + TABLES, "'stop' does not go with"),
        (TABLES + "[merge]\nmode = 1\n", "merge.mode must be"),
        (TABLES + "[merge]\nmod = 1\n", "unknown key 'merge.mod'"),
        (TABLES + "[merge]\nfallback_max = 2\n", "merge.fallback_max must be"),
        ('model = "m"\nprompt = "{text}"\n[merge]\nmode = "auto"\n', "goes with"),
    ],
)
def test_mistakes_in_a_task_file_are_named(tmp_path, text, says):
    """By file and key."""
    with pytest.raises(ConfigError, match=says) as caught:
        load(tmp_path, text)
    assert str(tmp_path) in str(caught.value)
