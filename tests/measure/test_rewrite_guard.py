"""The guard: harmful rewrites are stopped, good ones pass, and both are counted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.measure.rewrite.cues import cues
from headway.measure.rewrite.guard import CHARS_MAX, PROBLEMS_MAX, problems
from headway.measure.rewrite.words import sentences

from .planted_edits import PROMPTS, planted

NEGATION = re.compile(
    r"\b(?:not |never |no |only |without |except |unless |at most |at least |more than |fewer than |ignore )",
    re.IGNORECASE,
)


@pytest.mark.parametrize(("prompt", "edit", "harmful"), planted(), ids=lambda one: getattr(one, "name", "") or None)
def test_planted_edits_are_stopped(prompt, edit, harmful):
    """Each of the forty is refused for a reason that the good version does not give."""
    known = set(problems(prompt.system, prompt.good, keep=prompt.labels))
    assert [one for one in problems(prompt.system, harmful, keep=prompt.labels) if one not in known]


def test_good_versions_pass():
    """A guard that refuses everything is useless: nine of ten short versions by a person pass."""
    passed = [one.name for one in PROMPTS if not problems(one.system, one.good, keep=one.labels)]
    assert len(passed) >= 9, passed


def test_dropped_sentences_numbers_and_negations_are_seen_wherever_they_stand():
    """Every sentence dropped, number changed, negation taken out and label swapped, in every good version: 97 in 100."""
    tried, missed = 0, []
    for prompt in PROMPTS:
        known = set(problems(prompt.system, prompt.good, keep=prompt.labels))
        for kind, text in mutations(prompt):
            tried += 1
            if not [one for one in problems(prompt.system, text, keep=prompt.labels) if one not in known]:
                missed.append((prompt.name, kind))
    assert tried > 200
    assert len(missed) <= 0.03 * tried, missed


def mutations(prompt):
    """Everything that can go wrong in one place of the good version."""
    good = prompt.good
    for one in sentences(good):
        pattern = r"\s+".join(re.escape(word) for word in one.text.split())
        yield f"drop {one.text[:30]}", re.sub(pattern, "", good, count=1)
    for found in re.finditer(r"\d+", good):
        yield f"number {found[0]}", f"{good[: found.start()]}{int(found[0]) + 3}{good[found.end() :]}"
    for found in NEGATION.finditer(good):
        yield f"negation {found[0]}", good[: found.start()] + good[found.end() :]
    for label in prompt.labels:
        other = next(one for one in prompt.labels if one != label)
        for found in re.finditer(rf"(?<!\w){label}(?!\w)", good):
            yield f"relabel {label}", good[: found.start()] + other + good[found.end() :]


@pytest.mark.parametrize(
    ("original", "rewrite"),
    [
        ("Please make sure that the answer is never longer than 30 words.", "Answer in at most 30 words."),
        ("Do not mention prices.", "Never mention prices."),
        ("Never pick a category that is not in the list.", "Pick only categories in the list."),
        ("Return exactly 3 bullets.", "Exactly three bullets."),
        ('Write "n/a" if the date is missing.', 'Date missing: "n/a".'),
        ("Thank you so much! Classify the ticket, because our team relies on it.", "Classify the ticket."),
        ("You are the best lawyer in town. Summarise the contract {text}.", "Summarise the contract {text}."),
        ("It is really important that you read it very carefully. List the dates.", "List the dates."),
        ("Do not hesitate to answer briefly.", "Answer briefly."),
        ("Answer yes or no.", "Answer yes or no."),
    ],
)
def test_the_same_in_fewer_words_passes(original, rewrite):
    """What only leaves out words passes."""
    assert problems(original, rewrite) == []


@pytest.mark.parametrize(
    ("original", "rewrite", "says"),
    [
        ("Use at most 3 bullets.", "Use 3 bullets.", "number"),
        ("Use at least 3 bullets.", "Use at most 3 bullets.", "number"),
        ("List 3 risks and 5 costs.", "List 5 risks and 3 costs.", "number"),
        ("Answer in one sentence.", "Answer in a sentence.", "number"),
        ("Summarise it.", "Summarise it in 20 words.", "new"),
        (
            "Do not mention prices, and include the order number.",
            "Mention prices; do not include the order number.",
            "restr",
        ),
        ("You must cite the paragraph.", "You may cite the paragraph.", "advice"),
        ("Sort by the highest amount.", "Sort by the lowest amount.", "instead of"),
        ("Return JSON with the keys name, date and amount.", "Return JSON with the keys name and date.", "list"),
        ("Quote `max_age` as it is.", "Quote it as it is.", "code"),
        ("See https://example.com/rules for terms.", "See the rules for terms.", "address"),
        ("Compare {old} with {new}.", "Compare {old}.", "column"),
        ("Compare {old}.", "Compare {old} with {new}.", "new"),
        ("```\na = 1\n```\nExplain the code.", "Explain the code.", "code block"),
        ("Use the ISO date.", "Use the date.", "ISO"),
        ("If it mentions a lawyer, choose legal.", "If it mentions a lawyer, choose sales.", "legal"),
        ("Classify the ticket.", "   ", "nothing is left"),
    ],
)
def test_what_was_lost_is_said(original, rewrite, says):
    """Each kind of loss is named in its sentence."""
    found = problems(original, rewrite, keep=["legal", "sales"])
    assert any(says in one for one in found), found


def test_the_constraints_own_sentence_counts():
    """A list of labels that the constraint says anyway may leave the text."""
    original = "Classify the ticket. The labels are billing, shipping and other."
    assert problems(original, "Classify the ticket.", keep=["billing", "shipping", "other"])
    beside = "Return only the label, one of: billing, shipping, other."
    assert problems(original, "Classify the ticket.", keep=["billing", "shipping", "other"], beside=beside) == []


def test_waived_sentences_may_go():
    """A sentence that a step took out on purpose is not missed; the others are."""
    original = "Never be rude. Explain your choice in 3 sentences. Name the label."
    assert problems(original, "Never be rude. Name the label.", waived=["Explain your choice in 3 sentences."]) == []
    assert problems(original, "Name the label.", waived=["Explain your choice in 3 sentences."])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400).filter(str.strip))
def test_any_text_is_its_own_rewrite(text):
    """A text that was not changed has lost nothing, whatever it holds."""
    assert problems(text, text) == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_the_guard_always_answers_and_is_brief(original, rewrite):
    """No input raises, and there is a bound to what is said."""
    assert len(problems(original, rewrite, keep=["a", "b c"])) <= PROBLEMS_MAX


@pytest.mark.parametrize(
    ("text", "said"),
    [("x" * (CHARS_MAX + 1), "longer than"), ("not " * 2_000, "too many"), ("- a b.\n" * 2_000, "too many")],
)
def test_what_is_too_much_to_read_is_refused(text, said):
    """The guard's work is bounded, and what it has not read does not pass."""
    assert said in problems(text, text)[0]


def test_cues_know_words_for_numbers_and_their_bounds():
    """Three is 3, "or fewer" is a bound, and a list's own numbers are none."""
    found = {
        (cue.value, cue.bound) for cue in cues("1. Three bullets or fewer\n2. about 40 words") if cue.kind == "number"
    }
    assert found == {("3", "atmost"), ("40", "about")}
