"""Several outputs about one row as one constraint: a JSON object with a key for each, each read by its own constraint.

The schema is composed from the parts: labels become an enum, sentences and text strings, bullets a list of strings, a
JSON schema a nested one. What comes back is read key by key, so that one bad key costs no good one; of an answer that
was cut, the keys that were whole by then are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from headway.errors import ConfigError
from headway.prompts.labels import Labels
from headway.prompts.output import Api, Bullets, Json, Output, Sentence, Text
from headway.prompts.reading import is_strict, quoted, unfenced

__all__ = ["Ask", "Outputs", "Taken"]

_COUNT_MAX = 20
_ENUM_MAX = 500
"""Enum values of a strict schema, all properties together. Source: OpenAI, "Structured outputs", limitations."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TEXT = Text()
_TRIES_MAX = 32
_START = re.compile(r'\{\s*(")')
"""How an object with something in it begins."""
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Ask:
    """One of several outputs.

    Args:
        ask: What is asked for, a sentence or two; "" where the name says it all.
        output: What it has to be.
        expected: The column with its right answer; "" when there is none.
    """

    ask: str = ""
    output: Output = _TEXT
    expected: str = ""


class Taken(NamedTuple):
    """What an answer brought."""

    good: dict[str, Any]
    """Values, by key."""
    left: dict[str, tuple[str, Any]]
    """Keys that are missing or wrong -> what is wrong, and the value that was there (None: nothing)."""


@dataclass(frozen=True)
class Outputs:
    """Named outputs in one JSON object; itself an output constraint.

    Args:
        asks: Name -> what is wanted, in the order in which it is asked for; 1 to 20.

    Raises:
        ConfigError: None or too many outputs, a name that is no identifier, or a nested constraint of several.
    """

    asks: Mapping[str, Ask]

    def __post_init__(self) -> None:
        """Check the names."""
        if not 1 <= len(self.asks) <= _COUNT_MAX:
            raise ConfigError(f"outputs: expected 1 to {_COUNT_MAX} outputs, got {len(self.asks)}; split the task")
        for name, ask in self.asks.items():
            if not _NAME.fullmatch(name):
                raise ConfigError(f"outputs: {name!r} is no name; use letters, digits, '_' and '-', at most 64")
            if isinstance(ask.output, Outputs):
                raise ConfigError(f"outputs.{name}: outputs do not nest; give it a JSON schema instead")

    def __getstate__(self) -> dict[str, Any]:
        """Without what was compiled, which cannot be pickled."""
        return {"asks": {name: Ask(one.ask, _bare(one.output), one.expected) for name, one in self.asks.items()}}

    def take(self, text: str) -> Taken:
        """The good keys and the others; an answer that is no object at all has none."""
        found, why = _object(unfenced(text))
        taken = Taken({}, {})
        for name, ask in self.asks.items():
            value = found.get(name)
            if value is None and not (isinstance(ask.output, Json) and name in found):
                taken.left[name] = why, None
                continue
            try:
                taken.good[name] = _read(ask.output, value)
            except ValueError as problem:
                taken.left[name] = str(problem), value
        return taken

    def read(self, text: str) -> dict[str, Any]:
        """All values, in the declared order. Raises `ValueError` naming the keys that are missing or wrong."""
        good, left = self.take(text)
        if left:
            raise ValueError(told({name: why for name, (why, _) in left.items()}))
        return good

    def instruction(self) -> str:
        """The keys and what is asked for; labels and schemas travel in `response_format`."""
        return "Return only JSON that fits the schema, with these keys:" + self._lines(whole=False)

    def spelled_out(self) -> str:
        """The sentence with labels and schemas in it, for where no field carries them."""
        return "Return only a JSON object with exactly these keys:" + self._lines(whole=True)

    def _lines(self, *, whole: bool) -> str:
        lines = []
        for name, one in self.asks.items():
            said = " ".join(part for part in (one.ask, _form(one.output, whole)) if part)
            lines.append(f'\n- "{name}": {said}' if said else f'\n- "{name}"')
        return "".join(lines)

    def response_format(self, api: Api) -> dict[str, Any]:
        """Structured output, strict where every part keeps the rules; none for "messages": `spelled_out` asks."""
        if api == "messages":
            return {}
        named = {"name": "outputs", "schema": self.schema, "strict": self._is_strict}
        if api == "responses":
            return {"text": {"format": {"type": "json_schema", **named}}}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The composed JSON schema."""
        properties = {name: _schema(name, one.output) for name, one in self.asks.items()}
        required = list(self.asks)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    @property
    def _is_strict(self) -> bool:
        enums = sum(len(one.output.labels) for one in self.asks.values() if isinstance(one.output, Labels))
        free = (one.output.schema for one in self.asks.values() if isinstance(one.output, Json))
        return enums <= _ENUM_MAX and all(one and '"$ref"' not in json.dumps(one) and is_strict(one) for one in free)

    def tokens_max(self) -> int | None:
        """Twice the sum of the parts' bounds, for quotes, keys and escapes; None where one of them has none."""
        bounds = [one.output.tokens_max() for one in self.asks.values()]
        known = [bound for bound in bounds if bound is not None]
        return 2 * (sum(known) + sum(len(name) for name in self.asks)) if len(known) == len(bounds) else None


def told(problems: Mapping[str, str]) -> str:
    """One sentence on several keys; a reason that they share is said once."""
    by_reason: dict[str, list[str]] = {}
    for name, why in problems.items():
        by_reason.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())


def _read(output: Output, value: Any) -> Any:
    """The value as its constraint reads it."""
    if isinstance(output, Json):
        return output.read(msgspec.json.encode(value).decode())
    if isinstance(output, Bullets) and isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise ValueError("it is not a list of strings")
        return output.read("\n".join(f"- {' '.join(item.split())}" for item in value))
    if isinstance(value, dict | list):
        raise ValueError(f"{quoted(json.dumps(value))} is not a string")
    return output.read(value if isinstance(value, str) else json.dumps(value))


def _form(output: Output, whole: bool) -> str:
    """How a value has to look, in few words; `whole`: with what a schema would say."""
    if isinstance(output, Labels):
        return f"One of: {', '.join(output.labels)}." if whole else ""
    if isinstance(output, Sentence):
        return "One sentence."
    if isinstance(output, Bullets):
        words = f" of at most {output.words_max} words each" if output.words_max else ""
        return f"A list of {'exactly' if output.exactly else 'at most'} {output.count} strings{words}."
    if isinstance(output, Json):
        return (
            f"JSON that fits this schema: {msgspec.json.encode(dict(output.schema)).decode()}"
            if whole and output.schema
            else ""
        )
    return "" if isinstance(output, Text) else output.instruction()


def _schema(name: str, output: Output) -> dict[str, Any]:
    if isinstance(output, Labels):
        return {"type": "string", "enum": list(output.labels)}
    if isinstance(output, Bullets):
        return {"type": "array", "items": {"type": "string"}}
    if isinstance(output, Json):
        moved: dict[str, Any] = _moved(dict(output.schema or {}), f"#/properties/{name}")
        return moved
    return {"type": "string"}


def _moved(part: Any, to: str) -> Any:
    """A schema whose references into itself point to where it stands now."""
    if isinstance(part, dict):
        return {
            key: to + value[1:] if key == "$ref" and isinstance(value, str) and value[:1] == "#" else _moved(value, to)
            for key, value in part.items()
        }
    return [_moved(item, to) for item in part] if isinstance(part, list) else part


def _object(text: str) -> tuple[dict[str, Any], str]:
    """The one JSON object in an answer, prose around it or not, and why keys may not be in it.

    Of one that was cut, it has the keys that were whole by then: those that a comma stands behind.
    """
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found, "it is missing"
    at = text.find("{") if found is None else -1
    for _ in range(_TRIES_MAX):
        if at < 0:
            break
        pairs = _pairs(text, at)
        if pairs is not None:
            if not pairs[1]:
                return pairs[0], "the answer broke off before it"
            if _START.search(text, pairs[1]):
                return {}, "the answer holds more than one JSON object where one is asked for"
            return pairs[0], "it is missing"
        at = text.find("{", at + 1)
    return {}, "the answer is not a JSON object" if text else "the answer is empty"


def _pairs(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The whole pairs of the object that starts at `at`, and its end (0: it was cut); None where none starts."""
    start = _START.match(text, at)
    if start is None:
        return None
    found: dict[str, Any] = {}
    at = start.start(1)
    while True:
        try:
            key, end = _DECODER.raw_decode(text, at)
            colon = _past(text, end)
            first = _past(text, colon + 1)
            _, end = _DECODER.raw_decode(text, first)
            value = msgspec.json.decode(text[first:end])  # stricter: no NaN, no lone surrogates
        except (ValueError, RecursionError):
            return found, 0
        mark = _past(text, end)
        if not isinstance(key, str) or text[colon] != ":" or text[mark : mark + 1] not in (",", "}"):
            return found, 0
        found[key] = value
        if text[mark] == "}":
            return found, mark + 1
        at = _past(text, mark + 1)


def _past(text: str, at: int) -> int:
    """Where the white space from `at` on ends."""
    while text[at : at + 1].isspace():
        at += 1
    return at


def _bare(output: Output) -> Output:
    """The constraint without its cached properties."""
    bare = copy(output)
    own = getattr(bare, "__dict__", {})
    for key in [key for key in own if isinstance(getattr(type(output), key, None), cached_property)]:
        del own[key]
    return bare
