"""The head of a prompt, and the key made of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.wire.prefix import cache_key, head_of, takes_cache_key

SYSTEM = "You label tickets. " * 100


def chat(*messages: tuple[str, object], **more: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": r, "content": c} for r, c in messages], **more}).encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chat(("system", SYSTEM), ("user", "a")), chat(("system", SYSTEM), ("user", "b"))),
        (chat(("system", SYSTEM), ("developer", "x"), ("user", "a")), chat(("system", SYSTEM), ("developer", "x"))),
        (json.dumps({"instructions": SYSTEM, "input": "a"}), json.dumps({"instructions": SYSTEM, "input": "b"})),
        (json.dumps({"system": SYSTEM, "messages": []}), json.dumps({"temperature": 1, "system": SYSTEM})),
    ],
)
def test_equal_heads_have_equal_digests(one, other):
    """Whatever follows them, and in whichever format."""
    heads = [head_of(body if isinstance(body, bytes) else body.encode()) for body in (one, other)]
    assert heads[0] == heads[1]
    assert heads[0].tokens >= len(SYSTEM) // 4
    assert "You label tickets." in heads[0].text


def test_tools_belong_to_the_head():
    """A prompt cache starts with them."""
    plain, tooled = chat(("system", SYSTEM)), chat(("system", SYSTEM), tools=[{"name": "look_up"}])
    assert head_of(plain).digest != head_of(tooled).digest
    assert head_of(chat(("user", "a"), tools=[{"name": "look_up"}])).text == ""


def test_system_messages_behind_the_first_turn_do_not():
    """They follow what changes."""
    assert head_of(chat(("user", "a"), ("system", SYSTEM))) is None


@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from(["system", "messages", "input", "tools"]),
        st.recursive(
            st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        ),
    ).map(lambda tree: json.dumps(tree).encode())
)
def test_any_bytes_can_be_read(body):
    """A head or None, never an exception."""
    head = head_of(body)
    assert head is None or head.tokens >= 0


def test_the_key_tells_neither_credential_nor_prompt():
    """Equal for equal heads of one tenant; different for another; as long as a digest."""
    head = head_of(chat(("system", SYSTEM)))
    assert cache_key("t1", head) == cache_key("t1", head) != cache_key("t2", head)
    assert len(cache_key("a" * 64, head)) == 35
    assert head.digest.hex() not in cache_key("", head)


@pytest.mark.parametrize(
    ("origin", "path", "takes"),
    [
        ("https://api.openai.com", "/v1/responses", True),
        ("https://mine.openai.azure.com", "/openai/v1/responses", True),
        ("https://mine.openai.azure.com", "/openai/deployments/d/chat/completions?api-version=2024-10-21", False),
        ("http://127.0.0.1:8181", "/v1/responses", True),
        ("http://localhost:8000", "/v1/responses", True),
        ("https://api.mistral.ai", "/v1/chat/completions", False),  # refuses fields that it does not know
        ("https://api.openai.com.evil.test", "/v1/responses", False),
        ("", "/v1/responses", False),
    ],
)
def test_only_servers_that_know_the_field_get_it(origin, path, takes):
    """An unknown field is an error at some of them."""
    assert takes_cache_key(origin, path) is takes
