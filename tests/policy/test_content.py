"""Rules that look at a prompt."""

from __future__ import annotations

import re

import pytest

from headway.policy.content import ContentRule, has_code, language_of, tier_for


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the parcel that I have been waiting for, and what can I do?", "en"),
        ("Wo ist das Paket, auf das ich warte? Bitte sagen Sie mir, was nicht geht.", "de"),
        ("Je ne sais pas ce que vous avez dans le colis, et pour qui il est.", "fr"),
        ("No sé qué hay en el paquete y por qué no está en mi casa con los otros.", "es"),
        ("Где моя посылка?", "ru"),
        ("私の荷物はどこですか", "ja"),
        ("我的包裹在哪里", "zh"),
        ("내 소포는 어디에 있나요", "ko"),
        ("1234 5678", ""),
        ("", ""),
    ],
)
def test_languages_are_guessed_by_script_or_common_words(text, language):
    """And left open where neither says."""
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def main():\n    return 1", True),
        ("Look:\n```\nx\n```", True),
        ("for (i = 0;;) {\n  go();\n}", True),
        ("SELECT * FROM t", True),
        ("Please import my contacts from the old phone.", False),
        ("My order (no. 12) is late; what now?", False),
    ],
)
def test_code_is_told_from_prose(text, code):
    """A fence, or a line that begins or ends as code does."""
    assert has_code(text) is code


def test_the_first_rule_that_fits_decides():
    """All conditions of a rule must hold; no rule fits: balanced."""
    rules = [
        ContentRule(tier="quality", has_code=True),
        ContentRule(tier="ultra_fast", chars_max=20, language="en"),
        ContentRule(tier="fast", pattern=re.compile(r"(?i)refund")),
        ContentRule(tier="quality", chars_min=1000),
    ]
    assert tier_for(rules, "```x```") == "quality"
    assert tier_for(rules, "what is the time?") == "ultra_fast"
    assert tier_for(rules, "I would like a Refund for my order, please.") == "fast"
    assert tier_for(rules, "x" * 1000) == "quality"
    assert tier_for(rules, "Tell me about the weather in Lisbon.") == "balanced"


def test_lengths_count_all_while_patterns_see_the_beginning():
    """A pattern far into a long text is not looked for."""
    far = "x" * 5_000 + "refund"
    assert tier_for([ContentRule(tier="fast", pattern=re.compile("refund"))], far) == "balanced"
    assert tier_for([ContentRule(tier="quality", chars_min=50_000)], "x " * 25_000) == "quality"
