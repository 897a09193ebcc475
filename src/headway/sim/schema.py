"""A valid instance of a JSON schema, filled from a text.

Enums go by evidence, strings by what their name asks for (an e-mail address, a date, an amount, else the sentence
that speaks most of the property), numbers are those in the text, arrays its sentences or items. Bounds on lengths
and numbers are kept; `pattern`, `if` and `not` are not understood. Recursion ends at a depth of 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor
from typing import Any, Final

from headway.sim.text import sentences, stems

__all__ = ["fill"]

Choose = Callable[[Sequence[str], str], str]
"""Picks one of the names by the evidence in a text."""

_DEPTH_MAX: Final = 8
_LINKS_MAX: Final = 100
_ITEMS_MAX: Final = 3
_ARRAY_MIN_MAX: Final = 1_000
_NUMBER: Final = re.compile(r"-?\d+(?:[.,]\d+)?")
_NEGATED: Final = re.compile(r"\b(?:not|no|never|without|can't|cannot|won't|doesn't|don't)\b", re.I)
_FOUND_BY: Final = (
    ("email", re.compile(r"[\w.+-]{1,64}@[\w-]{1,60}\.[\w.]{1,60}")),
    ("url", re.compile(r"https?://\S{1,500}")),
    ("phone", re.compile(r"\+?\d[\d ()-]{6,20}\d")),
    ("date", re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")),
    ("order", re.compile(r"#?\b[A-Z]{0,3}-?\d{3,20}\b")),
    ("id", re.compile(r"#?\b[A-Z]{0,3}-?\d{3,20}\b")),
    ("amount", re.compile(r"[$€£]\s?\d[\d,.]{0,20}|\b\d[\d,.]{0,20}\s?(?:dollars|euros?|pounds|USD|EUR|GBP)")),
    ("name", re.compile(r"\b[A-Z][a-z]{1,30}(?: [A-Z][a-z]{1,30}){1,4}\b")),
)
_FORMATS: Final = {
    "date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z", "time": "00:00:00Z", "email": "unknown@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000", "uri": "https://example.com/", "ipv4": "192.0.2.1",
    "hostname": "example.com", "duration": "P1D",
}  # fmt: skip


def fill(schema: Mapping[str, Any], text: str, choose: Choose, items: Sequence[str] = ()) -> Any:
    """An instance for the schema, out of the text; the same for the same arguments.

    Args:
        schema: The schema; references within it are followed.
        text: What to fill it from.
        choose: Picks one name of an enum.
        items: Where the prompt numbers several items, the outermost array has one element for each.
    """
    return _Filler(schema, text, choose, items).value(schema, "", text, 0)


class _Filler:
    """One filling: the root (for references) and the numbers of the text that are not used yet."""

    def __init__(self, root: Mapping[str, Any], text: str, choose: Choose, items: Sequence[str]) -> None:
        self._root = root
        self._items = items
        self._choose = choose
        self._numbers = [float(n.replace(",", ".")) for n in _NUMBER.findall(text)[:100]]

    def value(self, schema: Any, name: str, text: str, depth: int) -> Any:
        """One instance; `name` is the property's."""
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            return self._enum(options, text)
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, text, depth)
        if kind == "array":
            return self._array(schema, name, text, depth)
        if kind == "string":
            return _string(schema, name, text)
        if kind in ("number", "integer"):
            return self._number(schema, whole=kind == "integer")
        return _truth(f"{name} {schema.get('description', '')}", text) if kind == "boolean" else None

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """References followed, the first usable alternative taken."""
        for _ in range(_LINKS_MAX):
            if not isinstance(schema, dict):
                return {}
            if isinstance(reference := schema.get("$ref"), str):
                schema = _at(self._root, reference)
            elif options := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                usable = [o for o in options if isinstance(o, dict) and o.get("type") != "null"] or options
                schema = {**rest, **usable[0]} if isinstance(usable[0], dict) else rest
            elif parts := schema.get("allOf"):
                schema = _merged([{k: v for k, v in schema.items() if k != "allOf"}, *parts], self._root)
            else:
                return schema
        return schema if isinstance(schema, dict) else {}

    def _enum(self, options: Sequence[Any], text: str) -> Any:
        names = [option for option in options if isinstance(option, str)]
        return self._choose(names, text) if names else options[0]

    def _object(self, schema: Mapping[str, Any], text: str, depth: int) -> dict[str, Any]:
        known = schema.get("properties")
        known = known if isinstance(known, dict) else {}
        required = [key for key in schema.get("required", []) if isinstance(key, str)]
        keys = required if depth >= _DEPTH_MAX else list(dict.fromkeys([*known, *required]))
        if depth >= 2 * _DEPTH_MAX:
            return {}
        return {key: self.value(known.get(key, {"type": "string"}), key, text, depth + 1) for key in keys}

    def _array(self, schema: Mapping[str, Any], name: str, text: str, depth: int) -> list[Any]:
        least = min(int(schema.get("minItems", 0)), _ARRAY_MIN_MAX)
        most = int(schema.get("maxItems", max(least, _ITEMS_MAX)))
        if depth >= _DEPTH_MAX:
            most = least
        parts = list(self._items) if self._items and depth <= 1 else sentences(text) or [text]
        if self._items and depth <= 1:
            most = int(schema.get("maxItems", len(parts)))
        size = max(least, min(most, len(parts)))
        unique = bool(schema.get("uniqueItems"))
        found: list[Any] = []
        for index in range(size):
            item = self.value(schema.get("items", {"type": "string"}), name, parts[index % len(parts)], depth + 1)
            if unique and item in found:
                item = _another(self._resolved(schema.get("items", {})), item, found)
            if not (unique and item in found):
                found.append(item)
        return found

    def _number(self, schema: Mapping[str, Any], *, whole: bool) -> int | float:
        value = self._numbers.pop(0) if self._numbers else 0.0
        low, high = schema.get("minimum"), schema.get("maximum")
        if isinstance(above := schema.get("exclusiveMinimum"), int | float):
            low = above + (1 if whole else 1e-6 * max(1.0, abs(above)))
        if isinstance(below := schema.get("exclusiveMaximum"), int | float):
            high = below - (1 if whole else 1e-6 * max(1.0, abs(below)))
        value = value if low is None else max(value, low)
        value = value if high is None else min(value, high)
        step = schema.get("multipleOf") or (1 if whole else None)
        if step:
            value = ceil(value / step) * step
            if high is not None and value > high:
                value = floor(high / step) * step
        return int(value) if whole else value


def _at(root: Mapping[str, Any], reference: str) -> Any:
    """The local schema a JSON pointer leads to; {} when it leads nowhere."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key, {}) if isinstance(found, dict) else {}
    return found


def _merged(parts: Sequence[Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """`allOf` as one schema: properties and required keys joined, the last word on anything else."""
    merged: dict[str, Any] = {}
    for given in parts:
        linked = isinstance(given, dict) and isinstance(given.get("$ref"), str)
        part = _at(root, given["$ref"]) if linked else given
        for key, value in part.items() if isinstance(part, dict) else ():
            if key == "properties" and isinstance(value, dict):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required" and isinstance(value, list):
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _string(schema: Mapping[str, Any], name: str, text: str) -> str:
    if (form := schema.get("format")) in _FORMATS:
        found = next((p.search(text) for n, p in _FOUND_BY if n == form and form == "email"), None)
        return found.group() if found else _FORMATS[form]
    value = _extract(name, str(schema.get("description", "")), text)
    if isinstance(most := schema.get("maxLength"), int) and len(value) > most:
        value = value[:most].rstrip() or value[:most]
    if isinstance(least := schema.get("minLength"), int) and len(value) < min(least, 10_000):
        value += "." * (min(least, 10_000) - len(value))
    return value


def _extract(name: str, description: str, text: str) -> str:
    lower = name.lower()
    for wanted, pattern in _FOUND_BY:
        if wanted in lower.split("_") or (len(wanted) > 2 and wanted in lower):
            found = pattern.search(text)
            if found or wanted not in ("order", "name"):
                return found.group() if found else ""
    parts = sentences(text)
    if not parts:
        return ""
    asked = set(stems(f"{name} {description}"))
    return max(parts, key=lambda part: len(asked & set(stems(part))))


def _truth(asked: str, text: str) -> bool:
    """Whether a sentence speaks of it and does not deny it."""
    words = set(stems(asked))
    return any(words & set(stems(part)) and not _NEGATED.search(part) for part in sentences(text))


def _another(schema: Mapping[str, Any], item: Any, taken: Sequence[Any]) -> Any:
    """Another item where they have to differ."""
    for option in schema.get("enum", ()):
        if option not in taken:
            return option
    if isinstance(item, str) and "enum" not in schema:
        most = schema.get("maxLength")
        tail = f" ({len(taken) + 1})"
        return (item[: max(0, most - len(tail))] if isinstance(most, int) else item) + tail
    return item + len(taken) if isinstance(item, int | float) and not isinstance(item, bool) else item
