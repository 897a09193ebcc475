"""What is left of a text after something was taken out reads as if it had never been there."""

from __future__ import annotations

import pytest

from headway.measure.rewrite.candidates import by_rules
from headway.measure.rewrite.mending import broken, mended
from headway.measure.rewrite.steps import STEPS, Asked

from .rewrite_world import prompt_named, task_text

LABELS = ("billing", "shipping")
NUMBERED = "1. Read it.\n2. Be kind.\n3. Name the label.\n4. Stop."


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("You are an extremely helpful one.", "You are an helpful one.", "You are a helpful one."),
        ("It is a really important rule.", "It is a important rule.", "It is an important rule."),
        ("It is a really unimportant one.", "It is a unimportant one.", "It is an unimportant one."),
        ("A very unusual case.", "A unusual case.", "An unusual case."),
        ("A very useful case of an honest API call.", "A useful case of an honest API call.",
         "A useful case of an honest API call."),
        ("An SQL query. Option A is really odd.", "An SQL query. Option A is odd.", "An SQL query. Option A is odd."),
        ("Option A really is odd.", "Option A is odd.", "Option A is odd."),
        (NUMBERED, "1. Read it.\n3. Name the label.\n4. Stop.", "1. Read it.\n2. Name the label.\n3. Stop."),
        ("1) a b\n2) c d\n3) e f", "1) a b\n3) e f", "1) a b\n2) e f"),
        ("1. a\n2. b\n\n1. c\n2. d\n3. e", "1. a\n2. b\n\n1. c\n3. e", "1. a\n2. b\n\n1. c\n2. e"),
        ("3. a\n5. b\n9. c", "3. a\n9. c", "3. a\n9. c"),
        ("- a\n- b\n- c", "- a\n\n- c", "- a\n- c"),
        ("- a\n\n- b\n\n- c", "- a\n\n- c", "- a\n\n- c"),
        ("```\n1. a\n2. b\n3. c\n```\nx", "```\n1. a\n3. c\n```", "```\n1. a\n3. c\n```"),
    ],
)  # fmt: skip
def test_articles_numbers_and_lists(before, after, wanted):
    """Articles follow the word behind them, plain numbers close up, tight lists stay tight; the rest is left alone."""
    assert mended(before, after) == wanted
    assert broken(before, wanted) == ""


def test_numbers_that_something_refers_to_are_kept():
    """No renumbering where "rule 3" would mean another one then: the removal is refused."""
    text = NUMBERED + "\nIf rule 3 does not fit, answer other."
    after = text.replace("2. Be kind.\n", "")
    assert mended(text, after) == after
    assert "gap" in broken(text, after)


@pytest.mark.parametrize("intro", ["Here is an example:", "This is an example of a good answer."])
def test_an_example_keeps_its_introduction(intro):
    """JSON without the line that says what it is would be a riddle; both may go."""
    before = f'Name it.\n\n{intro}\n{{\n  "label": "billing"\n}}\n\nThanks.'
    without = before.replace(f"{intro}\n", "")
    assert "introduction" in broken(before, without)
    assert broken(before, "Name it.\n\nThanks.") == ""
    assert "introduces" in broken(before, f"Name it.\n\nExample:\n\n# {intro}".replace(f" {intro}", ""))


def test_rule_lines_keep_their_bullet():
    """A bullet that becomes a line stays one; in running text a line begins."""
    step = dict(STEPS)["rule lines"]
    asked = Asked(LABELS, only_label=True)
    bullets = "- If it mentions a parcel, choose shipping.\n- If it mentions a bill, choose billing."
    assert step(bullets, asked).text == "- a parcel: shipping\n- a bill: billing"
    flowing = "Read it. If it mentions a parcel, choose shipping. Name the label."
    assert step(flowing, asked).text == "Read it.\n- a parcel: shipping\nName the label."


def test_a_prompt_of_all_of_them():
    """Whatever the steps take out of this one, no version has a broken list, article or example."""
    system = (
        "You are an extremely helpful assistant.\n\nRules:\n1. Read the ticket.\n2. Please be aware that prices go to "
        "billing.\n3. Thank you very much for your help!\n4. Never answer with another word.\n\n"
        'Here is an example:\n{\n  "ticket": "My bill",\n  "team": "billing"\n}\n\nName the team.'
    )
    versions = by_rules(task_text(prompt_named("tickets")).changed({"system": system}))
    assert versions
    last = versions[-1].values["system"]
    assert "an helpful" not in last
    assert "1. Read the ticket.\n2. Prices go to billing.\n3. Never answer with another word." in last
    assert 'Here is an example:\n{"ticket":"My bill","team":"billing"}' in last
