"""Small requests of low priority sent several to a prompt: who goes together, what comes back, and who pays."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConnectionLost, DeadlineExceeded, Engine, Task
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step, virtual_network, virtual_run
from headway.types import Usage
from headway.wire.prices import Prices
from tests.gateway.keys.keyring import made, served

ORDER = "Answer in capitals, and in nothing else. " * 10
BODY = {"model": "gpt-5.4-mini", "instructions": ORDER, "max_output_tokens": 20}
RESPONSES = "/v1/responses"


class Model:
    """Answers an item in capitals, alone or in a group; drops the ids that it is told to."""

    def __init__(self, *, drops=(), fails=(), delay_s=1.0, headers=()):
        self.texts = []
        self.bodies = []
        self.usages = []
        self.drops = drops
        self.fails = list(fails)
        self.delay_s = delay_s
        self.headers = headers
        self.aborted = 0

    async def __call__(self, call):
        body = msgspec.json.decode(call.body)
        text = body["input"]
        self.bodies.append(body)
        self.texts.append(text)
        try:
            await asyncio.sleep(self.delay_s)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        if self.fails and text.startswith("Answer each item") and (step := self.fails.pop(0)) is not None:
            return await FakeProvider([step])(call)
        said = text.upper()
        if text.startswith("Answer each item"):
            items = [json.loads(line) for line in text.splitlines()[1:]]
            said = json.dumps({i["id"]: i["item"].upper() for i in items if i["id"] not in self.drops})
        usage = len(call.body) // 4, max(1, len(said) // 4)
        self.usages.append(usage)
        return await FakeProvider(
            [Step(text=said, input_tokens=usage[0], output_tokens=usage[1], headers=self.headers)]
        )(call)

    @property
    def grouped(self):
        """How many items each grouped request had."""
        return [len(text.splitlines()) - 1 for text in self.texts if text.startswith("Answer each item")]


def engine(model, **settings):
    given = {"log": "off", "log_level": "off", "api_key": "sk-test", "seed": 7, "prompt_grouping": "always"}
    return Engine(handler=model, **given | settings)


async def ask(e, text, *, more=None, **how):
    reply = await e.send(RESPONSES, BODY | {"input": text} | (more or {}), **{"priority": "low"} | how)
    said = msgspec.json.decode(await reply.read())
    return said["output"][0]["content"][0]["text"], reply


def asked(model, texts, *, settings=None, **how):
    """All at once: the texts that came back, the replies, and the engine's figures."""

    async def main():
        async with engine(model, **(settings or {})) as e:
            told = await asyncio.gather(*[ask(e, text, **how) for text in texts])
            return [text for text, _ in told], [reply for _, reply in told], e.snapshot()

    return virtual_run(main)


def attempts(path):
    """The tries in the call log, as the provider would be paid for them."""
    with closing(sqlite3.connect(path)) as log:
        log.row_factory = sqlite3.Row
        return log.execute("SELECT * FROM attempts ORDER BY rowid").fetchall()


def total(tries, name):
    return sum(row[name] or 0 for row in tries)


def price(input_tokens, output_tokens):
    return Prices().rates("gpt-5.4-mini").dollars(Usage(input_tokens=input_tokens, output_tokens=output_tokens))


WORDS = ["one", "two", "three", "four", "five", "six"]


def test_six_go_together_and_each_gets_its_own_answer():
    """One request; bounds are added up; its caller sees a whole answer of its own."""
    model = Model()
    texts, replies, live = asked(model, WORDS)
    assert texts == ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX"]
    assert model.grouped == [6]
    assert len(model.bodies) == 1
    assert model.bodies[0]["max_output_tokens"] == 6 * 28
    assert model.bodies[0]["instructions"] == ORDER
    assert live["grouping"] | {"tokens_saved": 0, "dollars_saved": 0} == {
        "groups": 1, "members": 6, "fallbacks": 0, "tokens_saved": 0, "dollars_saved": 0, "on": True, "why": "",
    }  # fmt: skip
    assert {reply.trace.finish for reply in replies} == {"completed"}


def test_what_a_group_took_is_booked_on_its_members_to_the_token(tmp_path):
    """Usage and dollars of the members' tries are the request's, and their rows say that they were grouped."""

    async def main():
        model = Model()
        async with engine(model, log=str(tmp_path / "log")) as e:
            await asyncio.gather(*[ask(e, text) for text in WORDS[:5]])
        tries = attempts(tmp_path / "log")
        assert len(tries) == 5
        assert (total(tries, "input_tokens"), total(tries, "output_tokens")) == model.usages[0]
        assert total(tries, "dollars") == pytest.approx(price(*model.usages[0]))
        assert {t["step"] for t in tries} == {"grouped"}
        assert len({t["parent"] for t in tries}) == 1
        assert {(round(t["wait_s"], 3), round(t["sent_s"], 3)) for t in tries} == {(0.05, 0.05)}  # no sixth came

    virtual_run(main)


def test_a_member_waits_50_ms_at_most_and_goes_by_itself_when_nobody_comes():
    """The clock starts with the first of them."""

    async def main():
        model = Model()
        async with engine(model) as e:
            loop = asyncio.get_running_loop()
            first = asyncio.create_task(ask(e, "one"))
            await asyncio.sleep(0.04)
            second = asyncio.create_task(ask(e, "two"))
            await asyncio.gather(first, second)
            assert loop.time() == pytest.approx(1.05)
            await ask(e, "three")
            assert loop.time() == pytest.approx(2.10)
        assert model.grouped == [2]
        assert model.texts[1] == "three"

    virtual_run(main)


@pytest.mark.parametrize(
    "how",
    [
        {"priority": "normal"},
        {"priority": -1_000_000},  # a prefetch
        {"body": {"stream": True}},
        {"body": {"max_output_tokens": None}},
        {"body": {"max_output_tokens": 5000}},
        {"body": {"store": True}},
        {"body": {"tools": []}},
    ],
)
def test_others_go_as_they_are(how):
    """Normal priority, streams, long or unbounded answers, and what is stored at the provider."""

    async def main():
        model = Model()
        body = {name: value for name, value in (BODY | how.get("body", {})).items() if value is not None}
        async with engine(model) as e:
            replies = [e.send(RESPONSES, body | {"input": text}, priority=how.get("priority", "low")) for text in WORDS]
            for reply in await asyncio.gather(*replies):
                await reply.read()
        assert model.grouped == []
        assert len(model.bodies) == 6

    virtual_run(main)


def test_only_what_is_alike_goes_together():
    """Never across credentials, and never across instructions or models."""

    async def main():
        model = Model()
        kinds = [({}, {}), ({"authorization": "Bearer sk-other"}, {}), ({}, {"instructions": "Other."}),
                 ({}, {"model": "gpt-5.4"}), ({"x-project": "7"}, {})]  # fmt: skip
        async with engine(model) as e:
            await asyncio.gather(
                *[
                    e.send(RESPONSES, BODY | {"input": f"{n} {word}"} | more, headers=headers, priority="low")
                    for n, (headers, more) in enumerate(kinds)
                    for word in ("one", "two")
                ]
            )
        assert model.grouped == [2] * 5
        for text in model.texts:
            items = [json.loads(line)["item"] for line in text.splitlines()[1:]]
            assert len({item[0] for item in items}) == 1

    virtual_run(main)


def test_a_gateway_s_keys_are_kept_apart(tmp_path):
    """They share the provider's credential, and no prompt; keys of one group of sharers do."""
    shares = {"a": "", "b": "", "c": "s", "d": "s"}
    texts = {name: made(tmp_path / "k", name, share=share) for name, share in shares.items()}
    model = Model()

    async def main():
        async with served(tmp_path / "k", model, prompt_grouping="always") as (_, send):
            await asyncio.gather(
                *[
                    send(text, json.dumps(BODY | {"input": f"{name} {word}"}).encode(), path=RESPONSES, priority=-1)
                    for name, text in texts.items()
                    for word in ("one", "two")
                ]
            )

    virtual_run(main)
    assert sorted(model.grouped) == [2, 2, 4]
    for text in model.texts:
        items = [json.loads(line)["item"] for line in text.splitlines()[1:]]
        assert {item[0] for item in items} in ({"a"}, {"b"}, {"c", "d"})


def test_under_load_is_when_the_limits_make_requests_wait():
    """What can go goes at once; what would wait is grouped."""

    async def main():
        model = Model()
        async with engine(model, prompt_grouping="load", requests_per_min=60) as e:
            assert (await ask(e, "alone"))[0] == "ALONE"
            tasks = [asyncio.create_task(ask(e, f"row {n}")) for n in range(300)]
            await asyncio.gather(*tasks)
            live = e.snapshot()["grouping"]
        singles = len(model.texts) - len(model.grouped)
        assert singles <= 61  # the bucket, full at the start
        assert sum(model.grouped) + singles == 301  # each row once
        assert live["members"] == sum(model.grouped) > 200
        assert live["tokens_saved"] > 0
        assert live["dollars_saved"] > 0

    virtual_run(main)


def test_a_member_that_the_model_left_out_asks_again_by_itself_and_pays_for_both(tmp_path):
    """Its share of the group is not lost: usage and dollars of all tries are the provider's account."""

    async def main():
        model = Model(drops=("3",))
        async with engine(model, log=str(tmp_path / "log")) as e:
            told = await asyncio.gather(*[ask(e, text) for text in WORDS])
            live = e.snapshot()["grouping"]
        tries = attempts(tmp_path / "log")
        assert [text for text, _ in told] == [word.upper() for word in WORDS]
        assert model.texts[1] == "three"
        assert (live["members"], live["fallbacks"]) == (6, 1)
        assert total(tries, "input_tokens") == sum(u[0] for u in model.usages)
        assert total(tries, "output_tokens") == sum(u[1] for u in model.usages)
        assert total(tries, "dollars") == pytest.approx(sum(price(*usage) for usage in model.usages))

    virtual_run(main)


def test_answers_that_are_no_object_are_asked_again_and_grouping_is_given_up():
    """Two groups without a single answer are enough; later rows go by themselves at once."""

    async def main():
        model = Model(drops=tuple("123456"))
        async with engine(model) as e:
            for _ in range(4):
                told = await asyncio.gather(*[ask(e, text) for text in WORDS])
                assert [text for text, _ in told] == [word.upper() for word in WORDS]
            live = e.snapshot()["grouping"]
        assert model.grouped == [6, 6]
        assert (live["on"], live["why"]) == (False, "12 of 12 members had to be asked again")

    virtual_run(main)


def test_a_refused_group_is_asked_one_by_one():
    """A 400 may be due to the merging: the members find out by themselves."""
    model = Model(fails=[Step(status=400, body=b'{"error":{"message":"too long"}}')])
    texts, _, live = asked(model, WORDS)
    assert texts == [word.upper() for word in WORDS]
    assert len(model.bodies) == 7
    assert live["grouping"]["fallbacks"] == 6


def test_a_throttled_group_is_every_members_429_and_tried_again():
    """Which says nothing about grouping."""
    model = Model(fails=[Step(status=429, headers=(("retry-after", "2"),))])
    texts, _, live = asked(model, WORDS)
    assert texts == [word.upper() for word in WORDS]
    assert model.grouped[0] == 6
    assert (live["throttled"], live["grouping"]["fallbacks"]) == (1, 0)


def test_a_lost_connection_is_every_members_failure():
    """Each has an error of its own, with its own trace."""

    async def main():
        model = Model(fails=[Step(error=ConnectionLost("gone", maybe_billed=True))] * 9)
        async with engine(model, attempts_max=1) as e:
            told = await asyncio.gather(*[ask(e, text) for text in WORDS], return_exceptions=True)
        assert {type(error) for error in told} == {ConnectionLost}
        assert len({id(error) for error in told}) == len({id(error.trace) for error in told}) == 6

    virtual_run(main)


def test_answers_are_kept_under_their_own_keys():
    """Asked again, alone and at normal priority, each is a hit."""

    async def main():
        model = Model()
        async with engine(model, cache="memory") as e:
            await asyncio.gather(*[ask(e, text) for text in WORDS])
            for word in WORDS:
                text, reply = await ask(e, word, priority="normal")
                assert (text, reply.trace.cache) == (word.upper(), "memory")
        assert len(model.bodies) == 1

    virtual_run(main)


def test_who_leaves_before_the_group_is_sent_is_not_in_it():
    """And the others go without."""

    async def main():
        model = Model()
        async with engine(model) as e:
            tasks = [asyncio.create_task(ask(e, text)) for text in WORDS[:4]]
            await asyncio.sleep(0.01)
            tasks[1].cancel()
            told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [each[0] for each in told if isinstance(each, tuple)] == ["ONE", "THREE", "FOUR"]
        assert model.grouped == [3]

    virtual_run(main)


def test_who_leaves_after_it_was_sent_leaves_its_share_to_the_others(tmp_path):
    """What the provider charges is booked on those that got an answer."""

    async def main():
        model = Model()
        async with engine(model, log=str(tmp_path / "log")) as e:
            tasks = [asyncio.create_task(ask(e, text)) for text in WORDS]
            await asyncio.sleep(0.5)
            for task in tasks[:2]:
                task.cancel()
            told = await asyncio.gather(*tasks, return_exceptions=True)
        tries = attempts(tmp_path / "log")
        assert [each[0] for each in told[2:]] == ["THREE", "FOUR", "FIVE", "SIX"]
        assert model.aborted == 0
        assert total(tries, "input_tokens") == model.usages[0][0]
        assert sorted(t["outcome"] for t in tries) == ["abandoned"] * 2 + ["ok"] * 4

    virtual_run(main)


def test_the_last_one_to_leave_ends_the_request_and_takes_the_bill(tmp_path):
    """Nobody waits any more: the request is broken off, and somebody's row says that it may be billed."""

    async def main():
        model = Model()
        async with engine(model, log=str(tmp_path / "log")) as e:
            told = await asyncio.gather(
                *[ask(e, text, deadline_s=0.5 + n / 100) for n, text in enumerate(WORDS)], return_exceptions=True
            )
        tries = attempts(tmp_path / "log")
        assert {type(error) for error in told} == {DeadlineExceeded}
        assert model.aborted == 1
        assert [bool(t["maybe_billed"]) for t in tries] == [False] * 5 + [True]
        assert tries[-1]["dollars"] > 0

    virtual_run(main)


def test_closing_the_engine_leaves_nothing_behind():
    """Callers get `Closed`, and no task goes on."""

    async def main():
        model = Model()
        e = engine(model)
        tasks = [asyncio.create_task(ask(e, f"row {n}")) for n in range(9)]
        await asyncio.sleep(0.02)
        await e.aclose()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(error).__name__ for error in told} == {"Closed"}
        assert len(asyncio.all_tasks()) == 1

    virtual_run(main)


def test_a_job_of_low_priority_is_grouped():
    """`Engine.map(priority="low")`: every row its own answer, in a sixth of the requests."""

    async def main():
        model = Model()
        task = Task(model="gpt-5.4-mini", prompt="{text}", system=ORDER, max_output_tokens=20)
        rows = [{"text": f"row {n}"} for n in range(120)]
        async with engine(model) as e:
            results = [r async for r in e.map(rows, task, priority="low")]
        assert [r.value for r in results] == [f"ROW {n}" for n in range(120)]
        assert model.grouped == [6] * 20

    virtual_run(main)


def test_off_is_the_default_and_is_not_in_the_stack():
    """Nothing is grouped, and the snapshot says so."""
    model = Model()
    texts, _, live = asked(model, WORDS, settings={"prompt_grouping": "off"})
    assert len(texts) == len(model.bodies) == 6
    assert live["grouping"] is None


def test_groups_that_take_more_than_they_save_are_given_up():
    """Next to no instructions to share: what surrounds the items costs more than what is saved."""

    async def main():
        model = Model()
        async with engine(model) as e:
            for n in range(30):
                await asyncio.gather(*[ask(e, f"{n} {word}", more={"instructions": "Shout."}) for word in WORDS])
            live = e.snapshot()["grouping"]
        assert model.grouped == [6] * 10
        assert live["dollars_saved"] < 0
        assert live["why"] == "groups took more than single requests would have"

    virtual_run(main)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.one_of(st.none(), st.integers(0, 2500)), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.sets(st.sampled_from("123456"), max_size=2),
    st.lists(st.sampled_from([None, 429, 400, 500]), max_size=2),
)
def test_every_caller_ends_once_with_its_own_answer_and_what_was_answered_is_booked(callers, drops, fails):
    """Callers that come and leave at any time, items left out, groups that fail: nothing is lost or mixed up."""

    async def main():
        model = Model(drops=tuple(drops), fails=[status and Step(status=status) for status in fails])

        async def one(e, n, at_ms, leave_ms):
            await asyncio.sleep(at_ms / 1000)
            work = asyncio.create_task(ask(e, f"row {n}"))
            if leave_ms is not None:
                asyncio.get_running_loop().call_later(leave_ms / 1000, work.cancel)
            text, _ = await work
            assert text == f"ROW {n}"

        async with engine(model) as e:
            told = await asyncio.gather(
                *[
                    one(e, n, at_ms, leave_ms if leaves else None)
                    for n, (at_ms, leave_ms, leaves) in enumerate(callers)
                ],
                return_exceptions=True,
            )
            dollars = e.snapshot()["dollars"]
            group = e._open()._group
            assert not group._tasks
            assert all(place.idle for place in group._places.values())
        for error, (_, leave_ms, leaves) in zip(told, callers, strict=True):
            assert error is None or (isinstance(error, asyncio.CancelledError) and leaves and leave_ms is not None)
        if not any(leaves for _, _, leaves in callers):
            assert dollars == pytest.approx(sum(price(*usage) for usage in model.usages))

    virtual_run(main)


@pytest.mark.parametrize(
    ("api", "model"), [("responses", "gpt-5.4-mini"), ("chat", "gpt-4o-mini"), ("messages", "claude-haiku-4-5")]
)
def test_grouped_answers_are_the_single_ones_in_every_format(api, model):
    """Over real bytes, against the simulator: the same labels, and dollars that are the provider's own account."""
    labels = ("billing", "card stolen", "exchange rate", "refund", "transfer")
    task = Task(model=model, api=api, prompt="{text}", labels=labels, system="Name the topic of the message. " * 20)
    rows = [{"text": f"{n}: where is my {labels[n % 5]}?"} for n in range(60)]
    host = "api.anthropic.com" if api == "messages" else "api.openai.com"

    async def main(grouping):
        simulator = Simulator(SimSettings(seed=1, rpm=100, capacity_s=1))
        virtual_network(simulator, host=host)
        given = {"log": "off", "log_level": "off", "api_key": "sk-sim", "seed": 1, "base_url": f"http://{host}/v1"}
        async with Engine(prompt_grouping=grouping, **given) as e:
            results = [r async for r in e.map(rows, task, priority="low", concurrency=60)]
            live = e.snapshot()
        assert live["dollars"] == pytest.approx(simulator.ledger.totals.dollars)
        return [(r.value, r.error) for r in results], live

    single, _ = virtual_run(lambda: main("off"))
    grouped, live = virtual_run(lambda: main("always"))
    assert grouped == single
    assert live["grouping"]["members"] >= 59  # one that is left over at the end goes by itself
    assert live["grouping"]["fallbacks"] == 0
