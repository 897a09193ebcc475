"""Output constraints: what is read, what is refused, and how it is asked for."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.prompts import Bullets, Json, Labels, Sentence, Text

LABELS = Labels(labels=("billing", "technical_support", "card_not_working", "card", "Refund?"))


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("billing", "billing"),
        (" Billing.\n", "billing"),
        ('"technical support"', "technical_support"),
        ("```\ncard\n```", "card"),
        ("**Technical-Support**", "technical_support"),
        ("Label: card_not_working", "card_not_working"),
        ("The card was eaten, so billing it is not.\n\n**Category:** Card", "card"),
        ("I would say this is billing, clearly.", "billing"),
        ("It is about a card_not_working at an ATM.", "card_not_working"),
        ("refund", "Refund?"),
        ("This is not billing but technical_support.", "technical_support"),
    ],
)
def test_labels_are_read_tolerantly(answer, label):
    """Case, quotes, fences, prefixes, and prose that names one label do not cost a second call."""
    assert LABELS.read(answer) == label


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "something else",
        "billing or technical_support",
        "It is not billing.",
        "billings",
        "Label: none",
        "x" * 3000 + " billing",
    ],
)
def test_other_answers_are_refused_in_a_sentence(answer):
    """Nothing, several labels, a label ruled out and a part of a word are no answer."""
    with pytest.raises(ValueError, match=r"answer|label") as caught:
        LABELS.read(answer)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@given(
    st.sampled_from(LABELS.labels),
    st.sampled_from(["", '"', "'", "`", "**"]),
    st.sampled_from(["", ".", " \n"]),
)
def test_every_label_reads_as_itself(label, quote, end):
    """A label in any dressing is read as that label and no other."""
    assert LABELS.read(f"{quote}{label.upper()}{quote}{end}") == label


@given(st.text(max_size=200))
def test_label_reading_never_crashes(text):
    """Any text is one of the labels or a `ValueError`."""
    try:
        assert LABELS.read(text) in LABELS.labels
    except ValueError:
        pass


@pytest.mark.parametrize("labels", [(), ("a", "A"), ("a b", "a_b"), ("?!",), ("",)])
def test_label_lists_that_cannot_work(labels):
    """Labels that no answer could tell apart are refused before anything is sent."""
    with pytest.raises(ConfigError, match="labels"):
        Labels(labels=labels)


def test_label_bound_fits_every_label():
    """The derived bound is at least 16 (the API's minimum) and leaves room for the longest label."""
    assert Labels(labels=("a",)).tokens_max() == 16
    assert Labels(labels=("x" * 100,)).tokens_max() >= 50


SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}, "n": {"type": "integer"}},
    "required": ["label", "n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "answer",
    [
        '{"label":"a","n":1}',
        '```json\n{"label":"a","n":1}\n```',
        'Sure! Here [1] it is:\n{"label": "a", "n": 1}\nBye {now}.',
    ],
)
def test_json_is_found(answer):
    """Fences, and prose around one object, are tolerated."""
    assert Json(schema=SCHEMA).read(answer) == {"label": "a", "n": 1}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "{",
        '{"label":"c","n":1}',
        '{"label":"a"}',
        '{"label":"a","n":1} {"label":"b","n":2}',
        "[" * 100_000,
        "{" * 5000,
    ],
)
def test_json_that_is_refused(answer):
    """No JSON, two objects, endless nesting, and what breaks the schema."""
    with pytest.raises(ValueError, match=r"JSON|answer"):
        Json(schema=SCHEMA).read(answer)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_json_round_trips(value):
    """Without a schema every JSON value is an answer."""
    assert Json().read(msgspec.json.encode(value).decode()) == value


def test_strict_is_sent_only_where_it_is_allowed():
    """A schema with an optional property would be refused as strict, so it is not sent as strict."""
    assert Json(schema=SCHEMA).response_format("responses")["text"]["format"]["strict"] is True
    loose = {**SCHEMA, "required": ["label"]}
    assert Json(schema=loose).response_format("chat")["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/x.json"}])
def test_schemas_that_cannot_work(schema):
    """A wrong schema, and one that would have to be fetched, are refused at once."""
    with pytest.raises(ConfigError, match="schema"):
        Json(schema=schema)


def test_bullets():
    """Every common mark is read; counts and words are checked; an introduction is tolerated."""
    three = Bullets(count=3, exactly=True, words_max=4)
    assert three.read("Here you are:\n- one two\n* three\n3. four\n   five") == [
        "one two",
        "three",
        "four five",
    ]
    for bad in (
        "",
        "prose",
        "- a\n- b",
        "- a\n- b\n- c\n- d",
        "- a\n- b\n- one two three four five",
        "- a\n- b\n- \n",
        "- a\ntail",
    ):
        with pytest.raises(ValueError, match=r"bullet"):
            three.read(bad)
    assert Bullets(count=3).read("- a") == ["a"]
    with pytest.raises(ConfigError, match="bullets"):
        Bullets(count=0)


def test_sentence():
    """One sentence may hold abbreviations and decimals; two sentences are refused."""
    for good in ("It works.", "Dr. Who paid 3.5 dollars, e.g. Monday", "No end", "A. Smith came."):
        assert Sentence().read(good) == good
    for bad in ("", "One. Two.", "Why? Because."):
        with pytest.raises(ValueError, match=r"sentence|empty"):
            Sentence().read(bad)


def test_text_is_anything_but_nothing():
    """Free text is stripped; nothing is refused."""
    assert Text().read(" a\nb ") == "a\nb"
    with pytest.raises(ValueError, match=r"empty"):
        Text().read(" \n")
