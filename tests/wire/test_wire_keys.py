"""How a provider is told the key, and which variable holds it."""

import pytest

from headway.config import load_settings
from headway.wire.endpoints import PRESETS, key_variables, own_credential

ANTHROPIC = PRESETS["anthropic"].base_url


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/responses", (("authorization", "Bearer k"),)),
        ("/v1/files/f/content", (("authorization", "Bearer k"),)),
        ("/v1/threads/t/messages", (("authorization", "Bearer k"),)),
        ("/v1/messages?beta=true", (("x-api-key", "k"), ("anthropic-version", "2023-06-01"))),
        ("/proxy/v1/messages/batches/b", (("x-api-key", "k"), ("anthropic-version", "2023-06-01"))),
    ],
)
def test_the_path_says_how_the_key_is_told(path, headers):
    """And nothing is told where there is none."""
    assert own_credential(path, "k") == headers
    assert own_credential(path, "") == headers[1:]


@pytest.mark.parametrize(
    ("base_url", "variables"),
    [
        ("https://api.openai.com/v1", ("OPENAI_API_KEY", "OPENAI_API_KEY")),
        (ANTHROPIC, ("ANTHROPIC_API_KEY",)),
        (ANTHROPIC + "/", ("ANTHROPIC_API_KEY",)),
        ("https://api.groq.com/openai/v1", ("GROQ_API_KEY", "OPENAI_API_KEY")),
        ("http://localhost:11434/v1", ("OPENAI_API_KEY",)),
        ("https://elsewhere.example/v1", ("OPENAI_API_KEY",)),
    ],
)
def test_a_providers_own_variable_comes_first(base_url, variables):
    """OpenAI's is understood for all that speak its formats, and never sent to one that does not."""
    assert key_variables(base_url) == variables


@pytest.mark.parametrize(
    ("given", "env", "key"),
    [
        ({"base_url": ANTHROPIC}, {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}, "a"),
        ({"base_url": ANTHROPIC}, {"OPENAI_API_KEY": "o"}, None),
        ({"base_url": ANTHROPIC, "api_key_env": "MY_API_KEY"}, {"ANTHROPIC_API_KEY": "a", "MY_API_KEY": "m"}, "m"),
        ({}, {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}, "o"),
        ({"base_url": "https://api.mistral.ai/v1"}, {"OPENAI_API_KEY": "o"}, "o"),
        ({"base_url": "https://api.mistral.ai/v1"}, {"OPENAI_API_KEY": "o", "MISTRAL_API_KEY": "m"}, "m"),
    ],
)
def test_the_key_of_an_engine(given, env, key):
    """`api_key_env` decides where it is given; else the base URL does."""
    found = load_settings(given, environ=env).api_key
    assert (found and found.reveal()) == key
