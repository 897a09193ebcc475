"""Fingerprints: different inputs never share a key, different credentials never share a tenant."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.fingerprint import fingerprint, tenant_of, version_headers_of

BASE: dict[str, Any] = {
    "schema": 1,
    "tenant": "0123456789abcdef",
    "endpoint": "/v1/responses",
    "origin": "https://api.openai.com",
    "version_headers": (("openai-beta", "a=b"),),
    "canonical": b'{"model":"m"}',
}
TEXT = st.text(st.sampled_from("a1:/"), max_size=4)
HEADERS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(lambda pairs: tuple(sorted(pairs)))
INPUTS = st.fixed_dictionaries(
    {
        "schema": st.integers(0, 12),
        "tenant": TEXT,
        "endpoint": TEXT,
        "origin": TEXT,
        "version_headers": HEADERS,
        "canonical": TEXT.map(str.encode),
    }
)


def test_is_32_stable_bytes():
    """The key is pinned: should it change by accident, every stored answer would be lost."""
    key = fingerprint(**BASE)
    assert key.hex() == "edad6a52da4e4e816c2a83273778a51229ef1e98c54a6d29a21fa97c37e54f1a"


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"tenant": ""},
        {"endpoint": "/v1/chat/completions"},
        {"origin": "https://eu.api.openai.com"},
        {"version_headers": ()},
        {"version_headers": (("openai-beta", "a=c"),)},
        {"canonical": b'{"model":"n"}'},
    ],
)
def test_every_part_counts(change: dict[str, Any]):
    """Changing any one part changes the key."""
    assert fingerprint(**{**BASE, **change}) != fingerprint(**BASE)


@given(INPUTS, INPUTS)
def test_no_collision_by_concatenation(one: dict[str, Any], other: dict[str, Any]):
    """Parts never run into one another: equal keys only for equal inputs."""
    assert (fingerprint(**one) == fingerprint(**other)) == (one == other)


def test_neighbouring_parts_do_not_merge():
    """Moving a character, or a digit that looks like a length, over a boundary changes the key."""
    variants = [
        {**BASE, "tenant": "a", "endpoint": "bc"},
        {**BASE, "tenant": "ab", "endpoint": "c"},
        {**BASE, "tenant": "", "endpoint": "abc"},
        {**BASE, "tenant": "a2:bc", "endpoint": ""},
        {**BASE, "version_headers": (), "canonical": b"1:a1:b"},
        {**BASE, "version_headers": (("a", "b"),), "canonical": b""},
    ]
    assert len({fingerprint(**variant) for variant in variants}) == len(variants)


def test_tenant_is_a_digest_of_the_whole_credential():
    """The full digest, no credential in it; any byte of any credential header makes another tenant."""
    base = (("authorization", "Bearer sk-aaaa"), ("openai-project", "p1"))
    tenants = [
        tenant_of(base),
        tenant_of((("authorization", "Bearer sk-aaab"), ("openai-project", "p1"))),
        tenant_of((("authorization", "Bearer sk-aaaa"), ("openai-project", "p2"))),
        tenant_of((("authorization", "Bearer sk-aaaa"), ("openai-organization", "p1"))),
        tenant_of((("authorization", "Bearer sk-aaaa"),)),
        tenant_of((("x-api-key", "Bearer sk-aaaa"),)),
        tenant_of((("api-key", "Bearer sk-aaaa"),)),
        tenant_of((("x-goog-api-key", "Bearer sk-aaaa"),)),
        tenant_of((("cookie", "Bearer sk-aaaa"),)),
    ]
    assert len(set(tenants)) == len(tenants)
    assert all(re.fullmatch("[0-9a-f]{64}", tenant) for tenant in tenants)


def test_tenant_ignores_order_and_other_headers():
    """The same credential is the same tenant, whatever else is sent and in whatever order."""
    one = (("authorization", "k"), ("user-agent", "x"), ("openai-project", "p"))
    other = (("openai-project", "p"), ("x-stainless-retry-count", "1"), ("authorization", "k"))
    assert tenant_of(one) == tenant_of(other)


def test_anonymous_has_no_tenant():
    """Without a credential the tenant is empty."""
    assert tenant_of((("user-agent", "x"),)) == ""


@pytest.mark.parametrize(
    "name",
    """openai-beta x-custom-behaviour x-goog-user-project helicone-auth x-a x-forwarded-user x-forwarded-email
    x-forwarded-access-token""".split(),
)
def test_a_header_that_may_change_the_answer_is_in_the_key(name: str):
    """Known or not: only what is known not to matter is left out."""
    assert version_headers_of(((name, "1"),)) == ((name, "1"),)


@pytest.mark.parametrize(
    "name",
    """host content-type content-length accept accept-language user-agent connection date x-stainless-retry-count
    traceparent tracestate x-request-id x-forwarded-for x-forwarded-proto idempotency-key headway-tag cookie authorization openai-project""".split(),
)
def test_transport_and_identification_are_not_in_the_key(name: str):
    """They differ from call to call, or are the tenant's: in the key they would only make it miss."""
    assert version_headers_of(((name, "1"),)) == ()


def test_version_headers_are_selected_and_sorted():
    """Sorted by name; repeated ones keep their order."""
    headers = (("openai-beta", "b"), ("accept", "*/*"), ("anthropic-beta", "z"), ("anthropic-beta", "a"))
    assert version_headers_of(headers) == (
        ("anthropic-beta", "z"),
        ("anthropic-beta", "a"),
        ("openai-beta", "b"),
    )


def test_odd_text_never_raises():
    """Header values with unpaired surrogates still get a key."""
    assert len(fingerprint(**{**BASE, "origin": "\udc80"})) == 32
    assert len(tenant_of((("authorization", "\udc80"),))) == 64
