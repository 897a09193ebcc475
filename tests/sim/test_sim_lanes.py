"""Flex, organisations and grouped prompts."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from headway.errors import ConfigError
from headway.sim import SimSettings, Simulator, run_virtual
from headway.wire.group import answers_in, item_of, merged
from tests.sim.helpers import LABELS, api, call, chat, chat_text, json, lines, now_s, respond, submit, ticket

GROUP = (
    "Answer each item on its own, by the instructions above. Return only a JSON object with the ids as keys and each"
    " answer as a string.\n"
)


@pytest.mark.parametrize("ask", [respond, chat])
def test_flex_is_slower_and_costs_half(ask):
    """Two to four times the time, the same answer, half the dollars, and the tier in the answer."""

    async def main():
        sim = Simulator(SimSettings(quality=None))
        found = []
        for tier in ({}, {"service_tier": "flex"}):
            start_s = now_s()
            reply = await ask(sim, "Write 300 words.", model="gpt-5.4-mini", **tier)
            found.append((now_s() - start_s, json(reply)))
        return found, sim.ledger

    ((plain_s, plain), (flex_s, flex)), ledger = run_virtual(main)
    assert 1.6 < flex_s / plain_s < 5
    assert (plain["service_tier"], flex["service_tier"]) == ("default", "flex")
    assert {**plain, "service_tier": 0, "id": 0}.get("choices") == {**flex, "service_tier": 0, "id": 0}.get("choices")
    first, second = ledger.rows
    assert (first.lane, second.lane, ledger.totals.flex) == ("online", "flex", 1)
    assert second.content == first.content
    assert second.dollars == pytest.approx(first.dollars / 2)


def test_flex_streams_tell_their_tier():
    """In every chunk."""

    async def main():
        return await chat(Simulator(), "Write 5 words.", model="gpt-5.4-mini", stream=True, service_tier="flex")

    assert b'"service_tier":"flex"' in (run_virtual(main).body or b"")


def test_flex_is_refused_unbilled_for_want_of_resources():
    """429 resource_unavailable at the rate that is set, by the dice; no tokens are booked and no limit is charged."""

    async def main():
        sim = Simulator(SimSettings(flex_unavailable=0.5, rpm=30, quality=None))
        replies = [await respond(sim, f"Write {n} words.", service_tier="flex") for n in range(30, 60)]
        return replies, sim.ledger

    replies, ledger = run_virtual(main)
    refused = [json(reply)["error"] for reply in replies if reply.status == 429]
    assert 8 < len(refused) < 22
    assert {error["code"] for error in refused} == {"resource_unavailable"}
    assert [row.dollars for row in ledger.rows if row.outcome == "throttled"] == [0.0] * len(refused)


def test_a_model_without_flex_is_a_400():
    """The parameter is named."""

    async def main():
        return await chat(Simulator(), "Hello", service_tier="flex")

    reply = run_virtual(main)
    assert (reply.status, json(reply)["error"]["param"]) == (400, "service_tier")


def test_two_keys_of_one_organisation_share_their_limits():
    """Third request refused whichever key it has; its text names the organisation; a key of none has its own."""

    async def main():
        names = {"sk-a": "acme", "sk-b": "acme"}
        sim = Simulator(SimSettings(rpm=2, organisations=names))
        replies = [await chat(sim, "Hello", key=key) for key in ("sk-a", "sk-b", "sk-a", "sk-b", "sk-c")]
        batch = json(await submit(sim, lines([ticket(1)]), key="sk-a"))
        seen = [(await api(sim, "GET", f"/v1/batches/{batch['id']}", key=key)).status for key in ("sk-b", "sk-c")]
        return replies, seen, sim.ledger.rows

    replies, seen, rows = run_virtual(main)
    assert [reply.status for reply in replies] == [200, 200, 429, 429, 200]
    assert "in organization acme on requests" in json(replies[2])["error"]["message"]
    told = [dict(reply.headers)["openai-organization"] for reply in replies]
    assert told[:4] == ["acme"] * 4
    assert told[4].startswith("org-sim-")
    assert seen == [200, 404]
    assert len({row.credential for row in rows}) == 3


def test_anthropic_keys_of_one_organisation():
    """Its limits are shared, too, and its header names it."""

    async def main():
        sim = Simulator(SimSettings(rpm=1, organisations={"sk-a": "acme", "sk-b": "acme"}))
        body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        return [await sim.handler(call("/v1/messages", body, key=key)) for key in ("sk-a", "sk-b")]

    first, second = run_virtual(main)
    assert (first.status, second.status) == (200, 429)
    assert dict(first.headers)["anthropic-organization-id"] == "acme"
    assert "(org: acme," in json(second)["error"]["message"]


def test_keys_are_not_in_the_settings_repr():
    """Organisations are told by key."""
    assert "sk-secret" not in repr(SimSettings(organisations={"sk-secret": "acme"}, api_keys=("sk-secret",)))


SYSTEM = {"role": "system", "content": f"Classify the ticket. Return only the label, one of: {', '.join(LABELS)}."}
TICKETS = [f"Parcel {n} never arrived" if n % 2 else f"I was charged {n} times on one invoice" for n in range(2, 8)]


async def alone(sim: Simulator, text: str) -> str:
    """The answer to one item by itself."""
    body = {"model": "gpt-4o", "messages": [SYSTEM, {"role": "user", "content": text}]}
    reply = await sim.handler(call("/v1/chat/completions", body))
    await reply.read()
    return chat_text(reply)


async def group(sim: Simulator, **fields) -> dict[str, str]:
    """The answers to all of them, asked for at once."""
    items = [msgspec.json.encode({"id": str(n), "item": text}).decode() for n, text in enumerate(TICKETS, 1)]
    message = {"role": "user", "content": GROUP + "\n".join(items)}
    reply = await sim.handler(
        call("/v1/chat/completions", {"model": "gpt-4o", "messages": [SYSTEM, message], **fields})
    )
    await reply.read()
    return msgspec.json.decode(chat_text(reply))


def test_a_grouped_prompt_is_answered_as_its_items_are_alone():
    """One member for each id, with errors of quality falling on the same items."""

    async def main():
        sim = Simulator()
        apart = await asyncio.gather(*(alone(sim, text) for text in TICKETS))
        return apart, await group(sim), await group(sim, response_format={"type": "json_object"})

    apart, together, as_json = run_virtual(main)
    assert together == as_json == {str(n): text for n, text in enumerate(apart, 1)}
    assert len(set(apart)) > 1


def test_a_group_may_lack_answers():
    """A share of the ids is dropped, the others stay as they were."""

    async def main():
        return await group(Simulator()), await group(Simulator(SimSettings(group_drop=0.5)))

    whole, part = run_virtual(main)
    assert 0 < len(part) < len(whole)
    assert part.items() <= whole.items()


def test_a_prompt_that_only_looks_grouped_is_answered_as_any_other():
    """Lines that are no items: no object comes back."""

    async def main():
        return chat_text(await chat(Simulator(), GROUP + "not an item"))

    assert not run_virtual(main).startswith('{"1"')


@pytest.mark.parametrize("field", ["flex_unavailable", "group_drop"])
def test_shares_are_shares(field):
    """0 to 1, and the message names the key."""
    with pytest.raises(ConfigError, match=field):
        SimSettings(**{field: 1.5})


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_what_the_engine_groups_is_understood(path):
    """The request that `headway.wire.group` writes gets one answer for each of its items, in every format."""
    model = "claude-haiku-4-5" if path == "/v1/messages" else "gpt-4o"
    turns = [{"role": "user", "content": TICKETS[0]}]
    body = {
        "/v1/chat/completions": {"model": model, "messages": [SYSTEM, *turns]},
        "/v1/responses": {"model": model, "instructions": SYSTEM["content"], "input": TICKETS[0]},
        "/v1/messages": {"model": model, "system": SYSTEM["content"], "messages": turns, "max_tokens": 20},
    }[path]
    item = item_of(path, msgspec.json.encode(body))
    assert item is not None

    async def main():
        reply = await Simulator(SimSettings(quality=None)).handler(
            call(path, merged(item, TICKETS, ("max_tokens",), 120))
        )
        return json(reply) if await reply.read() else {}

    whole = run_virtual(main)
    if path == "/v1/messages":
        text = whole["content"][0]["text"]
    else:
        text = (whole.get("output") or [whole.get("choices", [{}])[0].get("message")])[0]["content"]
        text = text if isinstance(text, str) else text[0]["text"]
    assert set(answers_in(text, len(TICKETS))) <= set(LABELS)
