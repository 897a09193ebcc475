"""`[[upstream]]` and `[[rule]]`: every value checked, keys from the environment, nothing chosen by strangers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headway import ConfigError
from headway.config import Secret, load_settings
from headway.wire.endpoints import PRESETS

TOML = """
base_url = "https://api.openai.com/v1"
objective = "speed+cost"
quality_min = 4

[[upstream]]
name = "azure-eu"
preset = "azure"
base_url = "https://res.openai.azure.com/openai/v1/"
key_env = "AZ"
region = "eu"
stands_in_for = "https://API.openai.com:443/v1"
models = { "gpt-5.4-mini" = "my-deployment" }
tier = "fast"
input_usd = 0.5
output_usd = 2
limits = "openai/tier-1"

[[upstream]]
name = "groq"
preset = "groq"
stands_in_for = "https://api.openai.com"

[[rule]]
tier = "quality"
pattern = "(?i)refund"
"""
ENV = {"AZ": "az-secret", "GROQ_API_KEY": "gsk-secret"}
ONE = {"name": "a", "base_url": "http://a/v1"}


def test_a_file_of_upstreams_is_read(tmp_path):
    """Presets fill in what is left out; addresses become origins; keys come from the variables."""
    file = tmp_path / "h.toml"
    file.write_text(TOML)
    settings = load_settings(file=file, environ=ENV)
    azure, groq = settings.upstreams
    assert (azure.origin, azure.prefix) == ("https://res.openai.azure.com", "/openai/v1")
    assert azure.stands_in_for == "https://api.openai.com"
    assert azure.models == {"gpt-5.4-mini": "my-deployment"}
    assert (azure.quality, azure.limits.requests_per_min) == (6.0, 500)
    assert (groq.base_url, groq.key_env, groq.key) == (PRESETS["groq"].base_url, "GROQ_API_KEY", Secret("gsk-secret"))
    assert "/embeddings" not in groq.endpoints
    assert settings.rules[0].pattern.search("a Refund")
    assert (settings.objective, settings.quality_min) == ("speed+cost", 4.0)


def test_keys_never_show(tmp_path):
    """Not in the repr of the settings, nor of an upstream."""
    file = tmp_path / "h.toml"
    file.write_text(TOML)
    settings = load_settings(file=file, environ=ENV)
    assert "secret" not in repr(settings) + str(settings.upstreams[0]) + f"{settings.upstreams}"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"base_url": "http://a/v1"}, "name is missing"),
        ({"name": "a"}, "base_url is missing"),
        ({"name": "a", "preset": "azure"}, "base_url is missing"),
        (ONE | {"qualty": 3}, "upstream 1 (a): unknown key 'qualty'; did you mean 'quality'"),
        (ONE | {"quality": 11}, "quality must be a number from 0 to 10, not 11"),
        (ONE | {"quality": True}, "quality must be a number"),
        (ONE | {"tier": "slow"}, "tier must be one of ultra_fast, fast, balanced, quality"),
        (ONE | {"preset": ["groq"]}, "preset must be one of openai, azure"),
        (ONE | {"models": []}, "models must be a list of models, or a table"),
        (ONE | {"models": {"a": 1}}, "models must be"),
        (ONE | {"endpoints": ["chat"]}, "endpoints must be a list of chat/completions"),
        (ONE | {"input_usd": -1}, "input_usd must be dollars per million"),
        (ONE | {"key": "sk-x"}, "key must not stand here"),
        (ONE | {"api_key": "sk-x"}, "api_key must not stand here"),
        (ONE | {"key_env": "sk-x y"}, "key_env must be the name of an environment variable, not what was given"),
        (ONE | {"key_env": "UNSET"}, "environment variable UNSET is not set"),
        (ONE | {"base_url": "http://user:sk-x@a/v1"}, "base_url must be a URL without credentials"),
        (ONE | {"base_url": "http://a/v1?k=sk-x"}, "base_url must be a URL without credentials"),
        (ONE | {"base_url": "ftp://a"}, "base_url must be a URL"),
        (ONE | {"base_url": "http://a:99999"}, "base_url must be a URL"),
        (ONE | {"limits": "openai/tier-1"}, "limits hold for one model each"),
        (ONE | {"limits": "none"}, "limits must be one of"),
    ],
)
def test_what_is_wrong_is_named(entry, says):
    """The entry, the key and what was expected; never a secret."""
    with pytest.raises(ConfigError) as caught:
        load_settings({"upstreams": [entry]}, environ={})
    assert says in str(caught.value)
    assert "sk-x" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"upstreams": {"name": "a"}}, "upstream must be a list of tables"),
        ({"upstreams": [ONE, ONE]}, "two upstreams are called 'a'"),
        ({"upstreams": [ONE, ONE | {"name": "b", "input_usd": 1}]}, "different prices for the same model"),
        ({"upstreams": [ONE] * 65}, "more than the 64"),
        ({"rules": [{"tier": "fast"}]}, "a rule needs a tier and at least one condition"),
        ({"rules": [{"tier": "fast", "pattern": "("}]}, "rule 1: pattern is no regular expression"),
        ({"rules": [{"tier": "fast", "language": "english"}]}, 'language must be two letters such as "en"'),
        ({"rules": [{"tier": "fast", "chars_min": -1}]}, "chars_min must be a whole number"),
        ({"objective": "speed"}, 'objective must be two of speed, quality and cost, such as "speed+cost"'),
        ({"quality_min": 12}, "quality_min must be a number from 0 to 10"),
    ],
)
def test_lists_rules_and_objectives_are_checked_too(given, says):
    """One sentence each."""
    with pytest.raises(ConfigError) as caught:
        load_settings(given, environ={})
    assert says in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_by_its_variable():
    """Named, not shown."""
    with pytest.raises(ConfigError, match="environment variable AZ must be a printable text") as caught:
        load_settings({"upstreams": [ONE | {"key_env": "AZ"}]}, environ={"AZ": "sk two"})
    assert "sk two" not in str(caught.value)


def test_a_file_that_was_only_found_may_not_add_strangers(tmp_path, monkeypatch):
    """A cloned repository's headway.toml sends no prompt elsewhere until it is named; this machine is no stranger."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "headway.toml").write_text(TOML)
    with pytest.raises(ConfigError, match="may not have keys and prompts sent to"):
        load_settings(environ=ENV)
    assert len(load_settings(file="headway.toml", environ=ENV).upstreams) == 2
    assert load_settings({"upstreams": []}, environ=ENV).upstreams == ()
    (tmp_path / "headway.toml").write_text('[[upstream]]\nname = "a"\npreset = "ollama"\n')
    assert load_settings(environ={}).upstreams[0].base_url == PRESETS["ollama"].base_url


def test_the_documents_example_is_accepted(tmp_path):
    """The blocks of docs/routing.md load as they stand there."""
    page = (Path(__file__).parents[1] / "docs" / "routing.md").read_text("utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / "h.toml"
    found = []
    for block in blocks:
        file.write_text(block, "utf-8")
        keys = dict.fromkeys(("AZURE_OPENAI_API_KEY", "GROQ_API_KEY", "OPENAI_API_KEY"), "k")
        settings = load_settings(file=file, environ=keys)
        found.append((len(settings.upstreams), len(settings.rules)))
    assert found == [(2, 0), (1, 0), (0, 3)]


def test_the_environment_may_hold_upstreams():
    """As TOML, like any other setting."""
    text = '[{name = "a", base_url = "http://a/v1", models = ["m"]}]'
    assert load_settings(environ={"HEADWAY_UPSTREAMS": text}).upstreams[0].models == {"m": "m"}
