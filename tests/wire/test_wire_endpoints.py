"""Presets, endpoints and the user's text."""

from __future__ import annotations

import pytest

from headway.wire.endpoints import ENDPOINTS, PRESETS, credential, endpoint_of
from headway.wire.prompt_text import prompt_text

TURNS = b"""{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},
{"role":"assistant","content":"x"},{"role":"user","content":[{"type":"text","text":"b"}]}]}"""


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/openai/deployments/x/chat/completions?api-version=1", "/chat/completions"),
        ("/v1beta/openai/embeddings", "/embeddings"),
        ("/v1/messages", "/v1/messages"),
        ("/v1/threads/t/messages", ""),
        ("/v1/responses/resp_1", ""),
        ("/v1/files", ""),
    ],
)
def test_the_end_of_a_path_names_the_endpoint(path, endpoint):
    """Whatever prefix stands before it."""
    assert endpoint_of(path) == endpoint


def test_presets_are_addresses_over_tls_or_this_machine():
    """No key is sent in the clear over a network; every endpoint is a known one."""
    for preset in PRESETS.values():
        local = preset.base_url.startswith("http://localhost:")
        assert preset.base_url.startswith("https://") or local or not preset.base_url
        assert set(preset.endpoints) <= set(ENDPOINTS)
        assert local == (not preset.key_env)


def test_the_messages_format_has_a_header_of_its_own():
    """All others take a bearer."""
    assert credential("/v1/messages", "k") == ("x-api-key", "k")
    assert credential("/responses", "k") == ("authorization", "Bearer k")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"input":"hello"}', "hello"),
        (b'{"instructions":"rules","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}]}', "a"),
        (TURNS, "a\nb"),
        (b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}', ""),
        (b"[1]", ""),
        (b"{", ""),
        (b'{"input":' + b"[" * 200 + b"]" * 200 + b"}", ""),
    ],
)
def test_the_users_text_is_read_out_of_either_format(body, text):
    """System prompts, the model's turns and media are left out; what cannot be read is nothing."""
    assert prompt_text(body) == text
