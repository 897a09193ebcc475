"""The plan of a job: what it counts, what it expects, and that it sends nothing."""

import asyncio
import json
from collections import Counter
from contextlib import closing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.config import Settings
from headway.engine import Engine
from headway.errors import InputError
from headway.jobs import plan_rows
from headway.jobs.journal import Header, Journal
from headway.jobs.parcel_events import Ended, Intent, Submitted, encode
from headway.jobs.plan import make_plan
from headway.jobs.plan_history import history_of
from headway.jobs.plan_lanes import Pace, Terms, Work, auto_lane, lane_plans
from headway.jobs.record import Record
from headway.jobs.runner import JobSettings, journal_path, run_job
from headway.prompts.task import Task
from headway.report.plan_figures import Interval
from headway.sim import SimSettings, Simulator
from headway.store.rows import LogRow
from headway.testing import FakeProvider, virtual_run
from headway.types import Reply
from headway.wire import batch_format_for
from headway.wire.prices import Prices
from tests.jobs.test_job_cli import NOWHERE, headway_run

TASK = Task(model="gpt-5.4-mini", prompt="Ticket: {text}", labels=["card", "billing"])
QUIET = Settings(log="off")


class Cache:
    """Holds the answers to some texts, and counts look-ups."""

    def __init__(self, texts=()):
        self.bodies = {TASK.body({"text": text}) for text in texts}
        self.asked = 0

    async def cached(self, path, body, *, key_body=None):
        self.asked += 1
        return Reply(200, (), b"{}") if body in self.bodies else None


def written(tmp_path, rows, name="in.jsonl"):
    """An input of these rows; a row that is a string is written as it is."""
    path = tmp_path / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def plan_of(path, *, task=TASK, cache=None, settings=QUIET, **job):
    """The plan of that input."""
    return asyncio.run(make_plan(JobSettings(input=str(path), task=task, **job), settings, cache=cache))


def test_every_row_is_counted_once(tmp_path):
    """Unreadable, finished before, repeated, in the cache, to be sent: they add up."""
    texts = ["a", "b", "a", "c", "d", "a", "e"]
    path = written(tmp_path, [*({"text": text} for text in texts), "nope"])
    out = tmp_path / "out.jsonl"
    key = TASK.row_key({"text": "a"})
    lines = [
        '{"headway_journal":2}',
        json.dumps({"key": f"{key}#0", "ok": True, "record": {}}),
        '{"event":{"batch":1}}',
        json.dumps({"key": TASK.row_key({"text": "e"}) + "#0", "ok": False, "record": {}}),
        '{"key":"torn',
    ]
    journal_path(out).write_text("\n".join(lines))
    plan = plan_of(path, out=out, cache=Cache(["b"]))
    assert (plan.rows, plan.unreadable, plan.finished, plan.repeated) == (8, 1, 2, 1)
    assert (plan.cached.requests, plan.requests) == (1, 3)  # b; a again, c, d
    assert plan_of(path, out=out, cache=Cache(["b"]), retry_failed=True).requests == 4
    assert plan_of(path, out=out, cache=Cache(["b"]), fresh=True).finished == 0


def test_rows_that_an_earlier_run_handed_in_are_not_sent_again(tmp_path):
    """An open batch's rows count as batched; those of one that has ended are owed."""
    path, out = written(tmp_path, [{"text": text} for text in "abc"]), tmp_path / "out.jsonl"
    key = {text: f"{TASK.row_key({'text': text})}#0" for text in "abc"}
    events = [
        Intent(part=0, at_wall_s=1.0, keys=f"{key['a']} {key['b']}"), Submitted(part=0, batch_id="batch_1"),
        Intent(part=1, at_wall_s=1.0, keys=key["c"]), Ended(part=1),
    ]  # fmt: skip
    with closing(Journal.open(journal_path(out), Header())) as journal:
        for event in events:
            journal.note(encode(event))
        journal.append(key["a"], Record(input={"text": "a"}, output="card"))
    plan = plan_of(path, out=out)
    assert (plan.finished, plan.batched, plan.requests) == (1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh"))
)
def test_what_is_sent_is_what_is_neither_finished_nor_at_hand(tmp_path_factory, texts, finished, held):
    """For any rows, the journal's and the cache's holdings: requests are the distinct rest, and all adds up."""
    tmp_path = tmp_path_factory.mktemp("plan")
    path, out = written(tmp_path, [{"text": "z"}, *({"text": text} for text in texts)]), tmp_path / "out.jsonl"
    keys = (TASK.row_key({"text": text}) for text in finished)
    journal_path(out).write_text(
        "".join(json.dumps({"key": f"{key}#0", "ok": True, "record": {}}) + "\n" for key in keys)
    )
    plan = plan_of(path, out=out, cache=Cache(held))
    owed = Counter({"z": 1}) + (Counter(texts) - Counter(dict.fromkeys(finished, 1)))
    assert plan.requests == len(set(owed) - held)
    assert plan.finished == sum(text in finished for text in set(texts))
    assert plan.rows == plan.unreadable + plan.finished + plan.repeated + plan.cached.requests + plan.requests


def test_without_reuse_equal_rows_are_sent_each(tmp_path):
    """The cache is off: nothing is looked up and nothing is shared."""
    plan = plan_of(written(tmp_path, [{"text": "a"}] * 3))
    assert (plan.requests, plan.repeated, plan.cached.looked_up) == (3, 0, 0)


def test_many_rows_are_looked_up_by_sample(tmp_path, monkeypatch):
    """Behind the first ones every sixteenth is looked up, and the others' share is extrapolated."""
    monkeypatch.setattr(plan_rows, "_LOOKED_UP_ALL", 100)
    texts = [str(i) for i in range(1700)]
    cache = Cache(texts[:50] + texts[100::2])
    plan = plan_of(written(tmp_path, [{"text": text} for text in texts]), cache=cache)
    assert cache.asked == plan.cached.looked_up == 200
    assert plan.cached.extrapolated
    assert plan.cached.requests + plan.requests == 1700
    assert plan.cached.requests in (50, 1650)  # every sixteenth is always even or always odd: a sample is a sample


def test_a_plan_sends_nothing_and_writes_nothing(tmp_path):
    """With a real engine: no call, no journal, no output."""

    async def run():
        provider = FakeProvider([])
        async with Engine(handler=provider, cache="memory", log="off") as engine:
            job = JobSettings(input=str(path), task=TASK, out=tmp_path / "out.jsonl")
            plan = await make_plan(job, engine.settings, cache=engine)
            assert engine.snapshot()["attempts"] == 0
        return plan, provider

    path = written(tmp_path, [{"text": "a"}, {"text": "b"}])
    plan, provider = virtual_run(run())
    assert plan.requests == 2
    assert provider.calls == 0
    assert [one.name for one in tmp_path.iterdir()] == ["in.jsonl"]


def test_the_plan_foretells_what_the_run_then_costs_and_takes(tmp_path):
    """After a run over like rows: dollars and tokens of the next one lie in the plan's intervals, time in the online one."""
    first = written(tmp_path, [{"text": f"My card {i} has not come yet"} for i in range(300)], "first.jsonl")
    second = written(tmp_path, [{"text": f"Where is card {i} now, please"} for i in range(900)])
    simulator = Simulator(SimSettings(seed=1, rpm=3000, capacity_s=1))

    async def run():
        loop, spent = asyncio.get_running_loop(), []
        settings = {
            "handler": simulator.handler,
            "api_key": "k",
            "cache": "memory",
            "log": str(tmp_path / "calls.sqlite"),
        }
        async with Engine(**settings) as engine:
            await run_job(JobSettings(input=str(first), task=TASK, out=tmp_path / "1.jsonl"), engine)
        async with Engine(**settings, requests_per_min=3000) as engine:
            job = JobSettings(input=str(second), task=TASK, out=tmp_path / "2.jsonl")
            plan = await make_plan(job, engine.settings, cache=engine)
            started_s = loop.time()
            await run_job(job, engine, on_result=lambda result, _: spent.append(result))
            return plan, spent, loop.time() - started_s

    plan, results, took_s = virtual_run(run())
    online = plan.lanes[0]
    assert plan.output_tokens.samples == 300
    assert plan.input_tokens.total.low <= sum(one.usage.input_tokens for one in results) <= plan.input_tokens.total.high
    assert online.dollars.low <= sum(one.dollars for one in results) <= online.dollars.high
    assert online.eta_s.low <= took_s <= online.eta_s.high


def work(requests=3000, **fields):
    """So many requests of 100 input tokens and 10 to 20 output tokens."""
    given = {
        "groups": ((float(requests), 100.0 * requests),), "input_factor": Interval(1.0, 1.0),
        "output": Interval(10.0, 20.0), "bound": 100, "body_bytes": 400 * requests,
    }  # fmt: skip
    return Work(requests=requests, **(given | fields))


RATES = Prices().rates("gpt-5.4-mini")
PACE = Pace(name="set", requests_per_min=1000, tokens_per_min=100_000)
TERMS = Terms(
    rates=RATES, pace=PACE, latency_s=Interval(1.0, 5.0), batch=batch_format_for("/v1/responses"), flex=True
)  # fmt: skip


def test_online_takes_what_the_binding_limit_lets_through():
    """3,000 requests: by tokens, charged as answered with full buckets at best, charged by the bound at worst."""
    online = lane_plans(work(), TERMS)[0]
    assert online.eta_s.low == pytest.approx((3000 * 110 - 100_000) / 100_000 * 60 + 1)
    assert online.eta_s.high == pytest.approx(3000 * 200 / 100_000 * 60 + 5)
    slow = Terms(rates=RATES, pace=Pace(name="none"), latency_s=Interval(2.0, 5.0), concurrency=10)
    assert lane_plans(work(), slow)[0].eta_s == Interval(602.0, 605.0)  # 300 turns of 2 s


def test_dollars_by_lane():
    """Online at the list price, flex and batch at half of it; the most is every answer at its bound."""
    online, flex, batch, _ = lane_plans(work(), TERMS)
    base = RATES.base
    assert online.dollars.low == pytest.approx(3000 * (100 * base.input + 10 * base.output))
    assert online.dollars.high == pytest.approx(3000 * (100 * base.input + 20 * base.output))
    assert online.dollars_max == pytest.approx(3000 * (100 * base.input + 100 * base.output))
    assert flex.dollars.high == batch.dollars.high == pytest.approx(online.dollars.high / 2)
    assert lane_plans(work(bound=None), TERMS)[0].dollars_max is None
    assert lane_plans(work(), Terms(rates=None, pace=None))[0].dollars is None


def test_a_long_common_prefix_lowers_the_low_end_only():
    """What the provider's prompt cache may read is no promise."""
    plain = lane_plans(work(groups=((3000.0, 6e6),)), TERMS)[0].dollars
    kept = lane_plans(work(groups=((3000.0, 6e6),), prefix_tokens=1500), TERMS)[0].dollars
    assert kept.high == plain.high
    assert plain.low - kept.low == pytest.approx(3000 * 1500 * (RATES.base.input - RATES.base.cached))


def test_batches_take_seven_minutes_to_an_hour_and_many_take_longer():
    """One batch has the prior's own quantiles; the last of several is later, but a day at most."""
    one = lane_plans(work(), TERMS)[2].eta_s
    assert (one.low, one.high) == (pytest.approx(420, abs=1), pytest.approx(3600, abs=1))
    many = lane_plans(work(1_000_000), TERMS)[2]
    assert "20 batches" in many.note
    assert one.high < many.eta_s.high <= 86_400
    assert one.low < many.eta_s.low


@pytest.mark.parametrize(
    ("deadline_s", "lane", "in_time"),
    [(60.0, "online", "no"), (330.0, "online", "perhaps"), (6 * 3600.0, "batch", "yes")],
)
def test_auto_is_what_the_policy_would_choose(deadline_s, lane, in_time):
    """No time: online; hours: a batch; and the verdict says whether it will do."""
    terms = Terms(rates=RATES, pace=PACE, deadline_s=deadline_s, batch=batch_format_for("/v1/responses"))
    assert auto_lane(work(), terms) == lane
    auto = lane_plans(work(), terms)[-1]
    assert (auto.name, auto.in_time, auto.in_budget) == ("auto", in_time, "")


def test_a_budget_that_only_batches_keep_goes_to_batches():
    """Online it would cost up to $0.50, in a batch half of that: $0.30 is enough for the one and not for the other."""
    online, flex, batch, auto = lane_plans(work(), msgspec.structs.replace(TERMS, budget_usd=0.3))
    assert [one.in_budget for one in (online, flex, batch)] == ["no", "yes", "yes"]
    assert "would take batch" in auto.note


def test_unknown_limits_are_shown_by_assumption(tmp_path):
    """Without limits or a call log there is no time online, but one for each published tier."""
    online = plan_of(written(tmp_path, [{"text": "a"}])).lanes[0]
    assert online.eta_s is None
    assert "openai/tier-1" in [one.limits for one in online.assumed]
    given = Settings(log="off", limits="openai/tier-1")
    assert plan_of(tmp_path / "in.jsonl", settings=given).lanes[0].note == "limits of openai/tier-1"


LONG = "Be brief. " * 450  # 1,125 tokens


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"model": "gpt-9-nope"}, ["price of gpt-9-nope is unknown"]),
        ({"max_output_tokens": 399_990}, ["rows 1, 2, 3 would not fit", "400,000"]),
        ({"labels": ()}, ["nothing bounds", "max_output_tokens"]),
        ({"system": LONG[:3500]}, ["fixed beginning", "under the 1,024"]),
        ({"prompt": "{text} " + LONG}, ["behind the first column"]),
        ({"prompt": "{at} {text} " + LONG}, ["a timestamp", "changes from request to request"]),
    ],
)
def test_warnings(tmp_path, task, words):
    """Each is one sentence that says what is wrong and what to do."""
    rows = [{"text": f"{word} text", "at": f"2026-11-21T13:0{i}:00Z"} for i, word in enumerate(["one", "two", "some"])]
    made = Task(**{"model": "gpt-5.4-mini", "prompt": "Ticket: {text}", "labels": ("card", "billing")} | task)
    if "timestamp" in words[0]:
        rows = [{"text": "same", "at": f"2026-11-21T13:1{i}:00Z"} for i in range(9)]
    found = [one for one in plan_of(written(tmp_path, rows), task=made).warnings if all(word in one for word in words)]
    assert len(found) == 1
    assert plan_of(written(tmp_path, [{"text": "a"}, {"text": "b"}])).warnings == ()


def test_what_would_keep_a_run_from_starting_is_told(tmp_path):
    """An output without a journal, a journal of another provider; a missing column is an error as it is for a run."""
    path, out = written(tmp_path, [{"text": "a"}]), tmp_path / "out.jsonl"
    out.write_text("mine\n")
    assert "no journal" in plan_of(path, out=out).warnings[0]
    journal_path(out).write_text('{"headway_journal":2,"origin":"http://elsewhere"}\n')
    assert "http://elsewhere" in plan_of(path, out=out).warnings[0]
    with pytest.raises(InputError, match="txt"):
        plan_of(path, task=Task(model="m", prompt="{txt}"))


def log_row(i, **fields):
    """A try of the call log, one every tenth of a second."""
    blank = dict.fromkeys(LogRow.__struct_fields__)
    usual = {
        "start_wall_s": i / 10, "sent_s": 0.0, "end_s": 2.0, "outcome": "ok", "output_tokens": 10 + i % 3, "step": "",
        "input_tokens": 100, "body_bytes": 500, "output_tokens_max": 64, "usage_estimated": False,
    }  # fmt: skip
    return LogRow(**(blank | usual | fields))


def test_history_is_of_like_calls():
    """Outputs, input tokens per byte, latency and the fastest minute; too few calls tell nothing."""
    history = history_of([log_row(i) for i in range(1200)], 64)
    assert history.output_mean == Interval(pytest.approx(9.9), pytest.approx(12.1))
    assert history.input_per_byte.low < 0.2 < history.input_per_byte.high
    assert history.latency_s == Interval(2.0, 2.0)
    assert history.requests_per_min == pytest.approx(600, rel=0.01)
    assert history.like == "this model and output bound"
    assert history_of([log_row(i) for i in range(30)], 32).like == "this model"
    assert history_of([log_row(i) for i in range(19)], 64).samples == 0


def test_the_fastest_run_counts_however_short_it_was():
    """20 s at 10 a second, a pause, 12 s at 20 a second: 1,200 a minute; runs of a few seconds tell nothing."""
    slow = [log_row(i) for i in range(200)]
    fast = [log_row(0, start_wall_s=100 + i / 20) for i in range(240)]
    assert history_of(slow + fast, 64).requests_per_min == pytest.approx(1200, rel=0.01)
    assert history_of(slow[:50], 64).requests_per_min is None


def test_answers_that_came_in_a_batch_say_nothing_about_time():
    """They count for tokens only."""
    history = history_of([log_row(i, step="batch", end_s=9_000.0) for i in range(300)], 64)
    assert history.samples == 300
    assert history.latency_s is None
    assert history.requests_per_min is None


def test_the_command_prints_one_object_and_needs_no_provider(tmp_path):
    """`--plan --json`: exit code 0, though nobody listens; the lanes are in it."""
    path = written(tmp_path, [{"text": "a"}, {"text": "b"}])
    arguments = [path, "--prompt", "{text}", "--labels", "x,y", "--base-url", NOWHERE, "--plan"]
    code, out, err = headway_run(*arguments, "--json", cwd=tmp_path)
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert (plan["rows"], plan["requests"]) == (2, 2)
    assert [lane["name"] for lane in plan["lanes"]] == ["online", "flex", "batch", "auto"]
    code, out, err = headway_run(*arguments, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert "Nothing was sent" in out
