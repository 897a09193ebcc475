"""Shorter versions by rules and by a writer: what goes, what stays, and that the guard watches each step."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway import ConfigError
from headway.measure.rewrite.candidates import by_rules, fixed_tokens, keep_of, spread_out
from headway.measure.rewrite.guard import problems
from headway.measure.rewrite.phrases import tightened
from headway.measure.rewrite.steps import STEPS, Asked
from headway.measure.rewrite.taskedit import TaskText, task_of_prompt
from headway.measure.rewrite.writing import Writer, write

from .planted_edits import PROMPTS
from .rewrite_world import World, prompt_named, task_text

ROOT = Path(__file__).parents[2]
LABELS = ("billing", "shipping")
ASKED = Asked(LABELS, only_label=True, beside="Return only the label, one of: billing, shipping.")


def step(name, text, asked=ASKED):
    """What one step makes of a text."""
    return dict(STEPS)[name](text, asked).text


def test_verbose_becomes_less_than_half():
    """The example that grew unmeasured loses more than half of its fixed text, and no rule."""
    text = TaskText.read(ROOT / "examples" / "verbose.toml")
    shortest = by_rules(text)[-1]
    after = text.changed(shortest.values)
    assert shortest.tokens < fixed_tokens(text) / 2
    assert "If several categories could fit, pick the one that fits best." in after.value("system")
    assert "account_access: not being able to get into the account" in after.value("system")
    assert "# The prompt as it grows" in after.text


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("filler", "Please make sure that you name the label.", "Name the label."),
        ("filler", "We would like you to list anything that has to do with money.", "List money."),
        ("filler", 'Keep "in order to please" and `in order to` as they are, in order to help.',
         'Keep "in order to please" and `in order to` as they are, to help.'),
        ("courtesy", "You are a world-class expert. Name the label. Thank you very much!", "Name the label."),
        ("courtesy", "You are Mia, and you never promise 5 stars. Name it.", "You are Mia, and you never promise 5 stars. Name it."),
        ("duplicates", "Never mention prices. Name the label. Never mention the prices.", "Never mention prices. Name the label."),
        ("duplicates", "Mention prices. Never mention prices.", "Mention prices. Never mention prices."),
        ("reasons", "Name the label, because our team relies on it.", "Name the label."),
        ("reasons", "Name the label, because only 3 of them exist.", "Name the label, because only 3 of them exist."),
        ("examples", 'Example: "a" -> billing\nExample: "b" -> billing\nExample: "c" -> shipping',
         'Example: "a" -> billing\nExample: "c" -> shipping'),
        ("examples", 'Example: "a" -> this is about money, so the label is billing.', 'Example: "a" -> billing'),
        ("reasoning", "Name the label. Explain your reasoning step by step. Say what you were unsure about.", "Name the label."),
        ("reasoning", "Explain your reasoning in 2 sentences. Never guess.", "Explain your reasoning in 2 sentences. Never guess."),
        ("constraint", "Classify it. The labels are billing, shipping. Never use a label that is not in the list.", "Classify it."),
        ("constraint", "If it is open, billing or shipping may fit: choose billing.", "If it is open, billing or shipping may fit: choose billing."),
        ("rule lines", "If the message mentions a parcel, choose shipping.", "- a parcel: shipping"),
    ],
)  # fmt: skip
def test_steps(name, before, after):
    """Each step takes out what it is for, and stays away from what it must not touch."""
    assert step(name, before) == after


def test_reasoning_stays_where_more_than_a_label_is_read():
    """A task whose prose is read keeps its wish for reasons, and a list that nothing else says."""
    asked = Asked(LABELS, only_label=False)
    text = "Explain your reasoning step by step. The labels are billing, shipping."
    assert step("reasoning", text, asked) == text
    assert step("constraint", text, asked) == text


def test_every_version_of_the_planted_prompts_passes_the_guard():
    """Rules shorten all ten prompts, and none of what they give loses what matters."""
    for prompt in PROMPTS:
        text = task_text(prompt)
        versions = by_rules(text)
        assert versions, prompt.name
        assert versions[-1].tokens < fixed_tokens(text)
        final = str(text.changed(versions[-1].values).value("system"))
        for number in ("30", "500", "24", "48"):
            assert (number in prompt.system) <= (number in final), (prompt.name, number)
        for label in prompt.labels:
            assert label in text.changed(versions[-1].values).variant().task.body({"text": "x"}).decode()


def test_the_constraints_sentence_is_switched_on_with_the_step_that_needs_it():
    """Where the text said the labels itself, the task says them once it does not."""
    text = task_text(prompt_named("reviews"), instruct=False, more="").changed(
        {"system": "Explain your reasoning step by step. Name one of: positive, negative, mixed, neutral."}
    )
    last = by_rules(text)[-1]
    assert last.values["output.instruct"] is True
    assert "positive" in text.changed(last.values).variant().task.body({"text": "x"}).decode()


def test_a_plain_prompt_says_its_labels_in_its_own_text(tmp_path):
    """A text file has no settings, so the constraint's sentence goes into the text."""
    file = tmp_path / "p.txt"
    file.write_text("Explain your reasoning step by step. The labels are billing, shipping.")
    text = task_of_prompt(file, model="gpt-5.4-mini", expected="label", labels=LABELS)
    last = by_rules(text)[-1]
    assert text.changed(last.values).value("system").endswith("Return only the label, one of: billing, shipping.")


def test_a_prompt_with_columns_is_a_template(tmp_path):
    """A text file with a column in it is asked as it stands; columns stay."""
    file = tmp_path / "p.txt"
    file.write_text("Thank you very much! Please summarise the following in order to help us: {body}\n")
    text = task_of_prompt(file, model="gpt-5.4-mini")
    assert text.plain == "prompt"
    assert by_rules(text)[-1].values["prompt"] == "Summarise the following to help us: {body}"


def test_a_file_that_is_not_there_is_named(tmp_path):
    """The path is in the message."""
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be read"):
        task_of_prompt(tmp_path / "gone.txt", model="m")


def test_names_of_a_schema_are_kept():
    """Properties and enum values, nested ones as well."""
    text = task_text(prompt_named("summary")).changed(
        {"output.schema": {"type": "object", "properties": {"total": {"type": "number"}, "kind": {"enum": ["a", "b"]}}}}
    )
    assert keep_of(text.variant().task) == ("total", "kind", "a", "b")


def test_candidates_that_are_nearly_the_same_are_one():
    """Rows are not spent on versions a token apart, and never on longer ones."""
    versions = by_rules(TaskText.read(ROOT / "examples" / "verbose.toml"))
    few = spread_out([*versions, *versions], 715)
    tokens = [one.tokens for one in few]
    assert tokens == sorted(set(tokens))
    assert spread_out(versions, 100) == []


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from("abc please .,;:!\n-1 \\éß'"), max_size=200))
def test_phrases_never_touch_quotes_code_or_columns(text):
    """Whatever stands between quotes, backticks or braces is there afterwards."""
    kept = '"in order to" `please note that` {please}'
    assert kept in tightened(f"{kept}\n{text}")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*(line for one in PROMPTS for line in one.system.split(". "))]), max_size=12))
def test_steps_keep_to_the_guard_on_any_mixture(parts):
    """Sentences of all prompts in any order: what a step changes, `by_rules` only takes when the guard agrees."""
    text = task_text(prompt_named("summary")).changed({"system": ". ".join(parts) or "x"})
    before = str(text.value("system"))
    for one in by_rules(text):
        if one.how == "filler":
            assert problems(before, str(text.changed(one.values).value("system"))) == []


# -- written by a model --------------------------------------------------------------------------------------------------

GOOD = prompt_named("moderation").good
BAD = GOOD.replace("Swearing alone is not an insult.", "Swearing alone is an insult.")


def written(*drafts, **writer):
    """What a writer's drafts become."""
    world = World(*drafts)
    text = task_text(prompt_named("moderation"))

    async def main():
        return await write(text, text, Writer(**writer), world.engines)

    return *asyncio.run(main()), world


def test_a_good_draft_passes_at_once():
    """No repair is asked for, and the draft is a candidate."""
    drafts, dollars, world = written(f"<text>\n{GOOD}\n</text>", drafts_max=1)
    assert [one.problems for one in drafts] == [()]
    assert drafts[0].values == {"system": GOOD}
    assert world.writer.calls == 1
    assert dollars > 0


def test_a_bad_draft_gets_one_chance():
    """The guard's problems are quoted to the writer; a mended draft passes."""
    drafts, _, world = written(BAD, GOOD, drafts_max=1)
    assert drafts[0].problems == ()
    assert (
        b"Swearing alone is not an insult" in world.writer.seen[1].body or b"restriction" in world.writer.seen[1].body
    )
    assert world.writer.calls == 2


def test_a_draft_that_stays_bad_is_refused():
    """What is still wrong is in the candidate, which is not tried."""
    drafts, _, world = written(BAD, drafts_max=2)
    assert len(drafts) == 2
    assert all(one.problems for one in drafts)
    assert world.writer.calls == 4


def test_a_writer_that_refuses_costs_a_draft_and_nothing_else():
    """A provider's error is no candidate and no failure."""
    drafts, _, _ = written(drafts_max=2)
    assert drafts == []


def test_the_writers_money_is_bounded():
    """Where a draft and its repair might cost more than is left, nothing is asked."""
    drafts, dollars, world = written(GOOD, drafts_max=2, usd_max=0.0001)
    assert (drafts, dollars, world.writer.calls) == ([], 0.0, 0)


def test_short_texts_are_not_sent_to_a_writer():
    """What has a few tokens has nothing to lose."""
    world = World(GOOD)
    text = task_text(prompt_named("summary")).changed({"system": "Summarise."})
    assert asyncio.run(write(text, text, Writer(), world.engines)) == ([], 0.0)
