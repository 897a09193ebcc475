"""Errors of a headway.toml name the key and the line that is to be mended."""

from __future__ import annotations

import re

import pytest

from headway import ConfigError
from headway.config import load_settings
from headway.config.lines import line_of

FILE = '''\
# a comment
timeout_s = 30            # line 2
log = """
queue_max = 3
"""
"limits" = "openai/tier-1"  # line 6

[caches.faq]
ttl_s = 60                # line 9

[[upstream]]
name = "a"
base_url = "http://a.example/v1"
models = [
  "x",
]

[[upstream]]              # line 18
name = "b"
tier = "fast"             # line 20
[upstream.models]
tier = "no"
'''


@pytest.mark.parametrize(
    ("key", "table", "number", "line"),
    [
        ("timeout_s", "", 1, 2),
        ("limits", "", 1, 6),
        ("queue_max", "", 1, None),  # in a text of several lines
        ("ttl_s", "caches.faq", 1, 9),
        ("base_url", "upstream", 1, 13),
        ("models", "upstream", 1, 14),
        ("name", "upstream", 2, 19),
        ("tier", "upstream", 2, 20),
        ("region", "upstream", 2, 18),  # not there: the entry itself
        ("", "upstream", 2, 18),
        ("", "rule", 1, None),
    ],
)
def test_lines_are_found(key, table, number, line):
    """A key's own line, or its table's; what only looks like a key does not count."""
    assert line_of(FILE, key, table=table, number=number) == line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n\ntimeout = 3", "line 3: unknown key 'timeout'; did you mean"),
        ("queue_max = 3\ntimeout_s = 'x'", "line 2: timeout_s must be a number"),
        ("timeout_s = 3\nqueue_max = \n", r"line 2: not valid TOML \(queue_max: invalid value, column 13\)"),
        ("timeout_s = 3\nqueue_max =", r"line 2: not valid TOML \(queue_max: invalid value\)"),
        ("cache = 'off'\ncache = 'disk'", r"line 2: not valid TOML \(cache: cannot overwrite a value"),
        ("\napi_key = 'sk-1'", "line 2: api_key must not stand in a file"),
        ("\nredis_url = 'redis://:sk-1@localhost'", "line 2: a redis_url with a password"),
        ("cache = 'disk'\n[caches.faq]\nttl_s = -3", "line 3: caches.faq: cache_ttl_s must be"),
        ("cache = 'disk'\n[caches.faq]\nttl = 3", "line 2: caches must be tables that hold"),
        (
            "[[upstream]]\nname='a'\npreset='ollama'\n[[upstream]]\nname='b'\nmodles=['x']",
            r"line 6: upstream 2 \(b\): unknown",
        ),
        ("[[upstream]]\nname='a'\nquality=12\npreset='ollama'", r"line 3: upstream 1 \(a\): quality must be"),
        ("\n[[upstream]]\nname='a'", r"line 2: upstream 1 \(a\): base_url is missing"),
        (
            "[[rule]]\ntier='fast'\nhas_code=true\n[[rule]]\npattern='('\ntier='fast'",
            "line 5: rule 2: pattern is no regular",
        ),
        ("rules = 3", "line 1: rule must be a list of tables"),
    ],
)
def test_errors_name_the_line(tmp_path, text, says):
    """Whatever is wrong with a file, its sentence begins with the place."""
    file = tmp_path / "h.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file=file, environ={})
    assert re.search(rf"h\.toml, {says}", str(caught.value)), caught.value
    assert "sk-1" not in str(caught.value)
