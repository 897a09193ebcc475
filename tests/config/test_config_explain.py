"""Which value holds, and who said so."""

from __future__ import annotations

import msgspec

from headway.config import Settings
from headway.config.explain import effective

FILE = """\
cache = "disk"
timeout_s = 30
redis_url = "redis://cache.example:6379/0"

[[upstream]]
name = "eu"
base_url = "https://eu.example/v1"
key_env = "EU_KEY"

[caches.faq]
ttl_s = 60
"""


def test_every_setting_has_a_value_and_a_source(tmp_path):
    """Keyword, environment, file with its line, default: each is told apart, and each shows what holds."""
    file = tmp_path / "h.toml"
    file.write_text(FILE)
    env = {"HEADWAY_TIMEOUT_S": "40", "OPENAI_API_KEY": "sk-one", "EU_KEY": "sk-two", "OPENAI_BASE_URL": "http://b/v1"}
    values = {value.name: value for value in effective({"queue_max": 7}, file=file, environ=env)}
    assert tuple(values) == Settings.__struct_fields__
    told = {name: (value.value, value.source.removeprefix(str(tmp_path) + "/")) for name, value in values.items()}
    assert told["queue_max"] == ("7", "argument")
    assert told["timeout_s"] == ("40.0", "environment variable HEADWAY_TIMEOUT_S")
    assert told["base_url"] == ('"http://b/v1"', "environment variable OPENAI_BASE_URL")
    assert told["cache"] == ('"disk"', "h.toml, line 1")
    assert told["upstreams"] == ("eu (https://eu.example/v1, with a key)", "h.toml, line 5")
    assert told["caches"] == ("faq (ttl_s 60.0)", "h.toml, line 10")
    assert told["api_key"] == ("set, not shown", "environment variable OPENAI_API_KEY")
    assert told["attempts_max"] == ("3", "default")
    assert values["attempts_max"].is_default
    assert not values["cache"].is_default


def test_no_secret_is_shown():
    """Neither a key nor the password in a Redis address, whose host may be told."""
    env = {"OPENAI_API_KEY": "sk-one", "HEADWAY_REDIS_URL": "redis://:sk-two@cache.example:6379/0"}
    values = effective(environ=env)
    shown = msgspec.json.encode(values).decode() + repr(values)
    assert "sk-" not in shown
    assert "host cache.example" in shown
