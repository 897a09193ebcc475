"""What follows what: likelihoods that are lower bounds, back off to what is known, fade, and are learned from the log."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from headway import Engine, Tags
from headway.pipeline.speculation.follows import Follows, Happening
from headway.store.call_reader import CallLogReader
from headway.testing import FakeProvider, virtual_run

BODY = {"model": "gpt-5.4-mini", "input": "Hello"}
HAPPENINGS = st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"]), st.sampled_from(["s1", "s2", "s3"]))


def taught(chain: dict[str, list[str]], sessions: int = 200, seed: int = 1) -> Follows:
    """Sessions of six labels, each drawn from those that may follow the one before."""
    follows, dice = Follows(), random.Random(seed)
    for session in range(sessions):
        label = "start"
        for _ in range(6):
            follows.observe("answer", label=label, session=str(session))
            label = dice.choice(chain[label])
    return follows


def test_what_mostly_follows_is_found():
    """Three in four go on with the price: said a little less, and nothing else is said to be likelier."""
    chain = {"start": ["price", "price", "price", "size"], "price": ["size"], "size": ["start"]}
    first, second = taught(chain).next("answer", label="start")[:2]
    assert (first.step, first.label, second.label) == ("answer", "price", "size")
    assert 0.6 < first.likelihood < 0.75
    assert 0.15 < second.likelihood < 0.25


def test_once_is_not_always():
    """What was seen once, and what was never seen, is not taken for certain."""
    follows = Follows()
    follows.observe("search", session="1")
    follows.observe("answer", session="1")
    assert follows.next("search")[0].likelihood < 0.6
    assert Follows().next("search") == []


def test_an_unknown_label_falls_back_to_its_step():
    """Nothing is known of the label, so what follows the step, whatever its label, is told."""
    follows = taught({"start": ["price"], "price": ["start"]})
    assert {one.label for one in follows.next("answer", label="new")} == {"start", "price"}


def test_a_session_that_ends_is_seen():
    """Half of the sessions end after the first step: the next one is no likelier than that."""
    follows = Follows()
    for session in range(100):
        follows.observe("ask", session=str(session))
        if session % 2:
            follows.observe("answer", session=str(session))
    assert 0.35 < follows.next("ask")[0].likelihood <= 0.5


def test_what_is_long_ago_fades():
    """After as many sights again of another follower, that one is the likelier by far."""
    follows = Follows()
    for turn in range(1_200):
        follows.observe("a", session=str(turn))
        follows.observe("old" if turn < 600 else "new", session=str(turn))
    first, second = follows.next("a")[:2]
    assert first.step == "new"
    assert second.likelihood < 0.1


@given(st.lists(HAPPENINGS, max_size=80))
def test_likelihoods_are_likelihoods(happened: list[tuple[str, str, str]]):
    """Whatever happened in whatever session: each lies in 0..1, they add up to 1 at most, the likeliest come first."""
    follows = Follows()
    for step, label, session in happened:
        follows.observe(step, label=label, session=session)
    for step in "abc":
        told = [one.likelihood for one in follows.next(step, label="x", most=99)]
        assert all(0.0 <= one <= 1.0 for one in told)
        assert sum(told) <= 1.0 + 1e-9
        assert told == sorted(told, reverse=True)


def test_it_is_bounded():
    """Any number of sessions, steps and labels are kept in bounded memory."""
    follows = Follows()
    for number in range(30_000):
        follows.observe(f"step{number % 6_000}", label=str(number), session=str(number % 12_000))
    assert len(follows._seen) <= 4_096
    assert len(follows._last) <= 10_000
    assert max(len(seen.next) for seen in follows._seen.values()) <= 64


def test_the_log_tells(tmp_path):
    """Calls in a session are steps in their order; several calls of one step are one, and a prefetch is none."""
    path = tmp_path / "calls.sqlite"

    async def write() -> None:
        async with Engine(handler=FakeProvider(), log=str(path)) as engine:
            for session in range(20):
                for run, step in enumerate(("search#0", "search#0", "prefetch:answer", "answer#1")):
                    tags = Tags(run=f"{session}.{run // 3}", step=step, parent="turn", session=str(session))
                    reply = await engine.send("/v1/responses", BODY | {"input": f"{session} {run}"}, tags=tags)
                    await reply.read()
            await (await engine.send("/v1/responses", BODY, tags=Tags(step="search#0"))).read()

    virtual_run(write)
    with CallLogReader(path) as reader:
        follows = Follows.learn(reader, pipeline="turn", label=lambda row: row.model)
        assert Follows.learn(reader, pipeline="other").next("search") == []
    [likely] = follows.next("search", label="gpt-5.4-mini", most=1)
    assert Happening(likely.step, likely.label) == ("answer", "gpt-5.4-mini")
    assert likely.likelihood > 0.75


def test_promises_are_kept():
    """Of what is said to be 50 to 90 % likely, about as much comes: no less, and not much more."""
    chain = {"start": ["price"] * 8 + ["size", "colour"], "price": ["size"] * 7 + ["start"] * 3}
    chain |= {"size": ["start"], "colour": ["start"]}
    follows, dice, said, came = taught(chain, sessions=50), random.Random(2), 0.0, 0
    count = 0
    for session in range(500):
        label = "start"
        for turn in range(6):
            follows.observe("answer", label=label, session=f"new{session}")
            guess = follows.next("answer", label=label)[0]
            label = dice.choice(chain[label]) if turn < 5 else "the session ends"
            if 0.5 < guess.likelihood < 0.9:
                said, count = said + guess.likelihood, count + 1
                came += guess.label == label
    assert count > 500
    assert came / count - 0.08 < said / count < came / count
