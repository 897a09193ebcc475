"""Token budgets in tasks: the cut prompt, the keys, the whole prompt's bound, summaries on the row's account."""

import asyncio
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headway
from headway.errors import ConfigError, InputError
from headway.jobs.plan import make_plan
from headway.jobs.runner import JobSettings
from headway.jobs.session import Session, SessionSettings
from headway.measure.compare.asking import Lane
from headway.measure.compare.variant import Variant
from headway.prompts.context import Budgets, Calibration, ContextBudget, budgets_of, counter_of
from headway.prompts.context.summarise import summary_of, summary_task
from headway.prompts.merge import MergedTask
from headway.prompts.output import Text
from headway.prompts.runtable import RunTable
from headway.sim import SimSettings, Simulator
from headway.sim.server import serving
from headway.testing import FakeProvider, Step, virtual_run
from headway.types import Result, Usage

LONG = "".join(
    f"Paragraph {n} tells a story about the {word}.\n\n" for n, word in enumerate(["sea", "moon", "sun"] * 40)
)


def make(**changes):
    budget = ContextBudget(**({"tokens_max": 60} | changes))
    return headway.Task(
        model="m", prompt="{question}\n{text}", context=Budgets(columns={"text": budget}, chars_per_token=4)
    )


def prompt_of(task, row):
    return json.loads(task.body(row))["input"]


def test_the_prompt_holds_the_cut_text():
    """A column over its budget is cut in the request, in its key and in a repair; one under it is left alone."""
    task = make()
    row = {"question": "Where?", "text": LONG}
    prompt = prompt_of(task, row)
    assert prompt.startswith("Where?\nParagraph 0 tells a story about the sea.")
    assert counter_of("m")(prompt) < 70
    assert "left out" in prompt
    assert json.loads(task.repair(row, "no", "why"))["input"][0]["content"] == prompt
    assert task.left_out_tokens(row) > 900
    short = {"question": "Where?", "text": "Here."}
    assert prompt_of(task, short) == "Where?\nHere."
    assert task.left_out_tokens(short) == 0


def test_relevance_is_judged_by_the_rest_of_the_prompt_or_by_a_query():
    """By default what else stands in the prompt is the query; a template over any columns can be."""
    row = {"question": "What of the moon?", "text": LONG, "topic": "sun"}
    plain = prompt_of(make(how="top_k", chunk_tokens=16), row)
    assert "the moon" in plain
    assert "the sun" not in plain
    task = make(how="top_k", query="the {topic}", chunk_tokens=16)
    assert task.columns == ("question", "text", "topic")
    asked = prompt_of(task, row)
    assert "the sun." in asked
    assert "the moon." not in asked
    with pytest.raises(InputError, match="no column 'topic'"):
        task.body({"question": "", "text": LONG})


def test_keys_follow_what_is_sent():
    """Rows that differ in what is left out are one question; other budgets make another task."""
    row = {"question": "Where?", "text": LONG}
    task = make(marker="")
    assert task.row_key(row) == task.row_key(row | {"text": LONG + "More.\n"})
    assert task.row_key(row) != make(tokens_max=50, marker="").row_key(row)
    assert task.fingerprint != make(tokens_max=50, marker="").fingerprint
    plain = headway.Task(model="m", prompt="{text}")
    budgeted = headway.Task(model="m", prompt="{text}", context=Budgets(columns={"text": ContextBudget(tokens_max=60)}))
    assert plain.row_key({"text": "x"}) == budgeted.row_key({"text": "x"})
    assert plain.fingerprint != budgeted.fingerprint


def test_a_row_that_cannot_be_cut_is_a_failed_row():
    """What must be kept and is too long fails its row with both numbers, and no other row."""
    task = make(keep=("the secret",))
    bad = {"question": "", "text": "the secret " * 100}
    with pytest.raises(InputError, match=r"column 'text': what must be kept has \d+ tokens, and tokens_max is 60"):
        task.body(bad)

    async def main():
        async with headway.Engine(handler=FakeProvider([200, 200]), log="off", seed=1) as engine:
            return [result async for result in engine.map([bad, {"question": "?", "text": LONG}], task)]

    first, second = virtual_run(main)
    assert first.outcome == "input"
    assert "must be kept" in first.error
    assert second.error == ""


@settings(max_examples=60, deadline=None)
@given(whole=st.integers(80, 400), question=st.integers(0, 40), first=st.integers(0, 600), second=st.integers(0, 600))
def test_the_whole_prompt_keeps_its_bound(whole, question, first, second):
    """System text, fixed text and all columns together stay under context.tokens_max, or the row says why not."""
    columns = {name: ContextBudget(tokens_max=150) for name in ("a", "b")}
    task = headway.Task(
        model="m", prompt="{q}: {a} and {b}", system="You read.", context=Budgets(columns=columns, tokens_max=whole)
    )
    row = {"q": "why " * question + "?", "a": "some words. " * first, "b": "other words. " * second}
    try:
        body = json.loads(task.body(row))
    except InputError:
        least = 5 + 2 * 16 + len("why " * question) // 4  # what else stands in the prompt, and the least for a column
        assert least > whole - 12
        return
    count = counter_of("m")
    assert count(body["instructions"]) + count(body["input"]) <= whole


def test_budgets_in_a_task_file(tmp_path):
    """[context] tables are read, and what is wrong in them is named by file and key."""
    file = tmp_path / "task.toml"
    head = 'model = "m"\nprompt = "{question} {document}"\n'
    file.write_text(
        head + '[context]\ntokens_max = 300\n[context.document]\ntokens_max = 100\nhow = "top_k"\n', "utf-8"
    )
    task = headway.Task.load(file)
    assert len(prompt_of(task, {"question": "the moon", "document": LONG})) < 450
    for wrong, said in {
        "[context.document]\ntoken_max = 3": "context.document has an unknown key 'token_max'",
        "[context.document]\ntokens_max = 3": "context.document: tokens_max must be a number from 16, not 3",
        '[context.document]\ntokens_max = 99\nhow = "x"': "context.document: Invalid enum value 'x'",
        "[context]\ntokens_max = 99": "context: names no column",
        "[context.nothing]\ntokens_max = 99": "has no {nothing}, for which context.nothing sets a budget",
        '[context.document]\ntokens_max = 99\nquery = "{document}"': "names {document} itself",
        '[context.document]\ntokens_max = 99\nmodel = "n"': 'model goes with how = "summarise"',
    }.items():
        file.write_text(head + wrong, "utf-8")
        with pytest.raises(ConfigError, match=r"task\.toml") as failed:
            headway.Task.load(file)
        assert said in str(failed.value)
    assert budgets_of({}) is None


# -- what a user is told -----------------------------------------------------------------------------------------------


def test_a_plan_says_what_would_be_cut(tmp_path):
    """Rows and tokens that are left out are in the plan's warnings; its tokens are those of the cut prompts."""
    data = tmp_path / "rows.jsonl"
    rows = [{"question": "?", "text": LONG}, {"question": "?", "text": "Short."}, {"question": "!", "text": LONG}]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    task = make()
    job = JobSettings(input=str(data), task=task)
    plan = asyncio.run(make_plan(job, headway.Settings(), cache=None))
    left_out = 2 * task.left_out_tokens(rows[0])
    assert (
        f"2 rows are cut to [context] of task: {left_out:,} tokens are left out, and not in this plan" in plan.warnings
    )
    assert plan.input_tokens.total.high < 400


def test_a_plan_says_that_summaries_are_not_in_it(tmp_path):
    """What is summarised is not left out: a run pays for it, and the plan does not hold it."""
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"question": "?", "text": LONG}) + "\n", "utf-8")
    plan = asyncio.run(make_plan(JobSettings(input=str(data), task=summed()), headway.Settings(), cache=None))
    (said,) = (one for one in plan.warnings if "[context]" in one)
    assert said.startswith("1 row has columns that are summarised first")
    assert "tokens and more, is not in this plan, and a run pays for it" in said


def test_a_run_says_what_was_cut(tmp_path, capfd):
    """`headway run` ends with a line on how many rows were cut, and by how much."""
    data, file = tmp_path / "rows.jsonl", tmp_path / "task.toml"
    data.write_text(json.dumps({"text": LONG}) + "\n" + json.dumps({"text": "Short."}) + "\n", "utf-8")
    file.write_text('model = "gpt-5.4-mini"\nprompt = "{text}"\n[context.text]\ntokens_max = 60\n', "utf-8")
    task = headway.Task.load(file)
    job = JobSettings(input=str(data), task=task, out=tmp_path / "out.jsonl")
    with serving(SimSettings(latency_scale=0)) as url:
        engine = {"base_url": url, "api_key": "k", "cache": "off", "log": "off"}
        code = asyncio.run(Session(SessionSettings(job=job, engine=engine)).run())
    assert code == 0
    left_out = task.left_out_tokens({"text": LONG})
    assert f"1 row was cut to its [context]: {left_out:,} tokens left out" in capfd.readouterr().err


def test_the_example_loads():
    """examples/contracts.toml is a task with a budget, and its prompt keeps it."""
    task = headway.Task.load(Path(__file__).parents[2] / "examples" / "contracts.toml")
    row = {"question": "What of the moon?", "document": LONG * 3 + "## Definitions\n\nThe Moon is ours.\n"}
    prompt = prompt_of(task, row)
    assert counter_of("")(prompt) < 1_600
    assert "The Moon is ours." in prompt


def test_a_task_goes_to_other_processes():
    """Workers get tasks by pickle: the copy makes the same requests."""
    task, row = summed(), {"question": "Where?", "text": LONG}
    copy = pickle.loads(pickle.dumps(task))
    assert copy.body(row) == task.body(row)
    assert copy.row_key(row) == task.row_key(row)
    assert copy.first(row).asks[0][1] == task.first(row).asks[0][1]


# -- summaries ---------------------------------------------------------------------------------------------------------

SUMMED = {"how": "summarise", "model": "gpt-5.4-nano", "tokens_max": 60}


def answer(text):
    return Step(text=text, input_tokens=100, output_tokens=10)


def summed(**changes):
    columns = {"text": ContextBudget(**(SUMMED | changes))}
    return headway.Task(
        model="gpt-5.4-mini", prompt="{question}\n{text}", context=Budgets(columns=columns, chars_per_token=4)
    )


def asked(steps, rows, task, **settings):
    provider = FakeProvider(steps)

    async def main():
        async with headway.Engine(handler=provider, log="off", seed=1, attempts_max=1, **settings) as engine:
            return [result async for result in engine.map(rows, task, concurrency=1)]

    return virtual_run(main), [json.loads(call.body) for call in provider.seen]


def test_a_long_column_is_summarised_before_the_row_is_asked():
    """Two requests: the cheaper model gets the text and the question, the task's model the summary; one account."""
    row = {"question": "What of it?", "text": LONG + "<keep>Clause 7 holds.</keep>"}
    (result,), (first, second) = asked([answer("All quiet."), answer("Fine.")], [row], summed())
    assert first["model"] == "gpt-5.4-nano"
    assert "The question:\nWhat of it?" in first["input"]
    assert "Paragraph 119 tells" in first["input"]
    assert "Clause 7" not in first["input"]
    assert (second["model"], second["input"]) == ("gpt-5.4-mini", "What of it?\nAll quiet.\n\nClause 7 holds.")
    assert (result.value, result.error, result.attempts) == ("Fine.", "", 2)
    assert result.usage.input_tokens == 200
    assert result.row is row
    alone = asked([answer("Fine.")], [{"question": "What of it?", "text": "Short."}], summed())[0][0]
    assert result.dollars > alone.dollars > 0
    assert alone.attempts == 1


def test_summaries_are_cached_like_any_answer():
    """The second row with the same text and question asks nothing."""
    row = {"question": "What of it?", "text": LONG}
    results, seen = asked([answer("All quiet."), answer("Fine.")], [row, dict(row)], summed(), cache="memory")
    assert [result.value for result in results] == ["Fine.", "Fine."]
    assert len(seen) == 2
    assert results[1].dollars == 0.0


def test_a_summary_that_fails_fails_its_row_and_says_so():
    """The row's error is that of the summary; the real question is not asked."""
    (result,), seen = asked([500], [{"question": "?", "text": LONG}], summed())
    assert len(seen) == 1
    assert result.error.startswith("what had to be asked first failed: ")
    assert (result.value, result.status, result.attempts) == (None, 500, 1)


def test_a_rows_time_begins_with_its_summary():
    """2 s for the summary and 1 s for the answer are 3 s, from where the summary was asked; no price is no price."""
    steps = [Step(text="All quiet.", delay_s=2.0), Step(text="Fine.", delay_s=1.0)]
    provider = FakeProvider(steps)
    task = headway.Task(
        model="unpriced", prompt="{text}", context=Budgets(columns={"text": ContextBudget(**SUMMED)}, chars_per_token=4)
    )

    async def main():
        async with headway.Engine(handler=provider, log="off", seed=1, attempts_max=1) as engine:
            started_s = asyncio.get_running_loop().time()
            return started_s, [result async for result in engine.map([{"text": LONG}], task)]

    started_s, (result,) = virtual_run(main)
    assert result.latency_s == pytest.approx(3.0, abs=0.1)
    assert result.started_at_s == pytest.approx(started_s, abs=0.1)
    assert result.dollars is None


def test_an_empty_summary_fails_its_row_and_is_paid_for():
    """A model that says nothing is an error of the row, with the dollars that it took."""
    (result,), _ = asked([answer("  "), answer("  ")], [{"question": "?", "text": LONG}], summed())
    assert result.error.startswith("what had to be asked first failed: ")
    assert result.dollars > 0


def test_a_text_over_the_window_is_summarised_in_parts():
    """Parts of at most window_tokens, side by side; their summaries stand in the text's order."""
    row = {"question": "?", "text": LONG}
    steps = [answer("One."), answer("Two."), answer("Three."), answer("Fine.")]
    (result,), seen = asked(steps, [row], summed(window_tokens=500))
    assert [len(one["input"]) < 2_200 for one in seen] == [True] * 4
    assert seen[3]["input"] == "?\nOne.\n\nTwo.\n\nThree."
    assert result.attempts == 4


@pytest.mark.parametrize(
    ("changes", "text", "said"),
    [
        ({"window_tokens": 60}, LONG * 3, "column 'text': a text of 3,908 tokens has 72 parts of window_tokens"),
        ({"keep": ("re:^Paragraph 1[12] ",), "tokens_max": 32}, LONG, "column 'text': what must be kept has 22 tokens"),
        ({}, object(), "the task's first failed on this row (TypeError: "),
    ],
)
def test_a_text_that_cannot_be_summarised_fails_its_row_alone(changes, text, said):
    """It is not quietly cut instead, and the other rows are asked."""
    rows = [{"question": "?", "text": text}, {"question": "?", "text": "Short."}]
    (bad, good), seen = asked([answer("Fine.")], rows, summed(**changes))
    assert bad.error.startswith(said)
    assert (bad.outcome, bad.value, bad.attempts, bad.dollars) == ("input", None, 0, 0.0)
    assert (good.value, len(seen)) == ("Fine.", 1)


def test_rows_are_told_apart_by_the_text_that_is_summarised():
    """Texts that differ anywhere are different questions, and so are other queries about one."""
    task, row = summed(query="{question}"), {"question": "?", "text": LONG}
    keys = {task.row_key(one) for one in (row, row | {"text": LONG + "!"}, row | {"question": "!"})}
    assert len(keys) == 3
    assert task.row_key(row) == task.row_key(dict(row))


def test_rows_are_told_apart_by_how_long_their_summary_may_be():
    """A whole prompt's bound, or another count of tokens, makes another summary: no old answer is taken for it."""
    columns, row = {"text": ContextBudget(**SUMMED)}, {"question": "?", "text": LONG}
    budgets = [
        Budgets(columns=columns, chars_per_token=4),
        Budgets(columns=columns, chars_per_token=4, tokens_max=40),
        Budgets(columns=columns, chars_per_token=3),
    ]
    tasks = [headway.Task(model="m", prompt="{question}\n{text}", context=one) for one in budgets]
    assert len({task.row_key(row) for task in tasks}) == 3
    assert len({task.row_key({"question": "?", "text": "Short."}) for task in tasks}) == 1


def test_a_comparison_summarises_too():
    """Compared rows are asked as a job asks them, streamed or not: both questions, on one account."""

    async def main(stream):
        simulator = Simulator(SimSettings(seed=1, latency_scale=0))
        async with headway.Engine(handler=simulator.handler, log="off", seed=1, api_key="k") as engine:
            variant = Variant(name="v", task=summed(model=""), run=RunTable(stream=stream))
            return await Lane(engine, variant).ask((0, {"question": "Where?", "text": LONG}))

    for stream in (False, True):
        answered = virtual_run(lambda stream=stream: main(stream))
        assert (answered.result.error, answered.result.attempts, answered.streamed) == ("", 2, stream)


def test_batches_are_refused_for_summaries(tmp_path):
    """Rows of a batch wait for no summary: the job says so before anything is sent."""
    with pytest.raises(ConfigError, match=r'how = "summarise" asks twice about a row'):
        headway.run([{"question": "?", "text": LONG}], summed(), lane="batch", handler=FakeProvider([]), cache=False)


def test_summaries_are_asked_for_at_the_tier_of_their_row():
    """A job in the flex lane pays the flex price for both questions."""
    provider = FakeProvider([answer("All quiet."), answer("Fine.")])
    rows = [{"question": "?", "text": LONG}]
    (result,) = headway.run(rows, summed(), lane="flex", handler=provider, cache=False, api_key="k")
    assert (result.value, result.lane) == ("Fine.", "flex")
    assert [json.loads(call.body)["service_tier"] for call in provider.seen] == ["flex", "flex"]


def test_a_job_summarises_online(tmp_path):
    """`headway.run` asks both questions, and its rows hold what both took."""
    simulator = Simulator(SimSettings(seed=1, latency_scale=0))
    rows = [{"question": f"What of {n}?", "text": LONG} for n in range(3)]
    job = headway.run(rows, summed(model=""), handler=simulator.handler, cache=False, api_key="k")
    results = list(job)
    assert [result.error for result in results] == [""] * 3
    assert [result.attempts for result in results] == [2] * 3


def test_summarise_by_itself():
    """`headway.summarise` gives the summary, what was kept and what it cost; a text that fits costs nothing."""

    async def main():
        async with headway.Engine(handler=FakeProvider([answer("Calm.")]), log="off", seed=1) as engine:
            how = {"tokens_max": 60, "model": "gpt-5.4-mini"}
            long = await headway.summarise(engine, LONG, keep=["Paragraph 7 "], query="Storms?", **how)
            short = await headway.summarise(engine, "Short.", **how)
            return long, short

    long, short = virtual_run(main)
    assert (long.text, long.how) == ("Calm.\n\nParagraph 7 ", "summarise")
    assert long.tokens <= 60 < long.left_out_tokens
    assert long.dollars > 0
    assert (short.text, short.how, short.dollars) == ("Short.", "whole", 0.0)


@settings(max_examples=80, deadline=None)
@given(
    said=st.lists(
        st.sampled_from(["Well. ", "word " * 50, "x" * 900, "```\ncode\n```\n", "\n\n"]), min_size=1, max_size=6
    ),
    kept=st.integers(0, 8),
    tokens_max=st.integers(40, 120),
)
def test_a_summary_fits_whatever_the_model_says(said, kept, tokens_max):
    """Too long a summary is cut, what must be kept stands behind it, and the whole is under the bound."""
    budget = ContextBudget(how="summarise", tokens_max=tokens_max)
    marks = "".join(f"<keep>must{n}</keep> " for n in range(kept))
    count = counter_of("m")
    summary = summary_of(LONG + marks, "?", budget, tokens_max, summary_task(budget, "m", "responses", "t"), count)
    try:
        fitted = summary.fitted(["".join(said)])
    except InputError:
        assert not "".join(said).strip()
        return
    assert count(fitted.text) == fitted.tokens <= tokens_max
    assert all(f"must{n}" in fitted.text for n in range(kept))
    assert fitted.text.strip()


# -- calibration -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-5, 10**7), st.integers(-5, 10**7)), max_size=400))
def test_calibration_stays_within_bounds(pairs):
    """Whatever bills say, a token has from half a character to twelve, and memory has a bound."""
    calibration = Calibration()
    for n, (chars, tokens) in enumerate(pairs):
        calibration.learn(f"m{n % 80}", chars, tokens)
        calibration.learn("m", chars, tokens)
    assert 0.5 <= calibration.chars_per_token("m") <= 12.0


def test_calibration_learns_from_results_and_shrugs_off_outliers():
    """Three characters a token is found among some bills that are far off; four until eight are known."""
    calibration, task = Calibration(), headway.Task(model="m", prompt="{text}", system="Read.")
    usage = Usage(input_tokens=200)
    for n in range(40):
        row = {"text": "abc" * 200 if n % 10 else "a" * 8_000}
        assert n >= 8 or calibration.chars_per_token("m") == 4.0
        calibration.learn_from(task, Result(index=n, row=row, usage=usage, attempts=1))
        calibration.learn_from(task, Result(index=n, row=row, usage=usage, attempts=2))
    assert calibration.chars_per_token("m") == pytest.approx(3.0, rel=0.02)
    assert counter_of("m", calibration.chars_per_token("m"))("abc" * 300) == pytest.approx(300, rel=0.02)


def test_calibration_leaves_out_bills_of_several_prompts():
    """A summary out of the cache is in the row's usage, but not in its prompt."""
    calibration, row = Calibration(), {"question": "?", "text": "abc" * 200}
    outputs = {"a": Text(), "b": Text()}
    apart = MergedTask(model="gpt-5.4-mini", prompt="{text}", outputs=outputs, mode="separate")
    for task in (summed(), apart):
        for n in range(8):
            calibration.learn_from(task, Result(index=n, row=row, usage=Usage(input_tokens=200), attempts=1))
    assert calibration.chars_per_token("gpt-5.4-mini") == 4.0
    merged = apart.merged_as(mode="merged")
    for n in range(8):
        calibration.learn_from(merged, Result(index=n, row=row, usage=Usage(input_tokens=200), attempts=1))
    assert calibration.chars_per_token("gpt-5.4-mini") != 4.0
