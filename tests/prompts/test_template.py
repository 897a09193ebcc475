"""Templates: what is filled in, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError, InputError
from headway.prompts.template import Template

texts = st.text(max_size=40)


@given(st.lists(st.tuples(texts, texts), max_size=5), texts)
def test_values_are_inserted_verbatim(parts, last):
    """Whatever a row holds, braces included, it stands in the prompt as it is and is never scanned again."""
    escaped = [literal.replace("{", "{{").replace("}", "}}") for literal, _ in parts]
    template = Template(
        "".join(f"{text}{{c{i}}}" for i, text in enumerate(escaped)) + last.replace("{", "{{").replace("}", "}}")
    )
    row = {f"c{i}": value for i, (_, value) in enumerate(parts)}
    assert template.fill(row) == "".join(literal + value for literal, value in parts) + last


@given(texts)
def test_any_text_is_a_template_or_a_sentence(text):
    """No text crashes the parser: it is a template, or a `ConfigError` says where it is wrong."""
    try:
        template = Template(text)
    except ConfigError:
        return
    template.fill(dict.fromkeys(template.columns, "x"))


def test_names_are_looked_up_literally():
    """There is no attribute access, index or format spec: such names are just columns."""
    assert Template("{a.b}{a[0]}{a:>9}{a!r}").columns == ("a.b", "a[0]", "a:>9", "a!r")
    assert Template("{a.__class__}").fill({"a.__class__": "x"}) == "x"
    with pytest.raises(InputError, match=r"a\.__class__"):
        Template("{a.__class__}").fill({"a": "x"})


@pytest.mark.parametrize("text", ["{", "a}", "{}", "{ }", "{a{b}}", "{a"])
def test_broken_templates_are_named(text):
    """A brace without a partner and an empty name are errors that show where they are."""
    with pytest.raises(ConfigError, match=r"^task\.toml: prompt: .*character \d+"):
        Template(text, "task.toml: prompt")


def test_other_values_are_json():
    """Numbers, truth values, lists and nothing look in a prompt as they do in the file."""
    assert Template("{a}|{b}|{c}|{d}").fill({"a": 1.5, "b": True, "c": [1, "x"], "d": None}) == '1.5|true|[1,"x"]|'
