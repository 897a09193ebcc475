"""Tasks: the requests they make, and how their files are read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError, InputError
from headway.prompts import Bullets, Json, Labels, Sentence, Task, Text


def make(**changes):
    return Task(**({"model": "m", "prompt": "Classify: {text}", "labels": ["a", "b"]} | changes))


def test_responses_body():
    """The Responses API gets the fixed part first, store false, the derived bound, and the row last."""
    body = make(system="You sort.", temperature=0, reasoning_effort="none").body({"text": 'x "y" {z}'})
    assert json.loads(body) == {
        "model": "m",
        "store": False,
        "max_output_tokens": 16,
        "temperature": 0,
        "reasoning": {"effort": "none"},
        "instructions": "You sort.\n\nReturn only the label, one of: a, b.",
        "input": 'Classify: x "y" {z}',
    }
    assert body.rindex(b"Classify") > body.rindex(b"Return only")


def test_chat_body():
    """Chat Completions get a system message with the constraint and a user message with the row."""
    assert json.loads(make(api="chat", stop=["\n"]).body({"text": "x"})) == {
        "model": "m",
        "max_completion_tokens": 16,
        "stop": ["\n"],
        "messages": [
            {"role": "system", "content": "Return only the label, one of: a, b."},
            {"role": "user", "content": "Classify: x"},
        ],
    }


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("system", ["", "S"])
@pytest.mark.parametrize("output", [Text(), Labels(labels=("a",)), Json(schema={"type": "object"}), Sentence()])
@given(text=st.text(), answer=st.text(max_size=3000))
def test_bodies_are_json_whatever_the_row(api, system, output, text, answer):
    """Bodies and repairs are whole JSON that carries the row, whatever characters it has; with none there is nothing to ask."""
    task = make(api=api, system=system, output=output, labels=())
    if not text.strip() or any("\ud800" <= char <= "\udfff" for char in text):
        with pytest.raises(InputError):
            task.body({"text": text})
        return
    body = json.loads(task.body({"text": text}))
    prompt = body["input"] if api == "responses" else body["messages"][-1]["content"]
    assert prompt == f"Classify: {text}"
    again = json.loads(task.repair({"text": text}, answer.encode("utf-8", "replace").decode(), "it is wrong"))
    turns = again["input"] if api == "responses" else again["messages"]
    assert "it is wrong" in turns[-1]["content"]
    assert any(turn["content"] == prompt for turn in turns)
    assert all(turn["content"] for turn in turns)  # providers refuse empty messages


def test_normalisation_is_for_the_key_only():
    """Near-identical rows share a cache key and keep their requests; undeclared, there is no such key."""
    task = make(normalize={"text": ["trim", "casefold", "collapse_space"]})
    one, two = {"text": "Where  is my CARD "}, {"text": "where is my card"}
    assert task.key_body(one) == task.key_body(two) == task.body(two)
    assert task.body(one) != task.body(two)
    assert make().key_body(one) is None


def test_row_keys_follow_what_is_asked():
    """A row's key changes with its request and with the constraint, and with nothing else."""
    row = {"text": "x", "other": 1}
    key = make().row_key(row)
    assert len(key) == 32
    assert make(expected="other", repairs_max=3).row_key({"text": "x", "other": 2}) == key
    others = [make(prompt="Sort: {text}"), make(model="n"), make(labels=["a", "c"]), make(api="chat")]
    same_body = make(labels=(), output=Labels(labels=("a", "b", "c")), instruct=False, max_output_tokens=16)
    keys = [task.row_key(row) for task in [*others, same_body]]
    assert len({key, *keys}) == len(keys) + 1


def test_thinking_models_are_not_cut_short():
    """A model that is told to think gets no derived bound: its thoughts count as output."""
    assert make(reasoning_effort="high").max_output_tokens is None
    assert make(reasoning_effort="none").max_output_tokens == 16


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model": ""}, "model"),
        ({"api": "x"}, "api"),
        ({"prompt": "no column"}, "column"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stop": ["x"]}, "stop"),
        ({"repairs_max": 9}, "repairs_max"),
        ({"normalize": {"texd": ["trim"]}}, "texd"),
        ({"normalize": {"text": ["lower"]}}, "lower"),
        ({"output": Text()}, "labels"),
    ],
)
def test_wrong_values_are_named(changes, word):
    """Each wrong value is a `ConfigError` that names it."""
    with pytest.raises(ConfigError, match=word):
        make(**changes)


FULL = """
model = "m"
api = "chat"
system = "S"
prompt = "P {text}"
max_output_tokens = 50
temperature = 0.5
stop = ["END"]
reasoning_effort = "none"
expected = "category"
repairs_max = 2
[output]
labels_file = "labels.txt"
instruct = false
[normalize]
text = ["trim"]
"""


def test_task_files_say_everything(tmp_path):
    """Every key of a task file arrives in the task; files it names are found beside it."""
    (tmp_path / "labels.txt").write_text("a\n\nb\n")
    (tmp_path / "t.toml").write_text(FULL)
    task = Task.load(tmp_path / "t.toml")
    assert task.output == Labels(labels=("a", "b"))
    assert (task.expected, task.repairs_max, task.columns) == ("category", 2, ("text",))
    body = json.loads(task.body({"text": "x"}))
    assert body["stop"] == ["END"]
    assert body["max_completion_tokens"] == 50
    assert body["messages"][0] == {"role": "system", "content": "S"}
    assert Task.load(tmp_path / "t.toml", model="other").model == "other"


@pytest.mark.parametrize(
    ("table", "output"),
    [
        ("bullets = 3\nexactly = true\nwords_max = 9", Bullets(count=3, exactly=True, words_max=9)),
        ("sentence = true", Sentence()),
        ("json = true", Json()),
        ('schema = {type = "object"}', Json(schema={"type": "object"})),
        ('schema_file = "s.json"', Json(schema={"type": "array"})),
        ("", Text()),
    ],
)
def test_output_tables(tmp_path, table, output):
    """Each constraint can be written in a task file."""
    (tmp_path / "s.json").write_text('{"type": "array"}')
    (tmp_path / "t.toml").write_text(f'model = "m"\nprompt = "{{text}}"\n[output]\n{table}\n')
    assert Task.load(tmp_path / "t.toml").output == output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('modle = "m"\nprompt = "{t}"', ["modle", "'model'"]),
        ('prompt = "{t}"\n[output]\nlabel = ["a"]', ["output.label", "'labels'"]),
        ('model = "m"', ["prompt"]),
        ('model = 3\nprompt = "{t}"', ["model", "str", "int"]),
        ('model = "m"\nprompt = "{t}"\napi = "rest"', ["api", "rest"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nlabels = ["a", 3]', ["output.labels"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nlabels = ["a", "A"]', ["output.labels", "apart"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nlabels = ["a"]\nbullets = 3', ["labels", "bullets"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nwords_max = 3', ["words_max", "bullets"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nlabels_file = "none.txt"', ["labels_file", "none.txt"]),
        ('model = "m"\nprompt = "{t}"\n[output]\nschema = {type = "nix"}', ["output.schema"]),
        ('model = "m"\nprompt = "{t"', ["prompt", "character"]),
        ("model = ", ["TOML"]),
    ],
)
def test_wrong_files_are_named_with_the_key(tmp_path, text, words):
    """Every mistake in a task file is one sentence with the file, the key and the way out."""
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Task.load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(("name", "labels"), [("banking77", 77), ("triage", 5)])
def test_examples_are_tasks(name, labels):
    """The task files in examples/ load, with as many labels as they are about."""
    task = Task.load(Path(__file__).parents[2] / "examples" / f"{name}.toml")
    assert len(task.output.labels) == labels
    assert task.columns == ("text",)


def test_missing_file_is_named(tmp_path):
    """A task file that is not there is a usage error with its name."""
    with pytest.raises(ConfigError, match="nothing"):
        Task.load(tmp_path / "nothing.toml")
