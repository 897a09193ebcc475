"""Fields of a growing answer: each value as json.loads has it, told as soon as it is complete and never before."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import BadReply, ConfigError
from headway.pipeline.fields import DEPTH_MAX, FieldReader, converted, path_of, picked

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEY = st.one_of(st.sampled_from(["a", "b", "0", "1", "title", ""]), TEXT)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT)
VALUE = st.recursive(
    SCALAR, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEY, inner, max_size=4)), max_leaves=12
)
DOCUMENT = st.one_of(st.lists(VALUE, max_size=4), st.dictionaries(KEY, VALUE, max_size=4))
STYLE = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def read(reader, text, cuts=()):
    """Values with how much of the text was given by then."""
    found, start = [], 0
    with reader:
        for end in [*sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]:
            found += [(end, value) for value in reader.feed(text[start:end])]
            start = end
        reader.close()
    return found


def paths(value, path=()):
    """Every field there is, whose parts can be named."""
    if path:
        yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        if key != "":
            yield from paths(one, (*path, str(key)))


def same(one, other):
    return json.dumps(one) == json.dumps(other)  # 1 is not 1.0 there, and True is not 1


@given(DOCUMENT, STYLE, st.lists(st.integers(0, 10_000), max_size=12), st.data())
def test_a_field_is_what_json_has_however_the_text_is_cut(document, style, cuts, data):
    """Any document, any field, any pieces: the same value as of json.loads, once."""
    text, fields = json.dumps(document, **style), list(paths(document))
    if fields:
        path, value = data.draw(st.sampled_from(fields))
        found = read(FieldReader(path), text, cuts)
        assert len(found) == 1
        assert same(found[0][1], json.loads(json.dumps(value)))


@given(DOCUMENT, STYLE, st.data())
def test_a_field_is_told_with_its_last_character_or_the_next(document, style, data):
    """Text that comes by the character: not while the value may still grow, and not later than what ends it."""
    text, fields = json.dumps(document, **style), list(paths(document))
    if not fields:
        return
    path, _ = data.draw(st.sampled_from(fields))
    [(end, value)] = read(FieldReader(path), text, range(len(text)))
    if isinstance(value, (list, dict)):
        assert text[end - 1] in "]}"
        assert _start(text[:end], value) is not None
    else:
        written = json.dumps(value, ensure_ascii=style.get("ensure_ascii", True))
        assert text[: end if isinstance(value, str) else end - 1].endswith(written)


def _start(before, value):
    """Where a list or an object that ends here began."""
    for start in range(len(before) - 1, -1, -1):
        if before[start] in "[{":
            try:
                found, end = json.JSONDecoder().raw_decode(before, start)
            except ValueError:
                continue
            if end == len(before) and same(found, value):
                return start
    return None


@given(st.lists(VALUE, max_size=6), STYLE, st.lists(st.integers(0, 10_000), max_size=12))
def test_the_elements_of_a_list_come_one_by_one_in_order(elements, style, cuts):
    """Each once, as json.loads has it; the list of an object, and an answer that is a list."""
    for path, document in (("facts",), {"more": 1, "facts": elements, "end": [1]}), ((), elements):
        reader = FieldReader(path, each=True)
        found = [value for _, value in read(reader, json.dumps(document, **style), cuts)]
        assert same(found, elements)
        assert reader.done


@given(
    st.one_of(st.text(max_size=60), st.text('{}[]:,"a1+. \\\n', max_size=40)), st.lists(st.integers(0, 100), max_size=6)
)
def test_whatever_is_no_json_is_a_sentence_or_nothing(text, cuts):
    """Any text at all ends with a value or with our own error."""
    reader = FieldReader(("a",))
    try:
        read(reader, text, cuts)
    except BadReply:
        return
    assert reader.done


@pytest.mark.parametrize(
    "text",
    [
        '{"title": "Tides"}',
        '```json\n{"title": "Tides"}\n```',
        'Here it is, as [asked]:\n\n```\n{"title": "Tides"}\n``` I hope it helps {you}.',
        'See [1] and {this}: {"title": "Tides"}',
        '{} {"title": "Tides", "title": "Ebb"}',
        '{"title": "T\\u0069des", "more": ',
    ],
)
def test_what_stands_around_the_json_is_passed_over(text):
    """Fences, prose with brackets in it, an empty object before, an end that never comes; for one piece and for many."""
    assert [value for _, value in read(FieldReader(("title",)), text)] == ["Tides"]
    assert [value for _, value in read(FieldReader(("title",)), text, range(len(text)))] == ["Tides"]


def test_an_escape_may_be_cut_anywhere():
    """A surrogate pair over twelve pieces; half of one is what json.loads makes of it."""
    text = '{"a": "x\\ud83d\\ude00", "b": "\\ud83d."}'
    assert read(FieldReader(("a",)), text, range(len(text)))[0][1] == "x\N{GRINNING FACE}"
    assert read(FieldReader(("b",)), text, range(len(text)))[0][1] == "\ud83d."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I cannot help with that.", "no JSON with it, it begins 'I cannot help with that.'"),
        ("", "it begins ''"),
        ('{"name": 1, "text": 2}', "the answer has 'name', 'text'"),
        ('{"name": {"title": 1}}', "the answer has 'name'"),
        ('{"name": 1, "tit', "ended in the middle of its JSON"),
        ('{"name": 1 "title": 2}', "JSON is broken after"),
        ('{"a": ' + "[" * DEPTH_MAX + "]" * DEPTH_MAX + "}", f"nested more than {DEPTH_MAX} deep"),
        ("{[" * 40, "JSON is broken after"),
        ('{"a": ' + "9" * 5_000 + ', "title": 1}', "JSON is broken"),
    ],
)
def test_a_field_that_never_comes_is_a_sentence(text, said):
    """It names the field and the step, and what was there instead."""
    reader = FieldReader(("title",), who="step 'facts'")
    with pytest.raises(BadReply, match=r"^field 'title' of step 'facts'") as caught:
        read(reader, text)
    assert said in str(caught.value)


def test_a_field_that_is_no_list_has_no_elements():
    """The sentence says what to use instead."""
    with pytest.raises(BadReply, match=r"'title' of the answer is no list.*use field"):
        read(FieldReader(("title",), each=True), '{"title": "Tides"}')


def test_nothing_is_read_after_the_field():
    """What follows may be anything, and is not looked at."""
    reader = FieldReader(("a",))
    assert reader.feed('{"a": 1, ') == [1]
    assert reader.done
    assert reader.feed("what[ever}") == []
    reader.close()


def test_paths():
    """Dots part names; keys with dots are given apart; an empty part is refused."""
    assert path_of("items.0.name") == ("items", "0", "name")
    assert path_of(["a.b", 0]) == ("a.b", "0")
    assert path_of("") == ()
    with pytest.raises(ConfigError, match=r"a part of the path is empty"):
        path_of("a..b")
    with pytest.raises(ConfigError, match=r"needs a name"):
        FieldReader(())


@dataclasses.dataclass
class Page:
    title: str
    notes: list[str]


def test_fields_of_values_that_are_there_already():
    """Of mappings, lists and objects; a part that is missing is named."""
    page = {"pages": [Page("Tides", ["one"])]}
    assert picked(page, ("pages", "0", "title"), "step 'x'") == "Tides"
    with pytest.raises(BadReply, match=r"field 'pages.1' of step 'x' never came: there is no '1'"):
        picked(page, ("pages", "1"), "step 'x'")


def test_a_type_is_checked():
    """A value becomes what is asked for, or a sentence says where it does not."""
    assert converted({"title": "T", "notes": ["n"]}, Page, ("page",), "step 'x'") == Page("T", ["n"])
    assert converted([1], None, ("page",), "step 'x'") == [1]
    with pytest.raises(BadReply, match=r"field 'page' of step 'x' is of another type: .*\$\.notes\[0\]"):
        converted({"title": "T", "notes": [1]}, Page, ("page",), "step 'x'")
