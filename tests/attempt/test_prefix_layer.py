"""Keys and breakpoints on the way to the provider: where they are put, and where everything stays as it was."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from headway import Engine
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step, virtual_run

SYSTEM = " ".join(f"Rule {i}: questions on topic {i} get the label t{i}." for i in range(150))
HOME = "https://api.openai.com/v1"
QUIET = {"log": "off", "log_level": "off", "seed": 7}


def responses(question: str, system: str = SYSTEM, **more: object) -> dict:
    return {"model": "gpt-5.4-mini", "instructions": system, "input": question, **more}


def messages(question: str, system: object = SYSTEM, **more: object) -> dict:
    turns = [{"role": "user", "content": question}]
    return {"model": "claude-sonnet-5", "max_tokens": 20, "system": system, "messages": turns, **more}


def sent(
    bodies: list[dict], path: str = "/v1/responses", *, keys: tuple[str, ...] = ("sk-a",), **settings
) -> list[dict]:
    """What reached the provider of those requests, one after the other, for each key."""
    provider = FakeProvider([Step()])

    async def main() -> None:
        async with Engine(handler=provider, **QUIET | {"base_url": HOME, "prompt_cache": "auto"} | settings) as engine:
            for key in keys:
                for body in bodies:
                    await engine.send(path, body, headers={"authorization": f"Bearer {key}"})

    virtual_run(main)
    return [json.loads(call.body) for call in provider.seen]


def test_requests_with_one_head_get_one_key():
    """Whatever they ask; and another credential gets another key."""
    seen = sent([responses("a"), responses("b")], keys=("sk-a", "sk-b"))
    keys = [body.pop("prompt_cache_key") for body in seen]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert seen[:2] == [responses("a"), responses("b")]
    assert all(key.startswith("hw-") for key in keys)


def test_another_head_gets_another_key():
    """The key keeps those together that can share."""
    one, other = sent([responses("a"), responses("a", SYSTEM + " More.")])
    assert one["prompt_cache_key"] != other["prompt_cache_key"]


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        (responses("a", prompt_cache_key="mine"), {}),
        (responses("a", "Short."), {}),
        ({"model": "gpt-5.4-mini", "input": SYSTEM * 3}, {}),
        (responses("a"), {"prompt_cache": "off"}),
        (responses("a"), {"base_url": "https://api.mistral.ai/v1"}),
    ],
    ids=["the client's own stands", "too short", "no head", "off", "a stranger"],
)
def test_other_requests_stay_as_they_are(body, settings):
    """To the byte, as far as JSON tells."""
    assert sent([body], **settings) == [body]


def played(gaps_s: list[float], body: dict, **settings) -> tuple[list[bool], object]:
    """Messages at those gaps to the simulator; which were marked, and its totals."""
    simulator = Simulator(SimSettings(seed=1, latency_scale=0.1))
    marked: list[bool] = []

    async def watched(call):
        marked.append(b"cache_control" in call.body)
        return await simulator.handler(call)

    async def main() -> None:
        async with Engine(handler=watched, api_key="k", prompt_cache="auto", **QUIET | settings) as engine:
            for n, gap_s in enumerate(gaps_s):
                await asyncio.sleep(gap_s)
                await engine.send("/v1/messages", body | {"messages": [{"role": "user", "content": f"Question {n}"}]})

    virtual_run(main)
    return marked, simulator.ledger.totals


def test_a_busy_prefix_is_marked_once_reuse_is_known():
    """Learned from two requests; one write, then reads."""
    marked, totals = played([5.0] * 20, messages(""))
    assert marked == [False] * 2 + [True] * 18
    assert totals.cache_write_tokens * 17 == totals.cached_tokens > 17_000


def test_a_rare_prefix_is_never_marked():
    """It would have expired each time: writing it would cost a quarter more for nothing."""
    marked, totals = played([400.0] * 10, messages(""))
    assert not any(marked)
    assert totals.cache_write_tokens == 0


def test_a_short_prefix_is_never_marked():
    """The provider would ignore it."""
    marked, _ = played([5.0] * 10, messages("", "Be brief."))
    assert not any(marked)


def test_a_clients_own_breakpoints_are_left_alone():
    """It knows better, from the first request on."""
    own = messages("", [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}])
    marked, totals = played([5.0] * 3, own)
    assert marked == [True] * 3
    assert totals.cached_tokens > 0


def test_what_spoils_a_prefix_is_told_once(caplog):
    """Kind, place and tokens lost; no word of the prompt, and the prompt stays as its client wrote it."""
    bodies = [responses("a", f"It is 2026-11-21T10:15:{second:02}Z. {SYSTEM}") for second in range(3)]
    with caplog.at_level(logging.WARNING, "headway.prompt_cache"):
        seen = sent(bodies)
    assert [body["instructions"] for body in seen] == [body["instructions"] for body in bodies]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "holds a timestamp at character 6 that changes from request to request" in said
    assert "gpt-5.4-mini" in said
    assert "10:15" not in said
    assert "Rule" not in said


def test_stable_prompts_are_not_warned_about(caplog):
    """Two applications with one key take turns: no warning."""
    with caplog.at_level(logging.WARNING, "headway.prompt_cache"):
        sent([responses("a"), responses("a", "Write poems. " * 400), responses("b")])
    assert not caplog.records


def test_memory_is_bounded(monkeypatch):
    """Prefixes and heads that were not used for long are forgotten."""
    monkeypatch.setattr("headway.attempt.prefix.PREFIXES_MAX", 3)
    monkeypatch.setattr("headway.attempt.prefix.SCOPES_MAX", 2)
    held = []

    async def main() -> None:
        async with Engine(handler=FakeProvider(), prompt_cache="auto", api_key="k", **QUIET) as engine:
            for n in range(10):
                await engine.send("/v1/messages", messages("a", f"{n} {SYSTEM}") | {"model": f"claude-sonnet-5-{n}"})
            layer = engine._stack._attempt._next
            held.extend([len(layer._prefixes), len(layer._heads)])

    virtual_run(main)
    assert held == [3, 2]
