"""Keys that are remembered: one that is told twice is the one that would be made."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from headway.caller.cache import _KEYS_MAX, Cache, key_of
from headway.types import Call, Trace
from headway.wire import reader_for

PATH = "/v1/responses"
BODY = b'{"model":"fastest","input":"Where is my card?"}'


def asked(path: str = PATH, body: bytes = BODY) -> Call:
    reader = reader_for(path)
    assert reader is not None
    view = reader.read_request(body, ())
    return Call(origin="http://a.example", path=path, body=body, view=view, trace=Trace("call", "id", 0.0, 0.0))


def cache() -> Cache:
    async def never(call: Call):
        raise AssertionError(call)

    return Cache(never, {}, wall_s=lambda: 0.0, rng=Random(0), refresh=lambda _: None, route="digest")


OTHERS = {
    "origin": replace(asked(), origin="http://b.example"),
    "path": asked("/v1/chat/completions", b'{"model":"fastest","messages":[{"role":"user","content":"hi"}]}'),
    "headers": replace(asked(), headers=(("openai-beta", "assistants=v2"),)),
    "body": asked(body=BODY.replace(b"card", b"cash")),
    "view": asked(body=BODY.replace(b"fastest", b"gpt-5.4")),
    "tenant": replace(asked(), tenant="another"),
    "namespace": replace(asked(), namespace="another"),
    "sample": replace(asked(), sample="2"),
}
NO_PART = {"method", "trace", "key", "cache_mode", "deadline_at_s", "priority", "attempts_max", "timeouts", "tags",
           "allowance"}  # fmt: skip


def test_every_field_of_a_call_is_looked_at():
    """One that is added has to be told whether keys are made of it."""
    assert set(Call.__struct_fields__) == set(OTHERS) | NO_PART


@pytest.mark.parametrize("field", OTHERS)
def test_calls_that_differ_in_a_part_have_keys_of_their_own(field):
    """Whatever was remembered before: another tenant's answer is nobody else's."""
    layer, first, other = cache(), asked(), OTHERS[field]
    for call in (first, other, first, other):
        assert layer._key_of(call) == key_of(call, route="digest") is not None
    assert layer._key_of(first) != layer._key_of(other)


def test_few_are_remembered():
    """However many are asked for; large bodies are not."""
    layer = cache()
    for number in range(3 * _KEYS_MAX):
        layer._key_of(asked(body=BODY.replace(b"card", b"card %d" % number)))
        assert len(layer._keys) <= _KEYS_MAX
    before = len(layer._keys)
    layer._key_of(asked(body=BODY.replace(b"card", b"card" * 2_000)))
    assert len(layer._keys) == before
