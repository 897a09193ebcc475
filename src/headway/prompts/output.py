"""Output constraints: what an answer has to be, how to ask for it in few tokens, and how to read it.

Each constraint has four parts: `instruction()` is the sentence that asks for it; `read(text)` gives the value
or raises `ValueError` with one sentence that a repair prompt can carry; `response_format(api)` is the request
field that makes the provider enforce it, where there is one; `tokens_max()` bounds the answer, or is None
where no bound follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from headway.errors import ConfigError
from headway.prompts.reading import is_strict, quoted, read_json, unfenced

__all__ = ["TOKENS_MIN", "Api", "Bullets", "Json", "Output", "Sentence", "Text"]

Api: TypeAlias = Literal["responses", "chat", "messages"]

TOKENS_MIN = 16
"""The Responses API refuses fewer. Source: OpenAI API reference, "Create a response"."""


class Output(Protocol):
    """What every constraint offers."""

    def read(self, text: str) -> Any:
        """The answer's value. Raises `ValueError` with one sentence."""
        ...

    def instruction(self) -> str:
        """The sentence that asks for this constraint; "" when there is nothing to ask."""
        ...

    def response_format(self, api: Api) -> dict[str, Any]:
        """Top-level request fields by which the provider enforces the constraint; {} where it cannot."""
        ...

    def tokens_max(self) -> int | None:
        """A bound on output tokens that a right answer never meets; None where none follows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Json:
    """One JSON value, validated against a JSON schema when there is one (local references only).

    Raises:
        ConfigError: The schema is not a schema.
    """

    schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Compile the schema, so that a wrong one is found before anything is sent."""
        if self.schema is not None:
            _ = self._validator

    @cached_property
    def _validator(self) -> Any:
        import jsonschema_rs  # only tasks with a schema pay for it

        try:
            return jsonschema_rs.validator_for(dict(self.schema or {}), offline=True)
        except ValueError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(f"schema: not a JSON schema that stands by itself: {reason}") from None

    def read(self, text: str) -> Any:
        """The value. Code fences, and prose around one JSON object, are tolerated."""
        value = read_json(unfenced(text))
        if self.schema is not None:
            import jsonschema_rs

            try:
                self._validator.validate(value)
            except jsonschema_rs.ValidationError as error:
                at = "/".join(str(step) for step in error.instance_path)
                raise ValueError(f"the JSON breaks the schema at '/{at}': {error.message[:300]}") from None
        return value

    def instruction(self) -> str:
        """The schema itself travels in `response_format`."""
        return "Return only JSON." if self.schema is None else "Return only JSON that fits the schema."

    def spelled_out(self) -> str:
        """The sentence with the schema in it, for where no field carries it."""
        if self.schema is None:
            return self.instruction()
        return f"Return only JSON that fits this schema: {msgspec.json.encode(dict(self.schema)).decode()}"

    def response_format(self, api: Api) -> dict[str, Any]:
        """Structured output; strict only where the schema keeps the providers' rules for strict ones.

        None for "messages": there `spelled_out` asks.
        """
        if api == "messages":
            return {}
        if self.schema is None:
            kind = {"type": "json_object"}
            return {"text": {"format": kind}} if api == "responses" else {"response_format": kind}
        named = {"name": "output", "schema": dict(self.schema), "strict": is_strict(self.schema)}
        if api == "responses":
            return {"text": {"format": {"type": "json_schema", **named}}}
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def tokens_max(self) -> None:
        """None: a bound that cuts JSON short costs a second call."""
        return


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of bullets: exactly `count`, or at most that many; each of at most `words_max` words.

    Raises:
        ConfigError: A number below 1.
    """

    count: int
    exactly: bool = False
    words_max: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.count < 1:
            raise ConfigError(f"bullets: expected a number from 1, got {self.count}")
        if self.words_max is not None and self.words_max < 1:
            raise ConfigError(f"words_max: expected a number from 1, got {self.words_max}")

    def read(self, text: str) -> list[str]:
        """The bullets' texts. A line of introduction that ends in a colon is tolerated."""
        bullets: list[str] = []
        for line in unfenced(text).splitlines():
            if mark := _BULLET.match(line):
                bullets.append(line[mark.end() :].strip())
            elif bullets and line[:1].isspace() and line.strip():
                bullets[-1] += " " + line.strip()  # an indented line goes on where the bullet stopped
            elif line.strip() and (bullets or not line.rstrip().endswith(":")):
                raise ValueError(f"{quoted(line)} is not a bullet: every line has to start with '- '")
        if not bullets:
            raise ValueError("the answer has no bullets")
        if len(bullets) > self.count or (self.exactly and len(bullets) != self.count):
            raise ValueError(f"the answer has {len(bullets)} bullets where {self._wanted()} are asked for")
        for number, bullet in enumerate(bullets, 1):
            words = len(bullet.split())
            if not words:
                raise ValueError(f"bullet {number} is empty")
            if self.words_max is not None and words > self.words_max:
                raise ValueError(f"bullet {number} has {words} words where at most {self.words_max} are asked for")
        return bullets

    def _wanted(self) -> str:
        return f"{'exactly' if self.exactly else 'at most'} {self.count}"

    def instruction(self) -> str:
        """One sentence."""
        words = f" of at most {self.words_max} words each" if self.words_max else ""
        return f"Answer with {self._wanted()} '- ' bullets{words} and nothing else."

    def response_format(self, api: Api) -> dict[str, Any]:
        """None: no provider enforces bullets."""
        return {}

    def tokens_max(self) -> int | None:
        """Three tokens a word is twice what English takes; None where words are not bounded."""
        return max(TOKENS_MIN, self.count * (3 * self.words_max + 4)) if self.words_max else None


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Exactly one sentence."""

    def read(self, text: str) -> str:
        """The sentence, on one line."""
        sentence = " ".join(unfenced(text).split())
        if not sentence:
            raise ValueError("the answer is empty")
        ends = [
            m
            for m in _SENTENCE_END.finditer(sentence)
            if not _ABBREVIATION.search(sentence[max(0, m.end(1) - 12) : m.end(1)])
        ]
        if ends:
            raise ValueError(f"the answer has {len(ends) + 1} sentences where exactly one is asked for")
        return sentence

    def instruction(self) -> str:
        """One sentence about one sentence."""
        return "Answer in one sentence."

    def response_format(self, api: Api) -> dict[str, Any]:
        """None: no provider enforces sentences."""
        return {}

    def tokens_max(self) -> int:
        """Long sentences of English stay well under 200 tokens."""
        return 256


@dataclass(frozen=True, kw_only=True)
class Text:
    """Free text that is not empty."""

    def read(self, text: str) -> str:
        """The text without white space at its ends."""
        if not (answer := text.strip()):
            raise ValueError("the answer is empty")
        return answer

    def instruction(self) -> str:
        """Nothing to ask for."""
        return ""

    def response_format(self, api: Api) -> dict[str, Any]:
        """None."""
        return {}

    def tokens_max(self) -> None:
        """None: a bound would cut answers short unseen."""
        return


_BULLET = re.compile(r"[ \t]*(?:[-*\u2022\u2013]|\d{1,3}[.)])[ \t]+")
_SENTENCE_END = re.compile(r"([.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|No|vs|etc|approx|e\.g|i\.e|Inc|Ltd))\.\Z")
