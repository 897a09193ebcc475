"""Finding and changing values in the text of a TOML file."""

from __future__ import annotations

import tomllib

from headway.prompts.toml_edit import json_strings, spans_of, toml_strings, with_value


def test_strings_of_toml_are_found():
    """All kinds, in tables, beside arrays and comments that look like strings."""
    raw = (
        "a = 'x' # b = \"no\"\nlist = [\"c = 'no'\", # ]\n  '''d = 1''']\ninline = { e = \"no\" }\n"
        '[t."u"]\nf = """\nq\\"\\u00e9""""\n"g h" = \'\'\'\n\'\'z\'\'\'\n'
    )
    found = {key: one.text for key, one in toml_strings(raw).items()}
    table = tomllib.loads(raw)
    assert found["a"] == table["a"]
    assert found["t.u.f"] == table["t"]["u"]["f"]
    assert found['t.u."g h"'] == table["t"]["u"]["g h"]
    assert set(found) == {"a", "t.u.f", 't.u."g h"'}


def test_strings_of_json_are_found():
    """Keys and values in order, escapes read."""
    assert [one.text for one in json_strings('{"a\\n": "\\u00e9\\\\"}')] == ["a\n", "\u00e9\\"]


def test_values_end_where_toml_says():
    """Numbers before a comment, arrays over lines, brackets within strings; with a byte order mark and CRLF."""
    raw = '\ufeffa = 1.5  # one\r\nb = [\r\n  "]", # ]\r\n  2,\r\n]\r\n[t]\r\nc = { d = "}" } # }\r\n'
    values = {key: raw[span.start : span.end] for key, span in spans_of(raw).values.items()}
    assert values == {"a": "1.5", "b": '[\r\n  "]", # ]\r\n  2,\r\n]', "t.c": '{ d = "}" }'}


def test_a_quoted_key_with_a_dot_is_a_key_of_its_own():
    """It is not mistaken for a key in a table, nor a bracket in a table's name for its end."""
    raw = '"output.labels" = 1\n["a]b"]\nc = 2\n[output]\n"labels" = 3\n'
    assert set(spans_of(raw).values) == {'"output.labels"', '"a]b".c', "output.labels"}
    changed = tomllib.loads(with_value(raw, "output.labels", ["x"]))
    assert changed == {"output.labels": 1, "a]b": {"c": 2}, "output": {"labels": ["x"]}}
