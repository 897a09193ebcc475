"""Prompt templates: text with `{column}` names, and nothing else.

A name stands for the row's value, looked up literally: there is no attribute access, no index and no format
spec, and a value that holds braces is never scanned again. `{{` and `}}` are literal braces. Templates come
from configuration only, never from a request or a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headway.errors import ConfigError, InputError

__all__ = ["Template", "as_text"]


def as_text(value: Any) -> str:
    """What a row's value looks like in a prompt: text as it is, None as nothing, anything else as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()


class Template:
    """A template split once, so that filling it in is one join.

    Args:
        text: The template.
        where: What error messages call it, e.g. ``triage.toml: prompt``.

    Raises:
        ConfigError: A brace has no partner, or a name is empty.
    """

    __slots__ = ("_first", "_rest", "columns")

    def __init__(self, text: str, where: str = "prompt") -> None:
        literals, names = _split(text, where)
        self._first, self._rest = literals[0], tuple(zip(names, literals[1:], strict=True))
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(names))
        """The columns it needs, in order of first use."""

    @property
    def declared(self) -> str:
        """What else decides which text a row gets: nothing here; see `context.FittedTemplate`."""
        return ""

    def identity(self, row: Mapping[str, Any]) -> str:
        """What tells a row's question from others': its text. Raises `InputError` as `fill` does."""
        return self.fill(row)

    @property
    def first(self) -> Callable[[Mapping[str, Any]], Any] | None:
        """What has to be asked before a row's text is known: nothing here; see `context.FittedTemplate`."""
        return None

    def flex(self) -> Template:
        """As it is for requests at the flex tier."""
        return self

    def left_out_tokens(self, row: Mapping[str, Any]) -> int:
        """Tokens of the row that are not in its text: none here; see `context.FittedTemplate`."""
        return 0

    def is_empty(self, row: Mapping[str, Any]) -> bool:
        """Whether a row holds nothing but white space in all of the columns."""
        for name in self.columns:
            value = row.get(name)
            if (value if type(value) is str else as_text(value)).strip():
                return False
        return True

    def fill(self, row: Mapping[str, Any], change: Mapping[str, Callable[[str], str]] | None = None) -> str:
        """The text for one row; `change` maps a column to what is done to its value first.

        Raises:
            InputError: The row lacks a column.
        """
        parts = [self._first]
        try:
            for name, literal in self._rest:
                value = row[name]
                text = value if type(value) is str else as_text(value)
                parts.append(change[name](text) if change and name in change else text)
                parts.append(literal)
        except KeyError as error:
            raise InputError(f"the row has no column {error.args[0]!r}, which the prompt needs") from None
        return "".join(parts)


def _split(text: str, where: str) -> tuple[list[str], list[str]]:
    """The literal parts and the names between them: always one literal more than names."""
    literals, names, literal, at = [], [], "", 0
    while at < len(text):
        char = text[at]
        if char not in "{}":
            end = min((p for p in (text.find("{", at), text.find("}", at)) if p >= 0), default=len(text))
            literal, at = literal + text[at:end], end
        elif text[at : at + 2] in ("{{", "}}"):
            literal, at = literal + char, at + 2
        elif char == "}":
            raise ConfigError(f"{where}: a '}}' at character {at + 1} closes nothing; write '}}}}' for a literal brace")
        else:
            end = text.find("}", at)
            name = text[at + 1 : end]
            if end < 0 or "{" in name:
                raise ConfigError(
                    f"{where}: the '{{' at character {at + 1} is not closed; write '{{{{' for a literal brace"
                )
            if not name.strip():
                raise ConfigError(f"{where}: '{{}}' at character {at + 1} names no column; write e.g. '{{text}}'")
            literals.append(literal)
            names.append(name)
            literal, at = "", end + 1
    return [*literals, literal], names
