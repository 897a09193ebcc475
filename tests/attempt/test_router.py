"""Where tries go: credentials, fallbacks, breakers, classes, objectives; through the whole engine, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import Call, ConfigError, ConnectFailed, Engine, HeadwayError, Reply
from headway.attempt.route import Router
from headway.testing import FakeProvider, Step, virtual_run

OWN = "http://own.example"
CHAT = "/v1/chat/completions"


class World:
    """Fake providers by host; whoever is not named answers 200."""

    def __init__(self, **providers: FakeProvider) -> None:
        self.at = {name: providers.get(name, FakeProvider()) for name in ("own", "b", "c", *providers)}

    async def __call__(self, call: Call) -> Reply:
        return await self.at[call.origin.split("//")[1].split(".")[0]](call)

    def calls(self, name: str) -> int:
        return self.at[name].calls


def upstream(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "base_url": f"http://{name}.example/v1", "key_env": "KEY_B", "stands_in_for": OWN} | more


def body(text: str = "Hello", model: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]} | more


def run(
    world: Callable[[Call], Awaitable[Reply]],
    upstreams: list[dict[str, Any]],
    program: Callable[[Engine], Awaitable[Any]],
    **more: Any,
) -> Any:
    async def main() -> Any:
        given = {"base_url": f"{OWN}/v1", "api_key": "sk-own", "log": "off", "seed": 7, "log_level": "off"}
        async with Engine(handler=world, upstreams=upstreams, **given | more) as engine:
            found = await program(engine)
            router = engine._open()._attempt
            if isinstance(router, Router):
                assert all(lane.load.pending == 0 for lane in router.choice.lanes.values())
            return found

    return virtual_run(main)


@pytest.fixture(autouse=True, scope="module")
def _key():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEY_B", "sk-b")
        yield


def many(count: int, **more: Any) -> Callable[[Engine], Awaitable[list[Reply]]]:
    async def program(engine: Engine) -> list[Reply]:
        return [await engine.send(CHAT, body(f"Hello {number}", **more)) for number in range(count)]

    return program


# -- who may -----------------------------------------------------------------------------------------------------------


def test_no_secret_of_the_client_goes_to_another_origin():
    """Neither its credential, nor a header nobody here knows, nor the query; the upstream's own key goes instead."""
    world = World()

    async def program(engine: Engine) -> None:
        for number in range(30):
            secret = {"x-gateway-key": "s3cret", "cookie": "s3cret", "openai-organization": "s3cret"}
            reply = await engine.send(f"{CHAT}?key=s3cret", body(f"{number}"), headers=secret)
            assert reply.status == 200

    run(world, [upstream("b", models={"gpt-4o": "my-deployment"})], program)
    assert world.calls("b") > 3
    for call in world.at["b"].seen:
        sent = f"{call.headers}{call.path}{call.body!r}"
        assert "s3cret" not in sent
        assert "sk-own" not in sent
        assert ("authorization", "Bearer sk-b") in call.headers
        assert call.path == CHAT
        assert msgspec.json.decode(call.body)["model"] == "my-deployment"
    for call in world.at["own"].seen:
        assert "sk-b" not in f"{call.headers}"
        assert call.path == f"{CHAT}?key=s3cret"
        assert ("x-gateway-key", "s3cret") in call.headers


def test_an_upstream_joins_in_only_for_the_origin_that_it_stands_in_for():
    """Declared for another one, it is not there."""
    world = World()
    run(world, [upstream("b", stands_in_for="http://other.example")], many(20))
    assert (world.calls("own"), world.calls("b")) == (20, 0)


def test_an_upstream_without_a_key_gets_none():
    """A local server is sent no credential at all."""
    world = World()
    entry = {key: value for key, value in upstream("b").items() if key != "key_env"}
    run(world, [entry], many(20))
    assert world.calls("b") > 0
    assert not any(name in ("authorization", "x-api-key") for call in world.at["b"].seen for name, _ in call.headers)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/v1/responses", {"model": "gpt-4o", "input": "x", "previous_response_id": "resp_1"}),
        ("/v1/responses", {"model": "gpt-4o", "input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("/v1/chat/completions", {"model": "gpt-4o", "messages": [], "store": True}),
        ("/v1/files", {"model": "gpt-4o"}),
        ("/v1/embeddings", {"model": "gpt-4o", "input": "x"}),
        ("/v1/chat/completions", {"model": "another", "messages": []}),
        ("/v1/chat/completions", {"messages": []}),
    ],
)
def test_what_another_upstream_cannot_answer_stays_at_home(path, sent):
    """State at the provider, paths nobody reads, endpoints and models that the upstream does not have."""
    world = World()

    async def program(engine: Engine) -> None:
        for _ in range(10):
            await engine.send(path, sent)

    run(world, [upstream("b", models=["gpt-4o"], endpoints=["chat/completions", "responses"])], program)
    assert (world.calls("own"), world.calls("b")) == (10, 0)
    assert all(msgspec.json.decode(call.body) == sent for call in world.at["own"].seen)


def test_an_entry_without_a_key_may_describe_the_own_origin():
    """It adds models and a quality to it; credential and path stay the client's."""
    world = World()
    entry = {"name": "home", "base_url": f"{OWN}/v1", "models": {"fast-one": "gpt-4o"}, "tier": "fast"}
    reply = run(world, [entry], many(1, model="fast"))[0]
    call = world.at["own"].seen[0]
    assert ("authorization", "Bearer sk-own") in call.headers
    assert msgspec.json.decode(call.body)["model"] == "gpt-4o"
    assert reply.trace.upstream == "home"


# -- who can -----------------------------------------------------------------------------------------------------------


def test_a_retry_goes_elsewhere():
    """The second try is at another upstream, whatever the first one's speed was."""
    world = World(own=FakeProvider([503]), b=FakeProvider([503]), c=FakeProvider([503]))

    async def program(engine: Engine) -> None:
        assert (await engine.send(CHAT, body())).status == 503

    run(world, [upstream("b"), upstream("c")], program)
    assert (world.calls("own"), world.calls("b"), world.calls("c")) == (1, 1, 1)


def test_a_dead_upstream_costs_a_few_tries_and_no_call():
    """After five failures in a row it is left alone, but for a probe now and then."""
    world = World(b=FakeProvider([ConnectFailed("down")]))
    replies = run(world, [upstream("b")], many(200))
    assert {reply.status for reply in replies} == {200}
    assert world.calls("b") <= 10


@pytest.mark.parametrize(
    "refusal",
    [
        401,
        404,
        Step(status=429, body=b'{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"no"}}'),
    ],
)
def test_an_upstream_that_refuses_us_is_no_answer_and_is_left_alone(refusal):
    """A wrong key, a wrong model, no money there: the client's request is good elsewhere."""
    world = World(b=FakeProvider([refusal]))
    replies = run(world, [upstream("b")], many(100))
    assert {reply.status for reply in replies} == {200}
    assert world.calls("b") == 1


def test_the_own_origins_refusal_is_the_answer():
    """It is the client's key, so the client is told."""
    world = World(own=FakeProvider([401]), b=FakeProvider([503]))
    replies = run(world, [upstream("b")], many(5))
    assert {reply.status for reply in replies} == {401}


def test_all_of_them_down_is_still_tried_and_they_come_back():
    """With every breaker open calls go on trying; the first that answers is back in service."""
    down = [ConnectFailed("down")] * 40
    world = World(own=FakeProvider([*down, 200]), b=FakeProvider([*down, 200]))

    async def program(engine: Engine) -> list[str]:
        seen = []
        for number in range(120):
            try:
                seen.append(str((await engine.send(CHAT, body(str(number)))).status))
            except ConnectFailed:
                seen.append("down")
            await asyncio.sleep(1)
        return seen

    seen = run(world, [upstream("b")], program)
    assert "down" in seen
    assert seen[-60:] == ["200"] * 60


def test_a_slow_upstream_gets_little_and_recovers_when_it_is_fast_again():
    """Ten times slower: hardly a call; fast again: found out by probing."""

    class Turning:
        def __init__(self) -> None:
            self.at: list[tuple[float, str]] = []

        async def __call__(self, call: Call) -> Reply:
            now_s = asyncio.get_running_loop().time()
            name = call.origin.split("//")[1].split(".")[0]
            self.at.append((now_s, name))
            await asyncio.sleep(10.0 if name == "b" and 60 <= now_s < 120 else 1.0)
            return await FakeProvider()(call)

    world = Turning()

    async def program(engine: Engine) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(300 * 4):
                group.create_task(engine.send(CHAT, body(str(number))))
                await asyncio.sleep(0.25)

    run(world, [upstream("b")], program)

    def share(from_s: float, until_s: float) -> float:
        names = [name for at_s, name in world.at if from_s <= at_s < until_s]
        return names.count("b") / len(names)

    assert 0.3 < share(0, 60) < 0.7
    assert share(65, 120) < 0.05
    assert share(240, 300) > 0.3


def test_a_cancelled_call_gives_its_place_back():
    """`run` checks that nothing is pending at the end; here callers leave while a call is under way."""
    world = World(own=FakeProvider([Step(delay_s=50)]), b=FakeProvider([Step(delay_s=50)]))

    async def program(engine: Engine) -> None:
        tasks = [asyncio.create_task(engine.send(CHAT, body(str(number)))) for number in range(20)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(world, [upstream("b")], program)


def test_prompts_with_a_long_common_prefix_stay_together():
    """The one that has it cached is kept; short prompts are spread."""
    world = World()
    system = {"role": "system", "content": "Rules. " * 2000}

    async def program(engine: Engine) -> None:
        for number in range(40):
            turns = [system, {"role": "user", "content": f"{number}"}]
            await engine.send(CHAT, {"model": "gpt-4o", "messages": turns})

    run(world, [upstream("b")], program)
    assert {world.calls("own"), world.calls("b")} == {0, 40}


# -- who should --------------------------------------------------------------------------------------------------------

CLASSED = [
    upstream("b", models=["small"], tier="fast", quality=6),
    upstream("c", models=["large"], tier="quality", quality=9),
]


@pytest.mark.parametrize(
    ("model", "goes_to"), [("fast", "b"), ("quality", "c"), ("fast:7", "c"), ("ultra_fast", "b"), ("fast:6", "b")]
)
def test_a_class_is_answered_by_its_models(model, goes_to):
    """A minimum quality overrides the class; the reply is the provider's own."""
    world = World()
    replies = run(world, CLASSED, many(10, model=model))
    assert {name for name in ("own", "b", "c") if world.calls(name)} == {goes_to}
    assert {reply.trace.upstream for reply in replies} == {goes_to}
    sent = msgspec.json.decode(world.at[goes_to].seen[0].body)["model"]
    assert sent == {"b": "small", "c": "large"}[goes_to]


def test_a_minimum_for_all_classes_is_a_setting():
    """quality_min holds where the call names none."""
    world = World()
    run(world, CLASSED, many(3, model="fast"), quality_min=8)
    assert world.calls("c") == 3


def test_a_minimum_that_nobody_reaches_is_said():
    """Nothing is sent anywhere."""
    world = World()
    with pytest.raises(ConfigError, match=r"no upstream for http://own.example answers for 'fast:9.5'"):
        run(world, CLASSED, many(1, model="fast:9.5"))
    assert [world.calls(name) for name in ("own", "b", "c")] == [0, 0, 0]


def test_auto_lets_the_rules_choose_the_class():
    """By what the user wrote, not by the system prompt."""
    world = World()
    rules = [{"tier": "quality", "has_code": True}, {"tier": "fast", "chars_max": 100}]

    async def program(engine: Engine) -> None:
        system = {"role": "system", "content": "```code``` " * 50}
        for text in ("Fix ```x = 1```", "Hello"):
            turns = [system, {"role": "user", "content": text}]
            await engine.send(CHAT, {"model": "auto", "messages": turns})

    run(world, CLASSED, program, rules=rules)
    assert (world.calls("c"), world.calls("b")) == (1, 1)
    assert b"Fix" in world.at["c"].seen[0].body


PRICED = [
    upstream("b", models=["m"], quality=6, input_usd=1.0, output_usd=1.0),
    upstream("c", models=["m"], quality=8, input_usd=3.0, output_usd=3.0),
    {"name": "home", "base_url": f"{OWN}/v1", "models": ["m"], "quality": 1, "input_usd": 50.0, "output_usd": 50.0},
]


@pytest.mark.parametrize(("objective", "goes_to"), [("speed+cost", "b"), ("quality+cost", "c"), ("speed+quality", "c")])
def test_two_are_named_and_the_third_yields(objective, goes_to):
    """At equal speed: the cheap one, the one whose quality is worth its price, the good one."""
    world = World(**{name: FakeProvider([Step(delay_s=1)]) for name in ("own", "b", "c")})
    run(world, PRICED, many(20, model="m"), objective=objective)
    assert world.calls(goes_to) == 20


def test_dollars_are_those_of_the_upstream_that_answered():
    """A price of its own, in the trace and under the cap."""
    world = World()
    replies = run(world, PRICED, many(1, model="m"), objective="speed+cost", budget_usd=1.0)
    assert replies[0].trace.dollars == pytest.approx(12e-6)  # 10 in, 2 out, a dollar per million


def test_who_can_wait_gets_flex_once_at_half_the_price():
    """quality+cost yields speed: only with a long deadline, never for the second try, never over the client's own."""
    entry = upstream("b", models=["m"], quality=9, input_usd=1.0, output_usd=1.0, flex=True)

    async def program(engine: Engine) -> list[float]:
        replies = [
            await engine.send(CHAT, body(model="m"), deadline_s=1800),
            await engine.send(CHAT, body(model="m"), deadline_s=60),
            await engine.send(CHAT, body(model="m", service_tier="priority"), deadline_s=1800),
        ]
        return [reply.trace.dollars for reply in replies]

    world = World(b=FakeProvider([429, 200]))
    dollars = run(world, [entry, PRICED[2]], program, objective="quality+cost", timeout_s=3600)
    tiers = [msgspec.json.decode(call.body).get("service_tier") for call in world.at["b"].seen]
    retried = [msgspec.json.decode(call.body).get("service_tier") for call in world.at["own"].seen]
    assert tiers[0] == "flex"
    assert "flex" not in [*tiers[1:], *retried]
    assert "priority" in tiers
    assert min(dollars) > 0

    world = World()
    dollars = run(world, [entry, PRICED[2]], program, objective="quality+cost", timeout_s=3600)
    assert dollars == [pytest.approx(6e-6), pytest.approx(12e-6), pytest.approx(12e-6)]


def test_limits_that_are_known_of_an_upstream_are_a_start():
    """Two a minute: the third waits, while nothing waits elsewhere."""
    world = World()
    entry = upstream("b", models=["m"], tier="fast", requests_per_min=60)

    async def program(engine: Engine) -> float | None:
        await engine.send(CHAT, body(model="fast"))
        return engine.snapshot()["allowed_rpm"]

    assert run(world, [entry], program) == 60


def test_streams_are_routed_and_learned_from():
    """First token and tokens apart; the bytes are the upstream's."""
    world = World(b=FakeProvider([Step(text="one two three", chunk_delay_s=0.5, output_tokens=3)]))

    async def program(engine: Engine) -> Any:
        reply = await engine.send(CHAT, body(model="fast", stream=True))
        data = await reply.read()
        await reply.aclose()
        return data, engine._open()._attempt.choice.lanes["b", "", "m"].load

    data, load = run(world, [upstream("b", models=["m"], tier="fast")], program)
    assert b"three" in data
    assert b'"model":"m"' in data
    assert load.ttft_s == pytest.approx(1.0)
    assert load.token_s > 0.2


def test_nothing_is_there_where_nothing_is_configured():
    """No router, no price list of its own: the layer of one assignment."""
    assert not run(World(), [], lambda engine: asyncio.sleep(0, isinstance(engine._open()._attempt, Router)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_at_rest_nothing_is_pending_and_everybody_may_be_tried_again(seed):
    """Failures, refusals, broken streams, deadlines and callers that leave, in any order: no place is lost."""
    dice = Random(seed)
    answers: list[Any] = [200, 503, 429, 401, 404, ConnectFailed("down"), Step(delay_s=2), Step(chunk_delay_s=1)]
    answers += [Step(chunks=(b"data: {}\n\n",)), Step(delay_s=1, error=ConnectFailed("later"))]
    world = World(**{name: FakeProvider(dice.choices(answers, k=60)) for name in ("own", "b", "c")})

    async def one(engine: Engine, number: int) -> None:
        await asyncio.sleep(dice.random() * 20)
        try:
            async with asyncio.timeout(dice.choice([0.5, 3, 60])):
                sent = body(f"{number}", model=dice.choice(["gpt-4o", "fast", "auto"]), stream=dice.random() < 0.5)
                reply = await engine.send(CHAT, sent, deadline_s=dice.choice([0.5, 5, 600]))
                await reply.read()
        except (HeadwayError, TimeoutError):
            pass

    async def program(engine: Engine) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(one(engine, number))
        lanes = engine._open()._attempt.choice.lanes.values()
        now_s = asyncio.get_running_loop().time()
        assert all(lane.breaker.allows(now_s + 61) for lane in lanes)

    entries = [upstream("b", models={"gpt-4o": "m"}, tier="fast"), upstream("c", models=["gpt-4o"], tier="quality")]
    run(world, entries, program)


def test_made_up_models_do_not_crowd_out_what_is_known(monkeypatch):
    """Lanes are bounded, and the ones in use stay."""
    monkeypatch.setattr("headway.attempt.choice.LANES_MAX", 10)
    world = World(own=FakeProvider([Step(delay_s=1)]), b=FakeProvider([Step(delay_s=1)]))

    async def program(engine: Engine) -> Any:
        for number in range(30):
            await engine.send(CHAT, body())
            await engine.send(CHAT, body(model=f"made-up-{number}"))
        return engine._open()._attempt.choice.lanes

    lanes = run(world, [upstream("b")], program)
    assert len(lanes) <= 10
    assert lanes["b", "", "gpt-4o"].load.ttft_s is not None
