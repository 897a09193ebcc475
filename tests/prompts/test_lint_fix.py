"""Edits into files: exact in every kind of TOML string and in JSON, refused by the guard where they would do harm."""

from __future__ import annotations

import json
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.prompts.lint.findings import Edit
from headway.prompts.lint.guard import refusal
from headway.prompts.lint.passages import Text
from headway.prompts.lint.run import apply, edited, fixed, lint_task
from headway.prompts.lint.source import Source, read_source, source_of
from headway.prompts.task import Task

TASK = Task(model="gpt-5.4-mini", prompt="{text}")
PIECES = (
    "Be brief now. ",
    "Be brief now.",
    " ",
    "\t",
    "\n",
    "- Use no slang.\n",
    "`a  b`",
    '"x  y"',
    "{col}",
    '{\n "a": 1\n}',
    "\n```\nx  y\n```\n",
    "1. ",
    "> q  \n",
    "|a|b|\n",
)
CHARS = "ab \t\n\"'\\{}.,`0\u00e9\U0001f600"


def basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def basic_ascii(text: str) -> str:
    units = "".join(f"\\U{ord(char):08x}" if char in "\"'\\\n\t" or ord(char) > 126 else char for char in text)
    return f'"{units}"'


def basic_multi(text: str) -> str:
    return '"""\n' + text.replace("\\", "\\\\").replace('"', '\\"') + '"""'


def literal_multi(text: str) -> str:
    return f"'''\n{text}'''"


STYLES = (basic, basic_ascii, basic_multi, literal_multi)


def task_of(style: object, text: str) -> Source:
    raw = f'# head\nmodel = "gpt-5.4-mini" # "system = 1"\nsystem = {style(text)}  # tail\nprompt = "{{text}}"\n'  # type: ignore[operator]
    raw += '\n[output]   # odd   spacing   stays\nlabels = ["a = \\"x\\"", "b"]\n'
    return source_of("t.toml", raw, "task", task=TASK)


def texts_of(source: Source) -> dict[str, str]:
    return {text.key: text.text for text in source.texts}


@pytest.mark.parametrize("style", STYLES)
@given(text=st.text(CHARS, max_size=60), data=st.data())
@settings(max_examples=60, deadline=None)
def test_task_edits_change_the_text_and_nothing_else(style: object, text: str, data: st.DataObject):
    """Whatever is taken out of whichever kind of string: TOML reads the intended text, all else is byte for byte."""
    if style is literal_multi and ("'''" in text or text.endswith("'")):
        return
    source = task_of(style, text)
    assert texts_of(source)["system"] == text
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    edit = Edit(key="system", start=start, end=end)
    after, skipped = edited(source, [edit])
    if skipped:
        assert after.raw == source.raw
        return
    assert tomllib.loads(after.raw)["system"] == apply(text, [edit])
    head, _, rest = source.raw.partition("system = ")
    assert after.raw.startswith(head)
    assert after.raw.endswith("  # tail\n" + rest.rpartition("  # tail\n")[2])


@pytest.mark.parametrize("kind", ["text", "task"])
@given(text=st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=150, deadline=None)
def test_fixing_twice_is_fixing_once(kind: str, text: str):
    """Fixes leave nothing to fix, and nobody's code, quotations or columns are touched by them."""
    source = task_of(basic, text) if kind == "task" else source_of("p.md", text, "text")
    done = fixed(source)
    assert fixed(done.source).source.raw == done.source.raw
    assert not [one for one in lint_task(done.source) if one.tier == "auto"]
    after = texts_of(done.source)["system" if kind == "task" else "text"]
    for kept in ("`a  b`", '"x  y"', "{col}", "no slang"):
        assert (kept in text) == (kept in after)


@given(text=st.text(CHARS, max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_linted(text: str):
    """Regions lie in order and apart, and every finding has a place in the text."""
    source = source_of("p.md", text, "text")
    regions = source.texts[0].regions
    assert all(0 <= one.start < one.end <= len(text) for one in regions)
    assert all(one.end <= two.start for one, two in pairwise(regions))
    for one in lint_task(source):
        assert 0 <= one.where.start <= one.where.end <= len(text)
        assert one.where.line <= text.count("\n") + 1


def test_windows_line_ends_stay():
    """A file with CRLF keeps them, in prompts and in task files."""
    source = source_of("p.md", "Be brief.  \r\nNo slang.\r\n", "text")
    assert fixed(source).source.raw == "Be brief.\r\nNo slang.\r\n"
    raw = '# c\r\nsystem = """\r\nBe brief.  \r\nNo slang."""\r\nprompt = "{text}"\r\n'
    assert fixed(source_of("t.toml", raw, "task", task=TASK)).source.raw == raw.replace("brief.  ", "brief.")


def test_continued_lines_stay():
    """Line-ending backslashes are layout of the file, not of the prompt."""
    raw = 'system = """\nSay  it \\\n   once.\n"""\nprompt = "{text}"\n'
    assert fixed(source_of("t.toml", raw, "task", task=TASK)).source.raw == raw.replace("Say  it", "Say it")


def test_byte_order_mark_stays():
    """A file that begins with a mark still does."""
    assert fixed(source_of("p.md", "\ufeffBe  brief.", "text")).source.raw == "\ufeffBe brief."
    raw = '\ufeffsystem = "Be  brief."\nprompt = "{text}"\n'
    assert fixed(source_of("t.toml", raw, "task", task=TASK)).source.raw == raw.replace("  ", " ")


def test_requests_are_edited_in_place():
    """A chat request as JSON: escapes, order and layout stay."""
    raw = '{ "model": "gpt-5.4-mini",\n "messages": [{"role": "system", "content": "Caf\\u00e9:  be\\nbrief.  "}] }\n'
    done = fixed(source_of("r.json", raw, "request"))
    assert done.source.raw == raw.replace(":  be", ": be").replace("brief.  ", "brief.")


def test_string_that_is_not_understood_is_skipped():
    """Where a text is not found as it is written, nothing is changed, and that is said."""
    raw = 'prompt = "{text}"\n[run]\nx = 1\n'
    source = source_of("t.toml", raw, "task", task=TASK)
    source.spelled.clear()
    after, skipped = edited(source, [Edit(key="prompt", start=0, end=0, replacement="x ")])
    assert after.raw == raw
    assert "t.toml:1: not changed" in skipped[0]


def test_what_users_say_is_never_edited():
    """A user's turn in a request is data: its white space is told, not mended."""
    raw = '{"messages": [{"role": "user", "content": "a  b  "}]}'
    source = source_of("r.json", raw, "request")
    assert fixed(source).source.raw == raw
    assert {one.tier for one in lint_task(source) if one.rule in ("HW102", "HW103")} == {"suggest"}


def test_same_text_twice_in_a_request_is_never_edited_wrongly():
    """Two messages with one text: an edit of the second must not land in the first."""
    raw = '{"messages": [{"role": "system", "content": "a  b"}, {"role": "system", "content": "a  b"}]}'
    source = source_of("r.json", raw, "request")
    for key in texts_of(source):
        after, skipped = edited(source, [Edit(key=key, start=1, end=2)])
        wanted = {**texts_of(source), key: "a b"}
        assert skipped or texts_of(after) == wanted


@pytest.mark.parametrize(
    ("text", "gone", "why"),
    [
        ("Do not add prices.", "not ", "the word 'not'"),
        ("At most 50 words.", "50 ", "the number 50"),
        ("Name the city.", "the ", "little words"),
        ("List 3 5-star inns.", " ", "join"),
        ('Say "thanks a lot" to all.', '"thanks a lot" ', "quotation"),
        ("Run `make x` first.", "`make x` ", "code"),
        ("Read {text} well.", "{text} ", "column"),
        ("Never lie, except to 3 bots.", "Never lie, except to 3 bots.", "number 3"),
        ("```\na  b\n```", " b", "code"),
        ('{"a":  "b  c"}', "b  c", "JSON"),
    ],
)
def test_guard(text: str, gone: str, why: str):
    """Negations, numbers, little words, quotations, code, columns and JSON's texts do not go."""
    at = text.index(gone)
    refused = refusal(Text("text", text), Edit(key="text", start=at, end=at + len(gone)))
    assert why in refused


def test_guard_lets_go_what_stays_elsewhere():
    """A duplicate may go with its numbers and negations when its twin stays."""
    text = Text("text", "Never use 3 words. Never use 3 words.")
    edit = Edit(key="text", start=18, end=37, kept="Never use 3 words.")
    assert not refusal(text, edit)
    assert refusal(text, Edit(key="text", start=18, end=37))


def test_apply_adds_deletions_up():
    """Of edits that overlap the first counts; deletions that overlap are made together."""
    edits = [
        Edit(key="t", start=0, end=3),
        Edit(key="t", start=2, end=5),
        Edit(key="t", start=4, end=6, replacement="x"),
    ]
    assert apply("abcdefg", edits) == "fg"


def test_file_of_another_kind_is_refused(tmp_path: Path):
    """Broken TOML, JSON that is no request, bytes that are no text: one sentence each."""
    from headway.errors import ConfigError

    for name, data in {"a.toml": b"x =", "b.json": b"[1]", "c.txt": b"\xff\xfe", "d.json": b"{"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=name[0]):
            read_source(tmp_path / name)
