"""Several outputs of a row: one call, keys asked again alone, separate calls, and going over from one to the other."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError, Engine
from headway.engine.asking import Asker
from headway.policy.merging import EARLY, PROBE_EVERY
from headway.prompts.labels import Labels
from headway.prompts.merge import MergedTask
from headway.prompts.output import Bullets, Sentence
from headway.prompts.outputs import Ask
from headway.sim import SimSettings, Simulator
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Tags

from .helpers import engine

ASKS = {
    "queue": Ask("Which queue?", Labels(labels=("billing", "shipping"))),
    "summary": Ask("Summarise it.", Sentence()),
    "points": Ask("Name the points.", Bullets(count=2)),
    "tone": Ask("Name the tone.", Labels(labels=("calm", "angry"))),
}
GOOD = {"queue": "billing", "summary": "It is late.", "points": ["one", "two"], "tone": "calm"}
BAD = {"queue": "nowhere", "summary": "One. Two.", "points": ["1", "2", "3"], "tone": 5}
ROWS = [{"text": f"ticket {n}"} for n in range(3)]


def task(**more) -> MergedTask:
    return MergedTask(**({"model": "gpt-5.4-mini", "prompt": "{text}", "outputs": ASKS, "mode": "merged"} | more))


def asked(call) -> list[str]:
    """The outputs that a request asks for."""
    body = json.loads(call.body)
    if "text" in body:
        return list(body["text"]["format"]["schema"]["properties"])
    return [name for name, ask in ASKS.items() if ask.ask in body["instructions"]]


class Model(FakeProvider):
    """Answers what is asked, but for what a merged answer to the row lacks (None) or has wrong.

    Args:
        spoil: Key -> None, or a wrong value; while `merged_only`, in the answer to the first question alone.
    """

    def __init__(self, spoil=None, *, merged_only=True, delays_s=None, fails=()):
        super().__init__()
        self.spoil, self.merged_only, self.delays_s, self.fails = spoil or {}, merged_only, delays_s or {}, fails

    async def __call__(self, call):
        names = asked(call)
        first = len(names) == len(ASKS) and b"cannot be used" not in call.body
        spoilt = self.spoil if first or not self.merged_only else {}
        found = {name: value for name in names if (value := spoilt.get(name, GOOD[name])) is not None}
        text = json.dumps(found)
        if len(names) == 1:
            value = found.get(names[0], "")
            text = "\n".join(f"- {one}" for one in value) if isinstance(value, list) else str(value)
        status = 400 if len(names) == 1 and names[0] in self.fails else 200
        await asyncio.sleep(max(self.delays_s.get(name, 0.0) for name in names))
        self._script = [Step(status=status, text=text, input_tokens=100, output_tokens=5 * len(names))]
        return await super().__call__(call)


def run(provider, asking=None, rows=ROWS[:1], **how):
    async def main():
        async with engine(provider) as e:
            return [result async for result in e.map(rows, asking or task(), **how)]

    return virtual_run(main)


def test_one_call_gives_all_values():
    """In the declared order, each as its constraint reads it."""
    provider = Model()
    (result,) = run(provider)
    assert (result.outcome, result.value, list(result.value)) == ("ok", GOOD, list(ASKS))
    assert json.loads(result.text) == GOOD
    assert (provider.calls, result.repairs) == (1, 0)


@given(
    st.sets(st.sampled_from(list(ASKS))).flatmap(
        lambda names: st.fixed_dictionaries({name: st.sampled_from([None, BAD[name]]) for name in names})
    )
)
@settings(max_examples=40, deadline=None)
def test_what_is_missing_or_wrong_is_asked_for_alone(spoil):
    """Any subset of the keys: exactly those are asked again, once, in one call; what was good is kept."""
    provider = Model(spoil)
    (result,) = run(provider)
    assert (result.outcome, result.value) == ("ok", GOOD)
    assert [asked(call) for call in provider.seen[1:]] == ([[name for name in ASKS if name in spoil]] if spoil else [])
    assert result.repairs == bool(spoil)
    assert json.loads(result.text) == GOOD
    assert result.usage.input_tokens == 100 * provider.calls


@given(
    st.sets(st.sampled_from(list(ASKS)), min_size=1).flatmap(
        lambda names: st.fixed_dictionaries({name: st.sampled_from([None, BAD[name]]) for name in names})
    ),
    st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_asking_again_is_bounded_and_nothing_is_lost(spoil, repairs_max):
    """The row fails, naming the keys that never came; the others are in its value all the same."""
    provider = Model(spoil, merged_only=False)
    (result,) = run(provider, task(repairs_max=repairs_max))
    assert (result.outcome, provider.calls) == ("invalid_output", 1 + repairs_max)
    assert result.value == ({name: GOOD[name] for name in ASKS if name not in spoil} or None)
    assert all(name in result.error for name in spoil)
    assert result.repairs == repairs_max


def test_a_wrong_value_is_told_and_a_missing_one_is_not():
    """What asks again quotes the wrong value and says why; for what was not there it is the plain small question."""
    provider = Model({"queue": "nowhere"})
    run(provider)
    turns = json.loads(provider.seen[1].body)["input"]
    assert turns[1] == {"role": "assistant", "content": "nowhere"}
    assert "not one of the 2 labels" in turns[2]["content"]
    provider = Model({"queue": None})
    run(provider)
    assert provider.seen[1].body == task().part("queue").body(ROWS[0])


def test_an_answer_that_was_cut_costs_only_what_was_cut():
    """The keys that were whole are kept; the rest is asked for by itself instead of failing at the same bound again."""
    answer = json.dumps({"queue": "billing", "summary": "It is late.", "points": ["one", "two"]})[:-4]
    body = {
        "id": "r", "object": "response", "status": "incomplete", "model": "gpt-5.4-mini",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]}],
        "usage": {"input_tokens": 10, "output_tokens": 16, "total_tokens": 26},
    }  # fmt: skip

    class Cut(Model):
        async def __call__(self, call):
            if len(self.seen):
                return await super().__call__(call)
            self._script = [Step(body=json.dumps(body).encode())]
            return await FakeProvider.__call__(self, call)

    provider = Cut()
    (result,) = run(provider, task(max_output_tokens=16))
    assert (result.outcome, result.value) == ("ok", GOOD)
    assert asked(provider.seen[1]) == ["points", "tone"]


def test_a_refusal_of_the_second_question_keeps_the_first_answers_keys():
    """The row fails with what the provider said, and has what came before."""
    (result,) = run(Model({"queue": None}, fails=("queue",)))
    assert result.outcome == "client_error"
    assert result.value == {name: value for name, value in GOOD.items() if name != "queue"}


def test_separate_calls_run_side_by_side_or_one_after_the_other():
    """One result a row either way; its time is what the caller waited, its usage and attempts those of all calls."""
    delays_s = {"queue": 1.0, "summary": 3.0, "points": 2.0, "tone": 1.0}
    for order, took_s in (("parallel", 3.0), ("sequential", 7.0)):
        provider = Model(delays_s=delays_s)
        (result,) = run(provider, task(mode="separate", order=order))
        assert (result.outcome, result.value, list(result.value)) == ("ok", GOOD, list(ASKS))
        assert result.latency_s == pytest.approx(took_s, abs=0.01)
        assert (provider.calls, result.attempts, result.usage.input_tokens) == (4, 4, 400)
        assert sorted(asked(call)[0] for call in provider.seen) == sorted(ASKS)


def test_a_failed_part_of_separate_calls_is_named_and_the_others_are_kept():
    """Its outcome is the row's; so it is where the form is wrong, after asking again."""
    (result,) = run(Model(fails=("tone",)), task(mode="separate"))
    assert result.outcome == "client_error"
    assert result.error.startswith("tone: ")
    assert result.value == {name: value for name, value in GOOD.items() if name != "tone"}
    (result,) = run(Model({"queue": "nowhere"}, merged_only=False), task(mode="separate", order="sequential"))
    assert (result.outcome, result.repairs, result.attempts) == ("invalid_output", 1, 5)
    assert result.error.startswith("queue: 'nowhere' is not one of")


def test_what_separate_calls_cost_is_unknown_where_one_price_is():
    """None, and not the sum of the prices that are known, or 0."""
    priced, unpriced = (run(Model(), task(mode="separate", model=model))[0] for model in ("gpt-5.4-mini", "unpriced"))
    assert priced.dollars > 0
    assert (unpriced.outcome, unpriced.dollars) == ("ok", None)


def test_many_rows_keep_their_order():
    """Merged and separate, in input order and as they are done."""
    for mode in ("merged", "separate", "auto"):
        results = run(Model(), task(mode=mode), ROWS * 20)
        assert [result.index for result in results] == list(range(60))
        assert all(result.value == GOOD and result.row == ROWS[n % 3] for n, result in enumerate(results))


def test_auto_goes_over_to_separate_calls_and_says_so_once(caplog):
    """A model that always drops a key: paid in vain is a small share of the rows, and no row fails."""
    provider = Model({"tone": None})
    rows = [{"text": f"ticket {n}"} for n in range(600)]
    with caplog.at_level(logging.WARNING, logger="headway.merging"):
        results = run(provider, task(mode="auto"), rows, concurrency=512)
    assert all(result.value == GOOD for result in results)
    merged = [call for call in provider.seen if len(asked(call)) == len(ASKS)]
    assert len(merged) <= 100 + EARLY + 500 / PROBE_EVERY  # under way before it is known, and probes
    said = [record.getMessage() for record in caplog.records if record.name == "headway.merging"]
    assert len(said) == 1
    assert said[0].startswith("100 % of the last merged answers")


def test_auto_stays_merged_where_it_works():
    """One call a row, and nothing is said."""
    provider = Model()
    run(provider, task(mode="auto"), ROWS * 100)
    assert provider.calls == 300


def test_equal_rows_share_a_merged_answer_and_its_parts():
    """The cache knows the whole question and each separate one."""

    async def main(mode):
        provider = Model()
        async with engine(provider, cache="memory") as e:
            first = [result async for result in e.map(ROWS[:1], task(mode=mode))]
            again = [result async for result in e.map(ROWS[:1], task(mode=mode))]
        return provider.calls, first[0], again[0]

    for mode, calls in (("merged", 1), ("separate", 4)):
        made, first, again = virtual_run(lambda mode=mode: main(mode))
        assert made == calls
        assert (first.value, again.value) == (GOOD, GOOD)
        assert (again.cache, again.attempts, again.dollars) == ("memory", 0, 0.0)


def test_a_mistake_in_the_program_is_raised_as_itself():
    """A configuration error of one part is no group of errors, and nothing is left running."""

    class Broken:
        async def send(self, path, body, **how):
            raise ConfigError("no such setting")

    async def main():
        await Asker(Broken(), task(mode="separate")).ask(ROWS[0])

    with pytest.raises(ConfigError, match="no such setting"):
        virtual_run(main)


def test_an_asker_by_itself():
    """What compare uses: one for a run, tags and cache mode for every call."""

    async def main():
        provider = Model({"tone": None})
        async with engine(provider, cache="memory") as e:
            asker = Asker(e, task(), tags=Tags(step="b"), cache="off")
            results = [await asker.ask(row, n) for n, row in enumerate([ROWS[0], ROWS[0]])]
        return provider, results

    provider, results = virtual_run(main)
    assert [result.index for result in results] == [0, 1]
    assert all(result.value == GOOD for result in results)
    assert provider.calls == 4
    assert {call.tags.step for call in provider.seen} == {"b"}


@pytest.mark.parametrize(
    ("api", "model"), [("responses", "gpt-5.4-mini"), ("chat", "gpt-5.4-mini"), ("messages", "claude-haiku-4-5")]
)
def test_every_api_of_the_simulator(api, model):
    """Real request bytes: a schema where the API has one, words where it has not; all keys in the end."""
    asks = {"queue": ASKS["queue"], "summary": ASKS["summary"]}
    asking = task(api=api, model=model, outputs=asks)
    rows = [{"text": f"Ticket: I was charged twice for order {n}. Please refund me."} for n in range(5)]

    async def main():
        async with Engine(handler=Simulator(SimSettings(seed=1)).handler, log="off", seed=1, api_key="sk-x") as e:
            return [result async for result in e.map(rows, asking)]

    results = virtual_run(main)
    assert all(result.outcome == "ok" and list(result.value) == list(asks) for result in results)
    assert {result.value["queue"] for result in results} == {"billing"}
