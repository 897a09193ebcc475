"""A prompt as plain text, without a task file: what of it is system text, and what is filled in for each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from headway.prompts.template import Template

__all__ = ["ANSWER_TOKENS_MAX", "COLUMN", "has_term", "labels_said", "plain_parts", "says_labels"]

COLUMN = "text"
"""What a prompt without a {column} is about."""
ANSWER_TOKENS_MAX: Final = 1_024
"""The bound on answers to a prompt that names its labels itself: it may ask for more, such as reasons."""
_LABELS_MAX: Final = 200


def plain_parts(text: str, where: str) -> tuple[str, str]:
    """(system text, template): a text with {column} names is the template, one without stands before each row's text.

    Raises:
        ConfigError: It is no template; the message begins with `where`.
    """
    return ("", text) if Template(text, where).columns else (text, f"{{{COLUMN}}}")


def says_labels(labels: Sequence[str], text: str) -> bool:
    """Whether a prompt names all the labels itself, so that nothing has to be added to it."""
    return all(has_term(name, text) for name in labels)


def labels_said(values: Iterable[str], *texts: str) -> list[str]:
    """The labels of a task, taken from its rows' right answers: 2 to 200, all named in all texts; else none."""
    names = [name for name in dict.fromkeys(value.strip() for value in values) if name]
    good = 1 < len(names) <= _LABELS_MAX and all(says_labels(names, text) for text in texts)
    return names if good else []


def has_term(term: str, text: str) -> bool:
    """Whether a label or another name stands in the text as whole words; case, separators and a plural aside."""
    parts = [re.escape(part) for part in re.split(r"[\s_-]+", term.strip()) if part]
    if not parts:
        return True
    return re.search(r"(?<!\w)" + r"[\s_-]+".join(parts) + r"(?:e?s)?(?!\w)", text, re.IGNORECASE) is not None
