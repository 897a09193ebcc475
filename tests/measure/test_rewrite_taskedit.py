"""Editing a task file key by key: only what is meant to change does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError
from headway.measure.rewrite.taskedit import TaskText

ROOT = Path(__file__).parents[2]
FILE = '''# what it is for
model = "gpt-5.4-mini"  # the cheap one
system = """
You route "tickets". \\
Never guess."""
prompt = 'Ticket: {text}'

# the queues
[output]
labels = [
  "billing",  # money ] "
  "shipping",
]
instruct = false

[normalize]
text = ["trim"]
'''


def text_of(text):
    return TaskText(path=Path("task.toml"), text=text)


def test_a_value_changes_and_every_comment_stays():
    """One value is another one; each line around it is what it was."""
    after = text_of(FILE).changed({"system": "Route tickets.", "output.instruct": True})
    assert tomllib.loads(after.text)["system"] == "Route tickets."
    assert tomllib.loads(after.text)["output"]["instruct"] is True
    for line in ("# what it is for", "# the cheap one", "# the queues", '"billing",  # money ] "', 'text = ["trim"]'):
        assert line in after.text


def test_new_keys_stand_in_their_table():
    """Keys at the top go above the first table, those of a table into it, and a new table at the end."""
    after = text_of(FILE).changed({"max_output_tokens": 24, "output.sentence": False, "settings.cache": "memory"})
    read = tomllib.loads(after.text)
    assert read["max_output_tokens"] == 24
    assert read["settings"] == {"cache": "memory"}
    assert after.text.index("max_output_tokens") < after.text.index("# the queues")


def test_none_takes_a_key_out():
    """A key that is taken out leaves the rest, and one that is not there is no fault."""
    after = text_of(FILE).changed({"output.labels": None, "temperature": None})
    assert tomllib.loads(after.text)["output"] == {"instruct": False}


def test_inline_tables_are_edited_as_a_whole():
    """A table on one line is rewritten with the new value in it."""
    after = text_of('model = "m"\nprompt = "{t}"\noutput = { labels = ["a", "b"] }\n').changed(
        {"output.instruct": False}
    )
    assert after.table["output"] == {"labels": ["a", "b"], "instruct": False}


def test_every_example_can_be_edited():
    """The task files that come with Headway are read, edited and become variants."""
    paths = sorted((ROOT / "examples").glob("*.toml"))
    assert paths
    for path in paths:
        task = TaskText.read(path)
        after = task.changed({"system": "Answer.", "settings.cache": "off"})
        assert after.value("system") == "Answer."
        assert {**after.table, "system": task.value("system"), "settings": {}} == {**task.table, "settings": {}}
        assert after.variant("b").name == "b"


def test_files_beside_the_task_are_found(tmp_path):
    """A list of labels in a file of its own is still looked up beside the task."""
    (tmp_path / "labels.txt").write_text("red\nblue\n")
    (tmp_path / "t.toml").write_text('model = "m"\nprompt = "{text}"\n[output]\nlabels_file = "labels.txt"\n')
    assert TaskText.read(tmp_path / "t.toml").variant().task.output.labels == ("red", "blue")


def test_errors_name_the_users_file(tmp_path):
    """A wrong key is reported for the file that the user knows."""
    (tmp_path / "t.toml").write_text('model = "m"\nprompt = "no column"\n')
    with pytest.raises(ConfigError, match=r"t\.toml: prompt names no column") as caught:
        TaskText.read(tmp_path / "t.toml").variant()
    assert str(tmp_path) in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["word", 'say "yes"', "a\\b", "", " ", "tab\there", "line\n", '"""', "é", "x" * 130]),
        max_size=60,
    )
)
def test_long_lines_are_wrapped_and_come_back(words):
    """Lines that are wrapped in the file are one line when it is read."""
    text = " ".join(words)
    assert text_of(FILE).changed({"system": text}).value("system") == text


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r"), max_size=300))
def test_any_text_comes_back(text):
    """Whatever a text holds (quotes, backslashes, long lines), it is read as it was written."""
    after = text_of(FILE).changed({"system": text, "prompt": f"{text}{{}}"})
    assert after.value("system") == text
    assert after.value("model") == "gpt-5.4-mini"
