"""What earlier runs needed: learnt from whole runs only, bounded, and what `Degrade` goes by once it is known."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.pipeline import pipeline, step
from headway.pipeline.experience import Experience
from headway.policy.degrade import Degrade
from headway.testing import virtual_run
from headway.types.steps import StepRow


def rows_of(run: str, *steps: tuple[str, float, float], dollars: float | None = 0.1, **main: object) -> list[StepRow]:
    """A run whose steps each start and end as told and cost so much."""
    given_ = {"pipeline": "p", "run": run, "start_wall_s": 0.0}
    made = [
        StepRow(step=name, index=at, started_s=from_s, end_s=to_s, dollars=dollars, **given_)
        for at, (name, from_s, to_s) in enumerate(steps)
    ]
    end_s = max(to_s for _, _, to_s in steps)
    total = None if dollars is None else dollars * len(steps)
    return [StepRow(step="", index=-1, **({"end_s": end_s, "dollars": total} | given_ | main)), *made]


def test_needed_is_what_was_enough_in_nine_of_ten():
    """From the step's start to the run's end; dollars of what had not ended by then."""
    experience = Experience()
    for at in range(10):
        experience.learn(rows_of(f"r{at}", ("a", 0.0, 1.0), ("b", 1.0, 2.0 + at), ("b", 1.5, 1.75)))
    assert experience.needed("a", 0) == pytest.approx((10.0, 0.3))
    assert experience.needed("b", 0) == pytest.approx((9.0, 0.2))
    assert experience.needed("b", 1) == pytest.approx((8.5, 0.2))
    assert experience.needed("b", 2) is None


def test_few_runs_are_no_experience():
    """Seven say nothing, eight do."""
    experience = Experience()
    for at in range(8):
        assert experience.needed("a", 0) is None
        experience.learn(rows_of(f"r{at}", ("a", 0.0, 1.0)))
    assert experience.needed("a", 0) is not None


@pytest.mark.parametrize(
    "spoilt",
    [
        rows_of("x", ("a", 0.0, 9.0), outcome="failed"),
        rows_of("x", ("a", 0.0, 9.0), end_s=None),
        rows_of("x", ("a", 0.0, 9.0))[1:],
        [
            *rows_of("x", ("a", 0.0, 9.0)),
            StepRow(pipeline="p", run="x", step="b", index=1, start_wall_s=0.0, smaller=True),
        ],
        [
            *rows_of("x", ("a", 0.0, 9.0)),
            StepRow(pipeline="p", run="x", step="b", index=1, start_wall_s=0.0, outcome="skipped"),
        ],
    ],
)
def test_runs_that_were_not_whole_teach_nothing(spoilt):
    """Failed, under way, cut off, or with something given up: what it takes at full size is not to be had from them."""
    experience = Experience()
    experience.learn([row for at in range(8) for row in rows_of(f"r{at}", ("a", 0.0, 1.0))])
    for _ in range(64):
        experience.learn(spoilt)
    assert experience.needed("a", 0).time_s == 1.0


def test_only_the_last_runs_and_the_first_starts_are_remembered():
    """64 runs, 256 starts of each: memory does not grow."""
    experience = Experience()
    for at in range(100):
        experience.learn(rows_of(f"r{at}", *[("a", float(i), i + 1.0) for i in range(300)]))
    assert sum(map(len, experience._runs)) == 64 * 256
    assert experience.needed("a", 255) is not None
    assert experience.needed("a", 256) is None


def test_unknown_dollars_stay_unknown():
    """One run of unknown price, and nothing is said of dollars; of the time, all the same."""
    experience = Experience()
    for at in range(8):
        experience.learn(rows_of(f"r{at}", ("a", 0.0, 1.0), dollars=None if at == 3 else 0.1))
    assert experience.needed("a", 0) == (1.0, None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=12))
def test_what_is_needed_only_shrinks_in_the_course_of_a_run(steps):
    """Whoever starts later needs no more time and no more dollars, and never less than nothing."""
    experience = Experience()
    started = [(name, from_s, from_s + took_s) for name, from_s, took_s in steps]
    for at in range(8):
        experience.learn(rows_of(f"r{at}", *started))
    counts = {"a": 0, "b": 0}
    found = []
    for name, _, _ in sorted(started, key=lambda one: one[1]):
        found.append(experience.needed(name, counts[name]))
        counts[name] += 1
    for earlier, later in pairwise(found):
        assert later.time_s <= earlier.time_s
        assert later.dollars <= earlier.dollars + 1e-9
    assert all(one.time_s >= 0 and one.dollars >= -1e-9 for one in found)


@step
async def search(took_s: float) -> str:
    await asyncio.sleep(took_s)
    return "found"


@step(optional=True, default="left out")
async def extra(text: str) -> str:
    await asyncio.sleep(0.5)
    return text.upper()


def made():
    @pipeline(name="p", log=False, deadline_s=10.0, degrade=Degrade())
    async def main(took_s: float):
        return extra(search(took_s))

    return main


def test_a_run_gives_up_nothing_that_there_is_time_for():
    """With 0.9 s of 10 s left the share alone leaves it out; half a second is all that it ever took."""
    green, learnt = made(), made()
    for at in range(8):
        learnt.experience.learn(rows_of(f"r{at}", ("search", 0.0, 2.0), ("extra", 2.0, 2.5)))
    assert virtual_run(lambda: green(9.1)) == "left out"
    assert virtual_run(lambda: learnt(9.1)) == "FOUND"
    assert virtual_run(lambda: learnt(9.9)) == "left out"


def test_runs_on_virtual_time_learn_nothing_by_themselves():
    """They are the same each time."""
    main = made()
    for _ in range(12):
        virtual_run(lambda: main(1.0))
    assert main.experience.needed("search", 0) is None


def test_runs_in_real_time_do():
    """Each that was whole, once it has ended."""
    main = made()

    @pipeline(name="p", log=False, degrade=Degrade())
    async def quick():
        return search(0.0)

    async def eight():
        for _ in range(8):
            await quick()

    asyncio.run(eight())
    assert quick.experience.needed("search", 0).time_s >= 0
    assert main.experience.needed("search", 0) is None  # another pipeline, though its name is the same
