"""Comparisons on virtual time: verdicts, order, money, and what cannot be compared."""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from headway import ConfigError, Engine, InputError, ProviderError
from headway.measure.compare.comparison import Noise
from headway.measure.compare.opening import open_engine
from headway.measure.compare.page import comparison_page
from headway.measure.compare.run import CompareSettings, Comparing, compare
from headway.measure.compare.table import lines, percent_change, quality_line
from headway.measure.compare.told import concluded
from headway.measure.compare.variant import RunTable, Variant, differences
from headway.measure.stats import Interval
from headway.prompts.labels import Labels
from headway.prompts.merge import MergedTask
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

from .compare_world import MODELS, Plays, World, compared, engines, rows, variant

A, B = variant("a"), variant("b")


def wrong_at(share: int):
    """The right answer, but for every `share`-th row."""

    def answer(prompt: str) -> str:
        number, right = int(prompt.split()[1].rstrip(":")), prompt.rpartition(" ")[2]
        return {"yes": "no", "no": "yes"}[right] if number % share == 0 else right

    return answer


def test_a_faster_variant_is_better_and_stops_early():
    """20 % faster, cheaper, no worse: "better", before all rows were asked, and the sentence names both."""
    done = compared(World(b=Plays(latency_s=0.8)), A, B, rows(400))
    assert (done.verdict, done.stopped, done.not_inferior, done.code()) == ("better", "decided", True, 0)
    assert done.rows < 400
    assert done.sentence.startswith("b ")
    assert "faster" in done.sentence
    latency = done.findings.metric("latency")
    assert latency.verdict == "better"
    assert latency.ratio.low < 0.8 < latency.ratio.high


def test_a_slower_variant_is_worse():
    """The same the other way round; as it is cheaper all the same it is a trade."""
    done = compared(World(a=Plays(latency_s=0.8)), A, B, rows(200))
    assert done.findings.metric("latency").verdict == "worse"
    assert done.verdict == "mixed"
    assert (done.code(), done.code("faster"), done.code("cheaper")) == (1, 1, 0)


def test_few_rows_say_nothing():
    """Seven rows are not enough for any claim, and the sentence says so."""
    done = compared(World(a=Plays(latency_s=0.5)), A, B, rows(7))
    assert (done.verdict, done.stopped, done.code()) == ("inconclusive", "rows", 3)
    assert done.sentence.startswith("inconclusive")
    lost = compared(World(b=Plays(answer=wrong_at(1))), A, B, rows(7), aa=False)
    assert "too few to say whether it is worse by more than 2 points" in quality_line(lost)


def test_inferior_quality_is_caught_whatever_it_saves():
    """Every fourth answer wrong: worse, although it is twice as fast."""
    done = compared(World(b=Plays(latency_s=0.5, answer=wrong_at(4))), A, B, rows(200))
    assert (done.verdict, done.not_inferior) == ("worse", False)
    assert done.findings.quality.only_a > 5
    assert [done.code(expect) for expect in ("better", "not-worse", "faster", "cheaper")] == [1, 1, 1, 1]


def test_equal_variants_are_said_to_be_the_same():
    """Nothing differs: no A/A before it, a note in the sentence, and no claim."""
    world = World()
    done = compared(world, A, variant("a"), rows(60))
    assert done.differences == ()
    assert done.sentence.startswith("The two variants are the same: this measures noise only.")
    assert (done.a, done.b) == ("a (A)", "a (B)")
    assert done.noise is None
    assert done.verdict in ("same", "inconclusive")
    assert len(world.seen) == 2 * (1 + 4) + 2 * 60


def test_differences_are_named():
    """The model alone, the prompt alone, a setting, the way rows are run."""
    assert differences(A, B) == ("model",)
    assert differences(A, variant("a", task={"system": "Be brief."})) == ("prompt",)
    assert differences(A, variant("a", settings={"cache": "memory"}, order="sequential")) == ("cache", "order")
    assert differences(A, variant("a", task={"repairs_max": 0}, stream=True)) == ("repairs_max", "stream")


def test_noise_is_measured_on_a_alone():
    """Ten rows twice through A before anything of B counts; the figures are no claim."""
    world = World()
    done = compared(world, A, B, rows(60), rows_max=20)
    models = [model for model, _ in world.seen]
    assert models[:10] == [MODELS["a"], MODELS["b"], *[MODELS["a"]] * 4, *[MODELS["b"]] * 4]  # these do not count
    assert models[10:30] == [MODELS["a"]] * 20
    assert (done.noise.rows, done.noise.answers_differ, done.noise.alarming) == (10, 0, False)
    assert 0 < done.noise.row_ratio < 0.5
    assert world.calls == {MODELS["a"]: 5 + 20 + 20, MODELS["b"]: 5 + 20}
    compared_rows = {prompt for model, prompt in world.seen[30:]}
    assert not compared_rows & {prompt for _, prompt in world.seen[10:30]}  # there were rows enough for others
    assert compared(World(), A, B, rows(30), rows_max=20, aa=False).noise is None


def test_what_the_second_call_of_a_row_gains_favours_nobody():
    """Three times as slow for a prompt that was seen: the order is drawn, so A is not told apart from itself."""

    class Second(World):
        async def __call__(self, call):
            known = any(prompt.encode() in call.body for _, prompt in self.seen)
            self.plays[MODELS["a"]] = Plays(latency_s=3.0 if known else 1.0)
            return await super().__call__(call)

    done = compared(Second(), A, B, rows(60), rows_max=20)
    assert not done.noise.alarming
    assert done.noise.row_ratio > 1.5


def test_noise_that_looks_like_a_difference_is_a_loud_warning():
    """Where A is told apart from itself, the first note says that small differences are not to be trusted."""
    done = compared(World(), A, B, rows(30), aa=False)
    loud = concluded(replace(done, noise=Noise(rows=10, verdict="better")), A, B, checked=True)
    assert loud.notes[0].startswith("WARNING: two runs of a were told apart (better)")
    assert not any(note.startswith("WARNING") for note in done.notes)


def test_both_sides_are_asked_at_the_same_times_and_in_drawn_order():
    """Half of the rows A first, never more in flight than asked for; the same seed gives the same run."""
    world, again, other = World(), World(), World()
    done = compared(world, A, B, rows(40), early=False)
    compared(again, A, B, rows(40), early=False)
    compared(other, A, B, rows(40), early=False, seed=5)
    assert world.most == 4
    assert sum(one.a_first for one in done.asked) == 20
    assert world.seen == again.seen != other.seen
    assert sorted(one.row for one in done.asked) == list(range(40))
    assert [one.row for one in done.asked] != list(range(40))


def test_the_cap_is_never_exceeded():
    """By the engines' own books, for caps from nothing to plenty; where it stops, it says so."""
    for usd_max in (0.0, 0.0002, 0.0005, 0.002):
        world = World(a=Plays(output_tokens=16), b=Plays(output_tokens=16))
        done = compared(world, A, B, rows(100), usd_max=usd_max, engine={"budget_usd": usd_max}, early=False)
        assert done.dollars == pytest.approx(world.billed_usd(_PRICES))
        assert done.dollars <= usd_max
        assert done.stopped == ("money" if done.rows < 100 else "rows")
        assert all(one.a.result.outcome == one.b.result.outcome == "ok" for one in done.asked)
        assert "money cap" in " ".join(done.notes)
        assert ("the money cap has no room" in done.sentence) is (done.rows == 0)
    assert done.rows > 0  # the last cap has room


@pytest.mark.parametrize("seed", range(8))
def test_the_cap_holds_when_much_goes_wrong(seed):
    """Answers that have to be asked for again, errors, retries: what the provider bills stays below the cap."""
    dice = Random(seed)

    def plays():
        return Plays(
            answer=lambda prompt: dice.choice(("yes", "no", "perhaps")),
            status=lambda number: dice.choice((200, 200, 200, 500, 429)),
            output_tokens=16,
        )

    world, usd_max = World(a=plays(), b=plays(), seed=seed), dice.choice((0.001, 0.002, 0.004))
    how = {"budget_usd": usd_max, "attempts_max": 3}
    done = compared(world, A, B, rows(150), usd_max=usd_max, engine=how, early=False, seed=seed, concurrency=8)
    assert world.billed_usd(_PRICES) <= done.dollars + 1e-12
    assert done.dollars <= usd_max
    assert "budget" not in done.to_dict()["failures"]["a"]


_PRICES = {MODELS["a"]: (0.4, 1.6), MODELS["b"]: (0.1, 0.4)}
"""Dollars a million tokens, in and out."""


def test_a_model_without_a_price_cannot_be_capped():
    """Said before the first row; without a cap it runs, and the dollars are unknown."""
    world = World(mine=Plays())
    mine = variant("b", task={"model": "mine"})
    with pytest.raises(ConfigError, match="price of model 'mine' is unknown, so a cap of \\$1 cannot be kept"):
        compared(world, A, mine, rows(30))
    assert world.seen == []
    done = compared(world, A, mine, rows(30), usd_max=None)
    assert done.findings.metric("dollars") is None
    assert any("cost of" in note for note in done.notes)


def test_failures_on_one_side_count_against_it():
    """A third of B's answers are errors: failures are worse, and those rows have no say in latency or quality."""
    done = compared(World(b=Plays(status=lambda n: 500 if n % 3 == 0 else 200)), A, B, rows(150), early=False)
    assert done.findings.metric("failures").verdict == "worse"
    assert done.to_dict()["failures"] == {"a": {}, "b": {"server_error": 50}}
    assert done.findings.metric("latency").rows == 100
    assert not done.not_inferior
    assert done.code("not-worse") == 1


def test_two_sides_that_never_answer_are_an_error():
    """It names what came."""
    down = Plays(status=lambda n: 500)
    with pytest.raises(ProviderError, match=r"neither a nor b gave an answer; the first: .* answered 500"):
        compared(World(a=down, b=down), A, B, rows(50))


def test_a_provider_that_only_refuses_is_given_up_after_the_first_requests():
    """It does not wait out row after row: 429 to the first two, or 503 to all of the requests that go ahead."""
    for status, requests in ((429, 2), (503, 2 * (1 + 4))):
        world = World(*(Plays(status=lambda n, status=status: status) for _ in "ab"))
        with pytest.raises(ProviderError, match="neither a nor b gave an answer"):
            compared(world, A, B, rows(50))
        assert len(world.seen) == requests


def test_a_wrong_key_or_model_is_found_with_the_first_request():
    """One request is made, and no more."""
    world = World(b=Plays(status=lambda n: 404))
    with pytest.raises(ConfigError, match=r"b cannot be asked: .*404"):
        compared(world, A, B, rows(50))
    assert len(world.seen) == 2


def test_rows_have_to_have_the_columns():
    """None at all, and none that fits."""
    with pytest.raises(InputError, match="there are no rows"):
        compared(World(), A, B, [])
    with pytest.raises(InputError, match="no row has column 'n', which a prompt needs; there is text"):
        compared(World(), A, B, [{"text": "x"}])


def test_faster_is_not_enough_while_quality_is_open():
    """Twice as fast and cheaper on 20 rows, marks all alike: --expect faster and cheaper are open, not kept."""
    done = compared(World(b=Plays(latency_s=0.5)), A, B, rows(20))
    assert done.findings.metric("latency").verdict == done.findings.metric("dollars").verdict == "better"
    assert done.findings.quality.not_inferior is None
    assert (done.code("faster"), done.code("cheaper")) == (3, 3)


def test_rows_that_repeat_are_told():
    """Sixty copies of one row are one row of evidence on quality; distinct ones need no note."""
    copies = [{"n": "1", "text": "it is yes", "right": "yes", "id": str(i)} for i in range(30)]
    done = compared(World(), A, B, copies, early=False)
    assert any(note.startswith("29 of 30 rows ask what another row asks") for note in done.notes)
    assert not any("ask what another" in note for note in compared(World(), A, B, rows(30), early=False).notes)


def line_of(done, label):
    """The line of the table with this label; None where there is none."""
    return next((line for line in lines(done) if line.label == label), None)


def test_no_failure_on_twenty_rows_is_not_yet_the_same():
    """0 of 20 on both sides is "none", and the table does not say "same"; nor where the same rows failed on both."""
    line = line_of(compared(World(), A, B, rows(20)), "Failed rows")
    assert (line.a, line.b, line.change, line.word) == ("0.0 %", "0.0 %", "none", "")
    failing = Plays(status=lambda n: 500 if n == 10 else 200)
    line = line_of(compared(World(failing, failing), A, B, rows(20), concurrency=1, aa=False), "Failed rows")
    assert (line.a, line.b, line.word) == ("5.0 %", "5.0 %", "unclear")


def test_repairs_are_seen():
    """Every fourth answer of B is asked for again: share in the table, counts in JSON, and a note, for B alone."""

    def odd(prompt):
        if "cannot be used" in prompt:
            return "yes" if "it is yes" in prompt else "no"
        return "perhaps" if int(prompt.split()[1].rstrip(":")) % 4 == 0 else prompt.rpartition(" ")[2]

    done = compared(World(b=Plays(answer=odd)), A, B, rows(40), aa=False, early=False, concurrency=1)
    line = line_of(done, "Repairs")
    found = done.to_dict()["repairs"]
    assert found["a"] == {"rows": 0, "requests": 0}
    assert found["b"] == {"rows": 10, "requests": 10}
    assert (line.a, line.b) == ("0.0 %", "25.0 %")
    told = "10 of 40 answers of b had to be asked for again: its latency and cost include that."
    assert [note for note in done.notes if "asked for again" in note] == [told]
    assert "Repairs (rows asked again)" in comparison_page(done)
    assert line_of(compared(World(), A, B, rows(20)), "Repairs") is None


def test_where_the_same_is_asked_quality_decides_nothing():
    """Only a setting differs, and the marks do not agree: the verdict is on speed, and quality is said to be chance."""
    dice = Random(2)

    def sometimes(prompt):
        return prompt.rpartition(" ")[2] if dice.random() < 0.9 else "yes"

    done = compared(World(Plays(answer=sometimes)), A, variant("a", settings={"idle_timeout_s": 50.0}), rows(40))
    assert (done.same_asked, done.findings.quality.chance) == (True, True)
    assert done.findings.quality.not_inferior is None
    assert "the same is asked, so that only chance can tell them apart" in quality_line(done)
    assert "quality" not in done.sentence
    assert done.findings.metric("dollars").verdict == "same"

    assert not compared(World(), A, variant("a", settings={"base_url": "http://other/v1"}), rows(20)).same_asked


def test_a_cache_without_repeated_rows_has_nothing_to_give():
    """Said where no row was asked twice, and not where rows were."""
    told = "No row was asked twice, so a cache has nothing to give."
    with_cache = variant("a", settings={"cache": "memory"})
    assert told in compared(World(), A, with_cache, rows(20)).notes
    assert told not in compared(World(), A, with_cache, rows(10) * 2).notes
    assert told not in compared(World(), A, B, rows(20)).notes


def test_an_original_that_is_hardly_ever_right_is_told():
    """It is likelier that the check is wrong: a note says what to look at."""
    done = compared(World(*(Plays(answer=lambda prompt: "no") for _ in "ab")), A, B, rows(40), early=False)
    assert not any("check --expected" in note for note in done.notes)
    odd = [{**row, "right": "maybe"} for row in rows(40)]
    notes = compared(World(), A, B, odd, early=False).notes
    assert any(note.startswith("The original is right on 0 % of the rows: check --expected") for note in notes)


def test_an_interval_that_reads_like_its_figure_is_left_out():
    """-87 % is not followed by (-87 to -87)."""
    assert percent_change(Interval(estimate=0.13, low=0.1299, high=0.1301)) == "-87 %"
    assert percent_change(Interval(estimate=0.13, low=0.12, high=0.14)) == "-87 % (-88 to -86)"
    assert percent_change(Interval(estimate=3.69, low=3.69, high=3.69)) == "3.69x"


def test_sets_of_rows_show_what_parallel_calls_are_worth():
    """One after the other against eight at once: the time for a set, and nothing said of quality."""
    world = World(a=Plays(noise=0.05))
    one_by_one = variant("a", order="sequential", name="one by one")
    at_once = variant("a", concurrency=8)
    done = compared(world, one_by_one, at_once, rows(80))
    assert (done.verdict, done.sets.rows_each, done.sets.finding.verdict) == ("better", 8, "better")
    assert 5 < done.sets.speedup.low < done.sets.speedup.high < 10
    assert done.sets.finding.a == pytest.approx(8.0, rel=0.05)
    assert "times as many rows in the same time" in done.sentence
    assert world.most == 8
    assert done.code("faster") == 0
    assert compared(World(), at_once, one_by_one, rows(80)).verdict == "worse"


def test_answers_from_a_cache_are_told():
    """Equal rows with a memory cache on one side: their latency is the cache's, and a note says so."""
    same = [{"n": "1", "text": "it is yes", "right": "yes"}] * 40
    done = compared(World(), A, variant("a", settings={"cache": "memory"}), same)
    assert any("answers of a (B) came from a cache" in note for note in done.notes)
    assert done.noise.rows == 10
    assert done.noise.row_ratio < 0.5  # the cache had no say in it


def test_streams_are_watched():
    """Time to the first token is before the end, and what the length did is apart from what the speed did."""
    sim = Simulator(SimSettings(seed=1))
    task = {"model": "gpt-4o", "prompt": "Write {n} words about {text}.", "labels": (), "expected": ""}
    short = variant("a", task=task | {"system": "Be brief.", "prompt": "Write 10 words about {text} {n}."}, stream=True)
    given = [{"n": str(i % 20 + 40), "text": f"rain {i}"} for i in range(60)]
    done = compared(sim.handler, variant("a", task=task, stream=True), short, given, aa=False)
    first, latency = done.findings.metric("ttft"), done.findings.metric("latency")
    assert first.a < 0.8 * latency.a
    assert all(one.a.streamed and one.b.streamed for one in done.asked)
    length, speed = done.findings.metric("length_part").ratio, done.findings.metric("speed_part").ratio
    assert length.high < 0.8
    assert 0.8 < speed.estimate < 1.25


def test_a_server_that_ignores_the_wish_for_a_stream_is_told():
    """The answers count, as whole ones."""
    done = compared(World(), variant("a", stream=True), variant("b", stream=True), rows(30))
    assert not any(one.a.streamed for one in done.asked)
    assert any("came whole: the server ignored the wish" in note for note in done.notes)
    assert done.findings.metric("ttft").a == done.findings.metric("latency").a


def test_answers_without_usage_are_told():
    """What they took is an estimate: the cap counts it, a note says so, and nothing is claimed of cost or length."""

    class Silent(World):
        async def __call__(self, call):
            reply = await super().__call__(call)
            answer = msgspec.json.decode(reply.body)
            answer.pop("usage")
            reply.body = msgspec.json.encode(answer)
            return reply

    done = compared(Silent(), A, B, rows(30))
    assert any("answers of a told no usage: what they took is unknown" in note for note in done.notes)
    assert done.dollars > 0
    assert (done.findings.metric("dollars"), done.findings.metric("output_tokens")) == (None, None)
    assert done.verdict in ("same", "inconclusive")


def test_a_merged_task_is_asked_as_it_says():
    """One call a row against one for each output: the calls, and "merge" as what differs."""
    sim = Simulator(SimSettings(seed=1))
    outputs = {"mood": Labels(labels=("good", "bad")), "topic": Labels(labels=("money", "parcels"))}
    task = MergedTask(model="gpt-4o", prompt="{text}", outputs=outputs)
    merged, separate = (Variant(name=mode, task=task, run=RunTable(merge=mode)) for mode in ("merged", "separate"))
    done = compared(sim.handler, merged, separate, [{"text": f"The parcel {i} is late."} for i in range(20)], aa=False)

    assert [sum(getattr(one, side).result.attempts for one in done.asked) for side in "ab"] == [20, 40]
    assert done.differences == ("merge",)


def test_a_cancelled_comparison_tells_what_it_knows():
    """Ctrl-C: the rows that are in, and that it was interrupted."""

    async def main():
        comparing = Comparing(A, B, rows(400), settings=CompareSettings(early=False), engines=engines(World()))
        task = asyncio.create_task(comparing.run())
        await asyncio.sleep(40)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return comparing.comparison()

    done = virtual_run(main)
    assert 20 <= done.rows < 400
    assert done.stopped == "interrupted"


def test_engines_are_closed_and_progress_is_told():
    """Both, whatever happened; progress ends at the rows that were asked."""
    made: list[Engine] = []
    told: list[tuple[str, int, int]] = []

    def make(one):
        made.append(engines(World())(one))
        return made[-1]

    def progress(stage, done, of, dollars):
        told.append((stage, done, of))

    done = virtual_run(lambda: compare(A, B, rows(30), engines=make, progress=progress))
    assert len(made) == 2
    assert all(engine._closed for engine in made)
    assert told[:2] == [("rows", 0, 30), ("noise", 0, 10)]
    assert told[-1] == ("rows", done.rows, 30)


def test_an_engine_of_its_own_is_as_the_variant_says():
    """Over what both are given: address and cap; nothing is cached unasked, and no key goes to the wrong provider."""

    def settings(one, **how):
        return open_engine(one, CompareSettings(**how)).settings

    both = {"base_url": "http://both/v1"}
    assert settings(A, base=both).base_url == "http://both/v1"
    assert settings(variant("a", settings={"base_url": "http://eu/v1"}), base=both).base_url == "http://eu/v1"
    assert settings(A).cache == "off"
    assert settings(variant("a", settings={"cache": "memory"})).cache == "memory"
    assert [settings(A, usd_max=cap).budget_usd for cap in (0.5, None)] == [0.5, None]
    assert settings(variant("a", settings={"budget_usd": 0.1}), usd_max=0.5).budget_usd == 0.1
    messages = variant("a", task={"api": "messages", "model": "claude-haiku-4-5"})
    assert "anthropic" in settings(messages).base_url


def test_settings_are_checked():
    """Out of range is an error that names the setting."""
    for wrong in ({"margin": 0.0}, {"alpha": 0.5}, {"usd_max": -1.0}, {"concurrency": 0}, {"rows_max": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            CompareSettings(**wrong)
