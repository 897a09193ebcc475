"""What changes from request to request in a prefix: found, named, and not mistaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.policy.volatile import common_length, volatile_between, warning

UUIDS = ("4f9c3a52-7f0b-4d1c-9a55-0d2f6f1f8b11", "0b1d3c77-12aa-4e8f-8b1e-9a3c5d7e9f01")


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("2026-11-21T10:15:00Z", "2026-11-21T10:15:07Z", "a timestamp"),
        ("2026-11-20 23:59:59", "2026-11-21 00:00:01", "a timestamp"),
        ("2026-11-20", "2026-11-21", "a date"),
        ("21 November", "22 November", "a date"),
        ("November 9", "November 10", "a date"),
        ("10:15", "10:16", "a time of day"),
        ("1795260505", "1795260599", "a Unix time"),
        (UUIDS[0], UUIDS[1], "a UUID"),
        ("9f86d081884c7d659a2feaa0", "60303ae22b998861bce3b28f", "an id"),
        ("17", "18", "a counter"),
    ],
)
def test_what_differs_is_named_with_its_place(before, after, what):
    """Both requests hold a thing of that kind where they part."""
    found = volatile_between(
        f"You are an assistant. It is {before}. Rules follow.", f"You are an assistant. It is {after}. Rules follow."
    )
    assert found is not None
    assert (found.what, found.start) == (what, 28)
    assert f"It is {after}"[6:] == f"You are an assistant. It is {after}. Rules follow."[found.start : found.end]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("As of 2026-11-21 you label tickets.", "As of 2026-11-21 you write poems."),  # a date that stands still
        ("You label tickets.", "You write poems."),
        ("You label tickets.", "You label tickets. Be brief."),
        ("same", "same"),
        ("Model x1 is yours", "Model x2 is yours"),  # part of a word
        ("", "2026-11-21"),
    ],
)
def test_two_texts_are_just_two_texts(before, after):
    """No false alarm: where they part there is nothing that ticks."""
    assert volatile_between(before, after) is None


def test_the_warning_says_what_where_and_what_to_do():
    """One sentence, and none of the prompt's words in it."""
    found = volatile_between("Now: 10:15:00. Secret plan.", "Now: 10:15:01. Secret plan.")
    said = warning(found, where="the system prompt", tokens_after=2_100)
    assert said.startswith("the system prompt holds a time of day at character 5 that changes")
    assert "2,100 tokens after it" in said
    assert "10:15" not in said
    assert "Secret" not in said


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50))
def test_the_common_beginning_is_as_long_as_counting_finds(head, one, other):
    """Bisection against a loop."""
    a, b = head + one, head + other
    counted = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common_length(a, b) == counted


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_texts_can_be_compared(before, after):
    """Never an exception, and what is found lies in the text."""
    found = volatile_between(before, after)
    assert found is None or 0 <= found.start < found.end <= len(after)
