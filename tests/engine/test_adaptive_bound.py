"""Jobs that ask for no more than their answers take: what is sent, and that no row fails by it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from headway import Task
from headway.engine.bounds import open_bound
from headway.engine.row import RowAsk
from headway.policy.output_bound import ROWS_FIRST
from headway.prompts.output import Json, Sentence
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Trace, Usage
from headway.wire.stop import takes_stop

from .helpers import engine


class Model:
    """Answers with as many words as the row's number of tokens says, cut at the bound; a word is a token."""

    def __init__(self, *, stop="takes", explains=False):
        self.bodies = []
        self.stop = stop
        self.explains = explains

    async def __call__(self, call):
        body = msgspec.json.decode(call.body)
        self.bodies.append(body)
        if body.get("stop") and self.stop == "refuses":
            error = (
                b'{"error":{"message":"Unsupported parameter: \'stop\'","param":"stop","type":"invalid_request_error"}}'
            )
            await asyncio.sleep(0.1)  # others are under way meanwhile
            return await FakeProvider([Step(status=400, body=error)])(call)
        await asyncio.sleep(1.0)
        prompt = body["input"] if "input" in body else body["messages"][-1]["content"]
        wanted = int(prompt.rpartition(" ")[2])
        bound = body.get("max_output_tokens") or body.get("max_completion_tokens") or 10**6
        text = " ".join(["word"] * min(wanted, bound))
        if self.explains:
            text = f"Let me see:\n{text}"
        if body.get("stop"):
            text = text.partition(body["stop"][0])[0]
        reply = await FakeProvider([Step(text=text, output_tokens=min(wanted, bound))])(call)
        if wanted > bound:
            whole = msgspec.json.decode(reply.body)
            if "choices" in whole:
                whole["choices"][0]["finish_reason"] = "length"
            else:
                whole |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
            reply.body = msgspec.json.encode(whole)
        return reply


def run(model, rows, task, *, concurrency=20, settings=None, **how):
    async def main():
        async with engine(model, **(settings or {})) as e:
            return [result async for result in e.map(rows, task, concurrency=concurrency, **how)]

    return virtual_run(main)


def rows_of(*lengths):
    return [{"n": f"row {i} {length}"} for i, length in enumerate(lengths)]


def prose(**more):
    return Task(**{"model": "gpt-5.4-mini", "prompt": "{n}", "max_output_tokens": 1024, "repairs_max": 0} | more)


def test_the_bound_follows_the_answers_and_what_it_cuts_is_asked_again():
    """After 50 answers of 20 tokens rows are asked with 32; the few that need more get it, and none fails."""
    model = Model()
    lengths = [20] * 100 + [50] + [20] * 20 + [500] + [20] * 20
    results = run(model, rows_of(*lengths), prose())
    assert [r.outcome for r in results] == ["ok"] * len(lengths)
    assert [len(r.text.split()) for r in results] == lengths
    asked = {}
    for body in model.bodies:
        asked.setdefault(body["input"], []).append(body["max_output_tokens"])
    assert asked["row 0 20"] == [1024]
    assert asked["row 100 50"] == [32, 64]  # once at twice the bound
    assert asked["row 121 500"] == [32, 64, 1024]  # and then at the task's own
    assert [r.attempts for r in results if r.attempts > 1] == [2, 3]
    assert [r.repairs for r in results] == [0] * len(lengths)
    assert results[121].usage.output_tokens == 32 + 64 + 500


def test_an_answer_that_the_tasks_own_bound_cuts_fails_as_ever():
    """The bound that the user set is the user's."""
    results = run(Model(), rows_of(*[20] * 80, 2000), prose())
    assert [r.outcome for r in results] == ["ok"] * 80 + ["invalid_output"]
    assert results[-1].error_code == "cut"


def test_a_task_without_a_bound_is_left_alone_unless_asked():
    """A bound wins no rate there; with adapt=True it gets one, and no row fails by that either."""
    task = prose(max_output_tokens=None)
    model = Model()
    run(model, rows_of(*[20] * 100), task)
    assert all("max_output_tokens" not in body for body in model.bodies)
    model = Model()
    results = run(model, rows_of(*[20] * 100, 500), task, adapt=True)
    assert [r.outcome for r in results] == ["ok"] * 101
    assert [body.get("max_output_tokens") for body in model.bodies][-3:] == [32, 64, None]


def test_where_the_provider_counts_output_as_it_comes_nothing_is_won():
    """Messages: left alone unless asked."""
    task = prose(api="messages", model="claude-haiku-4-5")
    assert open_bound(task) is None
    assert open_bound(task, adapt=True) is not None


def test_adapt_off_sends_what_the_task_says():
    """Every body is the task's own."""
    model = Model()
    run(model, rows_of(*[20] * 100), prose(), adapt=False)
    assert {body["max_output_tokens"] for body in model.bodies} == {1024}


def test_the_cache_key_stays_that_of_the_tasks_own_request():
    """What was asked with a learned bound is found by the same question with the task's own, and the other way."""

    async def main():
        model, task, rows = Model(), prose(), rows_of(*[20] * 120)
        async with engine(model, cache="memory") as e:
            first = [r async for r in e.map(rows, task, concurrency=20)]
            second = [r async for r in e.map(rows, task, concurrency=20, adapt=False)]
        assert {body["max_output_tokens"] for body in model.bodies} == {1024, 32}
        assert len(model.bodies) == 120
        assert {r.cache for r in first} == {"miss"}
        assert {r.cache for r in second} == {"memory"}

    virtual_run(main)


def test_equal_rows_that_share_an_answer_are_not_cut_by_each_others_bound():
    """A row that joined an equal one with a smaller bound is asked by itself."""
    task = prose()
    bound = open_bound(task)
    ask = RowAsk(task, {"n": "x 500"}, bound)
    trace = Trace("call", "1", 0.0, 0.0)
    trace.outcome, trace.finish, trace.cache = "ok", "incomplete", "joined"
    trace.usage = Usage(output_tokens=32)
    body = b'{"status":"incomplete","output":[]}'
    assert not ask.answered(200, body, trace)
    assert (ask.body, ask.cache) == (task.body({"n": "x 500"}), "off")
    trace.cache = "off"
    assert ask.answered(200, body, trace)


def test_few_rows_are_asked_before_the_bound_is_known_and_then_all_there_is_room_for():
    """What waits with the task's own bound is charged with it; after the first answers nothing is held back."""

    class Counting(Model):
        now = most = 0

        async def __call__(self, call):
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await super().__call__(call)
            finally:
                self.now -= 1

    model = Counting()
    results = run(model, rows_of(*[20] * 600), prose(), concurrency=400)
    assert len(results) == 600
    assert sum(body["max_output_tokens"] == 1024 for body in model.bodies) < ROWS_FIRST + 50
    assert model.most > 300
    model = Counting()
    run(model, rows_of(*[20] * 600), prose(max_output_tokens=32), concurrency=400)
    assert sum(body["max_output_tokens"] == 32 for body in model.bodies) == 600  # nothing to win: nothing held back


def test_a_refused_bound_is_given_up_for_the_rest():
    """A 400 that names it costs no row."""

    class Strict(Model):
        async def __call__(self, call):
            if b'"max_output_tokens":32' in call.body:
                self.bodies.append(msgspec.json.decode(call.body))
                error = b'{"error":{"message":"max_output_tokens is too small","type":"invalid_request_error"}}'
                return await FakeProvider([Step(status=400, body=error)])(call)
            return await super().__call__(call)

    model = Strict()
    results = run(model, rows_of(*[20] * 150), prose())
    assert [r.outcome for r in results] == ["ok"] * 150
    assert sum(body["max_output_tokens"] == 32 for body in model.bodies) <= 20  # those under way at once


# -- stop texts --------------------------------------------------------------------------------------------------------


def labels(**more):
    return Task(
        **{"model": "gpt-4o-mini", "api": "chat", "prompt": "{n}", "output": Sentence(), "max_output_tokens": 1024}
        | more
    )


def test_stop_texts_follow_from_the_constraint_where_the_model_takes_them():
    """One line: the newline ends it. Not over the user's own, not for JSON, not where the format or model has none."""
    assert labels().stops == ("\n",)
    assert labels(output=None, labels=["a", "b"]).stops == ("\n",)
    assert labels(stop=["END"]).stops == ()
    assert labels(output=Json()).stops == ()
    assert labels(instruct=False).stops == ()
    assert labels(model="gpt-5.4-mini").stops == ()
    assert labels(api="responses").stops == ()
    assert b"stop" not in labels().body({"n": "1"})  # the task's own request stays what it was


@pytest.mark.parametrize(
    ("path", "model", "takes"),
    [
        ("/v1/chat/completions", "gpt-4.1-mini", True),
        ("/v1/chat/completions?api-version=1", "gpt-4o", True),
        ("/v1/chat/completions", "meta-llama/Llama-3.3-70B", True),
        ("/v1/chat/completions", "o4-mini", False),
        ("/v1/chat/completions", "gpt-5", False),
        ("/v1/chat/completions", "gpt-4o-search-preview", False),
        ("/v1/chat/completions", "deepseek-reasoner", False),
        ("/v1/chat/completions", "who-knows", False),
        ("/v1/responses", "gpt-4.1", False),
        ("/v1/messages", "claude-haiku-4-5", False),
    ],
)
def test_a_newline_is_only_sent_where_it_is_known_to_be_taken(path, model, takes):
    """Messages refuse white space, reasoning models the field, and the Responses API has none."""
    assert takes_stop(path, model, "\n") is takes


def test_stop_texts_are_sent_and_dropped_when_they_are_refused():
    """A 400 that names `stop` costs one try of what was under way, and no row."""
    model = Model()
    run(model, rows_of(*[3] * 5), labels())
    assert all(body["stop"] == ["\n"] for body in model.bodies)
    model = Model(stop="refuses")
    results = run(model, rows_of(*[3] * 60), labels(), concurrency=4)
    assert [r.outcome for r in results] == ["ok"] * 60
    assert sum("stop" in body for body in model.bodies) == 4


def test_an_answer_that_a_stop_text_spoils_is_asked_again_without_and_kept_as_it_should_be():
    """The model begins with an introduction: the rows are right, the cache is too, and the stop text is given up."""

    async def main():
        model, task, rows = Model(explains=True), labels(repairs_max=0), rows_of(*[3] * 60)
        async with engine(model, cache="memory") as e:
            first = [r async for r in e.map(rows, task, concurrency=4)]
            again = [r async for r in e.map(rows, task, adapt=False)]
        assert [r.value for r in first] == ["Let me see: word word word"] * 60
        assert [(r.value, r.cache) for r in again] == [("Let me see: word word word", "memory")] * 60
        assert sum("stop" in body for body in model.bodies) <= 8

    virtual_run(main)


def test_a_row_that_fails_has_no_value_of_an_earlier_answer():
    """An answer that a stop text spoilt could be read; where the question without it is refused, nothing of it stays."""
    task = Task(model="gpt-4.1-mini", prompt="{n}", api="chat", output=Sentence(), max_output_tokens=200)
    model = FakeProvider([Step(text="Let me see:"), Step(status=403)])
    (result,) = run(model, rows_of(1), task, concurrency=1, adapt=True)
    assert [bool(msgspec.json.decode(call.body).get("stop")) for call in model.seen] == [True, False]
    assert (result.outcome, result.status, result.value) == ("auth", 403, None)


def test_a_task_that_makes_its_bodies_its_own_way_is_left_alone():
    """A subclass with its own `body`, and anything that only maps."""

    class Own(Task):
        def body(self, row):
            return b"{}"

    assert open_bound(Own(model="m", prompt="{n}", max_output_tokens=1024)) is None
    assert open_bound(prose()) is not None
