"""Reading what a model wrote: code fences, JSON amid prose; and which schemas are strict."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["is_strict", "quoted", "read_json", "unfenced"]

_TRIES_MAX = 32
_DECODER = json.JSONDecoder()
_FENCE = re.compile(r"\A\s*```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


def unfenced(text: str) -> str:
    """The text without white space and code fences around it."""
    fenced = _FENCE.match(text)
    return (fenced.group(1) if fenced else text).strip()


def quoted(text: str) -> str:
    """A short quote of it for an error message."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:59] + "…")


def read_json(text: str) -> Any:
    """The one JSON value in `text`: the whole of it, or the single object or array that prose surrounds.

    Raises:
        ValueError: One sentence: empty, no JSON, or more than one object.
    """
    if not text:
        raise ValueError("the answer is empty")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = str(error).rstrip(".")
    found, at = None, 0
    for _ in range(_TRIES_MAX):
        at = min((p for p in (text.find("{", at), text.find("[", at)) if p >= 0), default=-1)
        if at < 0:
            break
        span = _value_at(text, at)
        if span is None:
            at += 1
        elif found is not None:
            raise ValueError("the answer holds more than one JSON value where one is asked for")
        else:
            found, at = span
    if found is None:
        raise ValueError(f"the answer is not JSON: {reason}")
    return found


def _value_at(text: str, at: int) -> tuple[Any, int] | None:
    """The object or array that starts at `at`, and where it ends; None when what is there is not one."""
    try:
        _, end = _DECODER.raw_decode(text, at)
        value = msgspec.json.decode(text[at:end])  # stricter: no NaN, no lone surrogates
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        # "[1]" in prose is a footnote, not an answer
        return None
    return value, end


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether every object in the schema names all its properties as required and allows no others.

    Source: OpenAI, "Structured outputs", supported schemas.
    """
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties", {}))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != names:
            return False
    parts = [schema.get("items"), *schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    parts += [*schema.get("$defs", {}).values(), *schema.get("definitions", {}).values()]
    if "oneOf" in schema or "allOf" in schema or "patternProperties" in schema:
        return False
    return all(is_strict(part) for part in parts if isinstance(part, Mapping))
