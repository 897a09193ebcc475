"""Anthropic's Messages, played: in-process under virtual time, and by its own SDK over HTTP."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import anthropic
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import ConnectionLost
from headway.sim import Fault, SimSettings, Simulator, run_virtual, serving
from headway.sim.anthropic_ask import read_messages
from headway.sim.breakpoints import BreakpointCache
from headway.types import Reply
from tests.sim.helpers import call, json, now_s

MODEL = "claude-sonnet-5"
SYSTEM = "You sort tickets with care. " * 300  # about 1,800 tokens
TOOL = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
MARK = {"type": "ephemeral"}


def body(text: str = "Write 12 words.", **fields: Any) -> dict[str, Any]:
    """A small request."""
    return {"model": MODEL, "max_tokens": 4_000, "messages": [{"role": "user", "content": text}], **fields}


async def ask(simulator: Simulator, *, fault: str = "", **fields: Any) -> Reply:
    """A message, read to the end."""
    reply = await simulator.handler(call("/v1/messages", body(**fields), fault=fault))
    await reply.read()
    return reply


def play(*, seed: int = 0, **fields: Any) -> Simulator:
    """A simulator whose answers are never wrong."""
    return Simulator(SimSettings(seed=seed, quality=None, **fields))


def events(reply: Reply) -> list[dict[str, Any]]:
    """The data of a stream's events, whose names must agree with them."""
    found = []
    for event in (reply.body or b"").decode().strip().split("\n\n"):
        name, data = event.split("\n")
        found.append(msgspec.json.decode(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_whole_and_streamed_answers_are_one():
    """The events of a stream add up to the message that is sent whole, usage and thinking included."""

    async def main() -> tuple[Any, list[dict[str, Any]]]:
        fields: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 2_000}}
        whole = json(await ask(play(), **fields))
        return whole, events(await ask(play(), stream=True, **fields))

    whole, stream = run_virtual(main)
    assert [block["type"] for block in whole["content"]] == ["thinking", "text"]
    built: list[dict[str, Any]] = []
    for event in stream:
        if event["type"] == "content_block_start":
            assert event["index"] == len(built)
            built.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            kind = delta.pop("type")
            field = {"signature_delta": "signature", "thinking_delta": "thinking", "text_delta": "text"}[kind]
            built[event["index"]][field] += delta[field]
    assert built == whole["content"]
    kinds = [event["type"] for event in stream]
    assert (kinds[0], kinds[1], kinds[2], kinds[-1]) == (
        "message_start", "content_block_start", "ping", "message_stop",
    )  # fmt: skip
    assert stream[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert stream[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"] > 12
    assert whole["usage"]["output_tokens_details"]["thinking_tokens"] > 50
    assert "".join(block.get("text", "") for block in built).count(" ") == 11


def test_why_it_stopped():
    """The bound, a stop sequence, a tool: each has its word."""

    async def main() -> list[Any]:
        simulator = play()
        asked: list[dict[str, Any]] = [
            {"max_tokens": 3},
            {"stop_sequences": ["zzz", "e"], "text": "Write 40 words."},
            {"tools": [TOOL], "tool_choice": {"type": "any"}, "text": "Paris"},
            {"tools": [TOOL], "tool_choice": {"type": "none"}, "text": "get weather of city Paris"},
        ]
        return [json(await ask(simulator, **fields)) for fields in asked]

    cut, stopped, called, plain = run_virtual(main)
    assert (cut["stop_reason"], cut["usage"]["output_tokens"]) == ("max_tokens", 3)
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "e")
    assert "e" not in stopped["content"][0]["text"]
    assert called["stop_reason"] == "tool_use"
    assert called["content"][0]["input"] == {"city": "Paris"}
    assert plain["stop_reason"] == "end_turn"


def test_errors_have_its_shape():
    """Its own types and words; money is a 400; the html of a proxy stays html."""
    wanted = {
        "429": (429, "rate_limit_error"), "500": (500, "api_error"), "529": (529, "overloaded_error"),
        "503": (503, "overloaded_error"), "quota": (400, "invalid_request_error"),
    }  # fmt: skip

    async def main() -> None:
        simulator = play()
        for fault, (status, kind) in wanted.items():
            reply = await ask(simulator, fault=fault)
            error = json(reply)
            assert (reply.status, error["type"], error["error"]["type"]) == (status, "error", kind)
            assert error["request_id"] == dict(reply.headers)["request-id"]
            assert ("retry-after" in dict(reply.headers)) == (fault == "429")
        assert simulator.ledger.rows[-1].status == 400
        assert dict((await ask(simulator, fault="html")).headers)["content-type"] == "text/html"
        for wrong, told in (
            ({"model": "gpt-4o"}, "not_found_error"), ({"max_tokens": None}, "invalid_request_error"),
            ({"messages": []}, "invalid_request_error"), ({"messages": [{"role": "system"}]}, "invalid_request_error"),
            ({"thinking": {"type": "enabled", "budget_tokens": 5_000}}, "invalid_request_error"),
        ):  # fmt: skip
            assert json(await ask(simulator, **wrong))["error"]["type"] == told
        inside = events(await ask(simulator, stream=True, fault="event"))
        assert inside[-1] == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        with pytest.raises(ConnectionLost):
            await ask(simulator, stream=True, fault="reset")
        short = events(await ask(simulator, stream=True, fault="truncated"))
        assert "message_stop" not in [event["type"] for event in short]
        assert json(await ask(simulator, fault="empty"))["content"] == []

    run_virtual(main)


def test_scheduled_faults_befall_it_too():
    """A fault of the settings is not one endpoint's."""

    async def main() -> int:
        return (await ask(play(faults=(Fault(kind="529"),)))).status

    assert run_virtual(main) == 529


def usage(reply: Reply) -> tuple[int, int, int]:
    """Fresh, written and read input tokens."""
    counts = json(reply)["usage"]
    return counts["input_tokens"], counts["cache_creation_input_tokens"], counts["cache_read_input_tokens"]


def system(ttl: str = "5m", text: str = SYSTEM) -> list[dict[str, Any]]:
    """System text that ends in a breakpoint."""
    return [{"type": "text", "text": text, "cache_control": {**MARK, "ttl": ttl}}]


def test_a_breakpoint_is_written_read_and_forgotten():
    """The first writes, later ones read and keep it alive; five minutes without a use end it."""

    async def main() -> list[tuple[int, int, int]]:
        simulator, found = play(), []
        for text, pause_s in (("Ticket: a", 200), ("Ticket: b", 290), ("Ticket: c", 320), ("Ticket: d", 0)):
            found.append(usage(await ask(simulator, system=system(), text=text)))
            await asyncio.sleep(pause_s)
        return found

    first, second, third, late = run_virtual(main)
    assert first[1] > 1_024 > first[0] > 0 == first[2]
    assert second == third == (first[0], 0, first[1])
    assert late == first


def test_what_is_written_can_be_read_once_its_answer_begins():
    """Three at once all write; one first and then three: one write. This is why send-one-then-fan pays."""

    async def main() -> tuple[list[int], list[int]]:
        together, fanned = play(), play(seed=1)
        at_once = await asyncio.gather(*(ask(together, system=system(), text=f"Ticket: {n}") for n in range(3)))
        one = await ask(fanned, system=system(), text="Ticket: first")
        after = await asyncio.gather(*(ask(fanned, system=system(), text=f"Ticket: {n}") for n in range(3)))
        return [usage(r)[1] for r in at_once], [usage(r)[1] for r in (one, *after)]

    at_once, fanned = run_virtual(main)
    assert all(at_once)
    assert [bool(written) for written in fanned] == [True, False, False, False]


def test_prices_of_the_cache():
    """Writes cost 1.25x, for an hour 2x, reads a tenth; the ledger books them apart."""

    async def main() -> list[float | None]:
        simulator, found = play(), []
        for fields in ({"system": SYSTEM}, {"system": system()}, {"system": system()}, {"system": system("1h")}):
            simulator.ledger.reset()
            await ask(simulator, **fields, text=f"Write 5 words. {'x' if fields['system'] is SYSTEM else 'y'}")
            found.append(simulator.ledger.totals.dollars)
            row = simulator.ledger.rows[0]
            assert row.input_tokens > row.cached_tokens + row.cache_write_tokens
        assert simulator.ledger.rows[0].cached_tokens  # an hour's breakpoint reads what five minutes' wrote
        simulator = play()
        await ask(simulator, system=system("1h"), text="Write 5 words. y")
        return [*found[:3], simulator.ledger.totals.dollars]

    plain, written, read, hour = (dollars or 0.0 for dollars in run_virtual(main))
    assert plain < written < hour < 2 * plain
    assert read < 0.25 * plain
    per_token = 2e-6
    tokens = (written - plain) / (0.25 * per_token)
    assert hour - plain == pytest.approx(tokens * per_token, rel=0.01)


def test_short_prefixes_are_not_cached_and_breakpoints_are_bounded():
    """Below the model's minimum nothing happens, silently; five breakpoints or a misplaced hour are refused."""

    async def main() -> None:
        simulator = play()
        short = await ask(simulator, system=system(text="Be brief."))
        assert usage(short)[1:] == (0, 0)
        assert usage(await ask(simulator, system=system(text="Be brief. " * 200), model="claude-opus-5"))[1] > 512
        large = await ask(simulator, system=system(), model="claude-haiku-4-5-20251001")  # 4,096 tokens at least
        assert usage(large)[1:] == (0, 0)
        parts = [{"type": "text", "text": "a", "cache_control": MARK} for _ in range(5)]
        many = await ask(simulator, messages=[{"role": "user", "content": parts}])
        assert (many.status, "Found 5" in json(many)["error"]["message"]) == (400, True)
        mixed = [*system("5m"), *system("1h")]
        assert (await ask(simulator, system=mixed)).status == 400

    run_virtual(main)


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=40), data=st.data())
@settings(max_examples=60, deadline=None)
def test_read_and_written_never_exceed_the_prompt(lengths, data):
    """For any blocks and breakpoints: parts add up, a second look reads what the first wrote, prefixes only."""
    marks = data.draw(st.sets(st.integers(0, len(lengths) - 1), max_size=4))
    parts = [
        {"type": "text", "text": f"{place} {length}", **({"cache_control": MARK} if place in marks else {})}
        for place, length in enumerate(lengths)
    ]
    raw = msgspec.json.encode(body(messages=[{"role": "user", "content": parts}]))
    blocks = read_messages(raw, "").blocks
    cache = BreakpointCache()
    found = cache.look(b"s", blocks, lengths, 100, 0.0)
    assert (found.read, found.hour) == (0, 0)
    reached = [sum(lengths[: mark + 1]) for mark in marks]
    assert found.written == max([size for size in reached if size >= 100], default=0)
    cache.keep(found, 0.0, 5.0)
    assert cache.look(b"s", blocks, lengths, 100, 4.9).read == 0
    again = cache.look(b"s", blocks, lengths, 100, 5.0)
    assert (again.read, again.written) == (found.written, 0)
    assert cache.look(b"other", blocks, lengths, 100, 5.0).read == 0
    assert cache.look(b"s", blocks, lengths, 100, 305.1).read == 0


def test_limits_are_told_in_its_headers_and_kept():
    """RFC 3339 resets, remaining tokens in thousands, and a retry-after after which it is admitted."""

    async def main() -> None:
        simulator = play(rpm=3, tpm=50_000)
        replies = [await ask(simulator, text=f"Write 5 words, {n}") for n in range(3)]
        headers = dict(replies[-1].headers)
        assert headers["anthropic-ratelimit-requests-limit"] == "3"
        assert headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert headers["anthropic-ratelimit-input-tokens-limit"] == "50000"
        assert headers["anthropic-ratelimit-input-tokens-remaining"] == "50000"  # rounded to thousands
        assert headers["anthropic-ratelimit-output-tokens-limit"] == "10000"
        assert headers["anthropic-ratelimit-tokens-limit"] == "60000"
        reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
        assert 50 < reset.timestamp() - simulator.ledger.rows[-1].time_wall_s <= 61
        refused = await ask(simulator, text="Write 5 words, 4")
        assert (refused.status, json(refused)["error"]["type"]) == (429, "rate_limit_error")
        wait_s = int(dict(refused.headers)["retry-after"])
        assert 0 < wait_s <= 20
        await asyncio.sleep(wait_s - 1.2)
        assert (await ask(simulator, text="Write 5 words, 4")).status == 429
        await asyncio.sleep(1.2)
        assert (await ask(simulator, text="Write 5 words, 4")).status == 200

    run_virtual(main)


def test_cache_reads_are_free_of_the_input_limit_and_output_is_charged_as_it_is():
    """Ten prompts of 1,800 tokens fit into 4,000 a minute when read; a bound is not charged, an answer is."""

    async def main() -> None:
        simulator = play(tpm=4_000)
        found = [await ask(simulator, system=system(), text=f"Write 3 words, {n}") for n in range(10)]
        assert {reply.status for reply in found} == {200}
        assert (await ask(simulator, text=SYSTEM + SYSTEM)).status == 429
        small = play(tpm=1_000)  # 200 output tokens a minute
        first = await ask(small, text="Write 300 words.")
        assert first.status == 200
        second = await ask(small, text="Write 5 words.")
        assert (second.status, "200 output tokens" in json(second)["error"]["message"]) == (429, True)

    run_virtual(main)


def test_same_seed_same_bytes():
    """Twice the same, streamed, thinking and all; another seed gives another id."""

    async def main(seed: int) -> tuple[bytes | None, float]:
        reply = await ask(play(seed=seed), stream=True, thinking={"type": "adaptive"}, text="Write 20 words.")
        return reply.body, now_s()

    assert run_virtual(lambda: main(3)) == run_virtual(lambda: main(3)) != run_virtual(lambda: main(4))


def test_the_official_sdk():
    """Plain, streamed, tool, schema, thinking, errors: the SDK takes all of it over HTTP."""

    class Ticket(pydantic.BaseModel):
        category: str
        urgent: bool

    asked: dict[str, Any] = body()
    with (
        serving(SimSettings(latency_scale=0, quality=None)) as url,
        anthropic.Anthropic(base_url=url[:-3], api_key="sim", max_retries=0) as client,
    ):
        plain = client.messages.create(**asked)
        assert plain.usage.output_tokens > 10
        with client.messages.stream(**asked, thinking={"type": "adaptive"}) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert (final.content[0].type, final.content[-1].text) == ("thinking", text)
        with client.messages.stream(
            **{**asked, "messages": [{"role": "user", "content": "Paris"}]},
            tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"},
        ) as stream:  # fmt: skip
            assert stream.get_final_message().content[0].input == {"city": "Paris"}
        assert isinstance(client.messages.parse(**asked, output_format=Ticket).parsed_output, Ticket)
        for fault, error in (
            ("429", anthropic.RateLimitError), ("529", anthropic.APIStatusError), ("quota", anthropic.BadRequestError),
            ("reset", anthropic.APIConnectionError), ("truncated", anthropic.APIConnectionError),
        ):  # fmt: skip
            with pytest.raises(error):
                client.messages.create(**asked, extra_headers={"x-sim-fault": fault})
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            list(client.messages.create(**asked, stream=True, extra_headers={"x-sim-fault": "event"}))
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**{**asked, "model": "claude-0"})
