"""Optimize: one change at a time, the greatest expected gain first, each verified, and the result confirmed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway import ConfigError, ProviderError
from headway.measure.rewrite.optimizing import optimize
from headway.measure.rewrite.page_optimized import optimized_page
from headway.measure.rewrite.proposals import Baseline, proposals
from headway.measure.rewrite.settings import TrySettings
from headway.sim import SimSettings
from headway.testing import virtual_run
from headway.types import Reply

from .rewrite_world import World, prompt_named, rows_of, task_text

TICKETS = prompt_named("tickets")
BASE = Baseline(
    rows=30,
    answered=30,
    dollars=0.001,
    latency_s=2.0,
    ttft_s=2.0,
    input_tokens=600,
    output_tokens=80,
    output_tokens_most=90,
)


def text_of(more="", **kind):
    """A task that asks for reasons that nobody reads."""
    text = task_text(TICKETS, instruct=False, more=more, **kind)
    wish = "Explain your reasoning step by step in a few sentences. Then write the label, one of: billing, technical, access, delivery."
    return text.changed({"system": f"{TICKETS.system}\n\n{wish}", "max_output_tokens": 400})


def optimized(text, goal, count=120, *, models=(), world=None, rows=None, **settings):
    """What becomes of it, on virtual time."""
    how = TrySettings(**{"margin": 0.15, "usd_max": 5.0, **settings})
    world = world or World()
    given = rows or rows_of(TICKETS, count)
    return virtual_run(lambda: optimize(text, given, goal, how, models=models, engines=world.engines))


def names(found):
    """The proposals' names in their order."""
    return [one.name for one in found]


def test_cost_falls_and_every_step_is_on_record():
    """The text is shorter, the answer a label, the model cheaper; each with its verdict, and all of it confirmed."""
    text = text_of()
    done = optimized(text, "cost", models=["gpt-4.1-nano"])
    assert done.holds
    assert done.final.findings.metric("dollars").ratio.high < 0.3
    kept = {one.name for one in done.steps if one.kept}
    assert {"compress", "model gpt-4.1-nano"} <= kept, kept
    for step in done.steps:
        assert step.why
        assert step.comparison is not None
    assert done.after.text != text.text
    assert "# the model" in done.after.text
    assert done.diff.startswith("--- tickets.toml")
    assert 0 < done.dollars < 5
    assert done.to_dict()["steps"][0]["expected"] > 0


def test_a_worse_model_is_not_kept():
    """A model that knows no better loses the comparison and stays out."""
    done = optimized(
        text_of(), "cost", 160, models=["gpt-4.1-nano"], margin=0.05, world=World(quality=True, settings=_careless())
    )
    step = next(one for one in done.steps if one.name == "model gpt-4.1-nano")
    assert not step.kept
    assert step.why.startswith(("worse by more than", "quality is open"))
    assert done.after.value("model") == "gpt-5.4-mini"


def _careless():
    """A provider whose smallest model is wrong every second time."""
    from headway.sim.quality import Quality

    rates = {"large": 0.0, "medium": 0.0, "small": 0.0, "nano": 0.5}
    none = {"large": 0.0, "medium": 0.0, "small": 0.0, "nano": 0.0}
    return SimSettings(seed=1, quality=Quality(error_by_tier=rates, violation_by_tier=none, error_without_guidance=0.0))


def test_rows_that_repeat_are_cached():
    """Half of the rows were asked before: a cache is proposed, tried and kept."""
    rows = rows_of(TICKETS, 40)
    done = optimized(task_text(TICKETS), "cost", rows=[*rows, *rows, *rows])
    step = next(one for one in done.steps if one.name == "cache")
    assert step.kept, step.why
    assert done.after.value("settings.cache") == "memory"


def test_throughput_widens_what_is_in_flight():
    """More rows at once are measured as sets, and kept where they are faster."""
    done = optimized(text_of('[run]\nconcurrency = 2\norder = "parallel"'), "throughput", 100)
    step = next(one for one in done.steps if one.name == "width 8")
    assert step.kept, step.why
    assert step.comparison.sets is not None
    assert done.after.value("run.concurrency") >= 8
    assert "# the model" in done.after.text


def test_first_tokens_come_sooner_by_streaming_first():
    """For ttft the order is fixed: stream, then short text, then a bound."""
    text = text_of()
    found = names(proposals(text, text.variant().task, BASE, "ttft", models=["gpt-4.1-nano"]))
    assert found[0] == "stream"
    assert found.index("compress") < found.index("bound") < found.index("model gpt-4.1-nano")
    streaming = text.changed({"run.stream": True})
    assert "stream" not in names(proposals(streaming, streaming.variant().task, BASE, "ttft"))


def test_streaming_is_kept_for_ttft():
    """The time to the first token falls, by comparison."""
    text = _prose(task_text(TICKETS)).changed({"system": "Summarise the message in 3 sentences."})
    done = optimized(text, "ttft", 60, checker=lambda row, value, text: bool(text))
    step = done.steps[0]
    assert (step.name, step.kept) == ("stream", True)
    assert done.after.value("run.stream") is True


def _prose(text):
    return replace(text, text=text.text.split("[output]")[0])


@pytest.mark.parametrize(
    ("change", "goal", "name"),
    [
        ({"output_tokens": 200, "reasoning_tokens": 120}, "latency", "effort none"),
        ({"repeats": 0.4}, "cost", "cache"),
        ({"output_tokens_most": 20}, "throughput", "bound"),
        ({}, "cost", "label alone"),
    ],
)
def test_proposals_follow_what_was_measured(change, goal, name):
    """Thinking, repeats and answers far below their bound each bring their own proposal."""
    text = text_of()
    assert name in names(proposals(text, text.variant().task, replace(BASE, **change), goal))


def test_nothing_is_proposed_for_a_task_that_has_it_all():
    """A short task with a derived bound and no repeats has nothing left but other models."""
    text = task_text(TICKETS).changed({"system": "Route the ticket."})
    base = replace(BASE, output_tokens=3, output_tokens_most=4, dollars=0.0001)
    assert names(proposals(text, text.variant().task, base, "cost")) == []


def test_merged_outputs_are_proposed_where_there_are_several():
    """A task with two outputs may ask for both in one call."""
    more = '[outputs.queue]\nlabels = ["billing", "technical"]\n\n[outputs.summary]\nsentence = true'
    text = _prose(task_text(TICKETS, instruct=False))
    text = replace(text, text=f"{text.text}\n{more}\n").changed({"expected": None})
    assert "merge" in names(proposals(text, text.variant().task, BASE, "cost"))


def test_money_ends_it():
    """The cap holds over baseline, steps and the end; what is known by then is told."""
    done = optimized(text_of(), "cost", models=["gpt-4.1-nano"], usd_max=0.03)
    assert done.dollars <= 0.03
    assert done.stopped == "money"
    assert "money" in done.stopped_sentence


def test_a_key_that_is_refused_ends_it_at_once():
    """One row is asked, not thirty."""

    class Refused(World):
        async def handler(self, call):
            self.asked += 1
            return Reply(
                401, (("content-type", "application/json"),), b'{"error":{"message":"no key"}}', trace=call.trace
            )

    world = Refused()
    with pytest.raises((ConfigError, ProviderError), match="cannot be asked"):
        optimized(text_of(), "cost", world=world)
    assert world.asked == 1


def test_the_report_shows_the_steps():
    """Steps as a waterfall, the diff, original against result; small, and nothing in it is markup."""
    done = optimized(text_of(), "latency", 80)
    page = optimized_page(done, command="headway optimize t.toml")
    assert len(page) < 500_000
    assert "Step by step" in page
    assert "(improved)" in page
    assert page.count("<script") == 0
