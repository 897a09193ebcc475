"""A prompt as plain text, without a task file: what of it is system text, and what is filled in for each row."""

from __future__ import annotations

from headway.prompts.template import Template

__all__ = ["COLUMN", "plain_parts"]

COLUMN = "text"
"""What a prompt without a {column} is about."""


def plain_parts(text: str, where: str) -> tuple[str, str]:
    """(system text, template): a text with {column} names is the template, one without stands before each row's text.

    Raises:
        ConfigError: It is no template; the message begins with `where`.
    """
    return ("", text) if Template(text, where).columns else (text, f"{{{COLUMN}}}")
