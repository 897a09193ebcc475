"""On which line of a headway.toml something stands, for errors and explanations: tomllib does not say."""

from __future__ import annotations

import re
import tomllib
from typing import Final

__all__ = ["line_of", "line_of_error", "syntax_error"]

_TABLE: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY: Final = re.compile(r"""\s*(["']?)([\w.-]+)\1\s*(?:\.[^=]*)?=""")
_ENTRY: Final = re.compile(r"(upstream|rule) (\d+)(?: \([^)]*\))?: (.*)", re.DOTALL)
_NAMED: Final = re.compile(r"caches\.([\w.-]+): (?:unknown key ')?(?:cache_)?(\w+)")
_SAID: Final = re.compile(r"(?:unknown key ')?(\w+)")
_PLACE: Final = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")


def line_of(text: str, key: str, *, table: str = "", number: int = 1) -> int | None:
    """The line of a key, counted from 1; the table's own where it has no such key; None where there is neither.

    Args:
        text: The file, valid TOML.
        key: In the table; "" for the table itself.
        table: "upstream", "caches.faq"; "" for the top.
        number: Which of the tables of that name.
    """
    lines = text.splitlines()
    here, seen, header = "", 0, None
    for index, line in enumerate(lines):
        if opened := _TABLE.match(line):
            if not _begins(lines, index):
                continue
            here = opened[2].replace(" ", "")
            if here == table:
                seen += 1
                header = index + 1 if seen == number else header
        elif key and here == table and (not table or seen == number):
            found = _KEY.match(line)
            if found is not None and found[2].split(".")[0] == key and _begins(lines, index):
                return index + 1
    return header


def _begins(lines: list[str], index: int) -> bool:
    """Whether a statement begins on that line: what stands above it is complete, no text or list of several lines."""
    try:
        tomllib.loads("\n".join(lines[:index]))
    except tomllib.TOMLDecodeError:
        return False
    return True


def line_of_error(text: str, key: str, said: str) -> int | None:
    """The line that a setting's error is about.

    Args:
        text: The file.
        key: The setting, as it is called at the top of the file, or "upstreams", "rules".
        said: The error's sentence, without the place: "upstream 2 (azure): models must be ...".
    """
    if entry := _ENTRY.match(said):
        inner = _SAID.match(entry[3])
        return line_of(text, inner[1] if inner is not None else "", table=entry[1], number=int(entry[2]))
    if named := _NAMED.match(said):
        return line_of(text, named[2], table=f"caches.{named[1]}")
    one = {"upstreams": "upstream", "rules": "rule"}.get(key, key)
    return line_of(text, key) or line_of(text, one) or line_of(text, "", table=one) or _first_below(text, one)


def _first_below(text: str, table: str) -> int | None:
    """The first table below `table`: "[caches.faq]" for "caches"."""
    for number, line in enumerate(text.splitlines(), 1):
        opened = _TABLE.match(line)
        if opened is not None and opened[2].replace(" ", "").startswith(f"{table}."):
            return number
    return None


def syntax_error(text: str, error: tomllib.TOMLDecodeError) -> tuple[int, str]:
    """Where a file stops being TOML, and in what words: (3, "timeout_s: invalid value").

    Nothing of the file is repeated but a key's name: the rest may be a secret.
    """
    place = _PLACE.search(str(error))
    lines = text.splitlines() or [""]
    line = int(place[1]) if place is not None and place[1] else len(lines)
    said = _PLACE.sub("", str(error)).strip().rstrip(":")
    said = said[:1].lower() + said[1:]
    if place is not None and place[2]:
        said += f", column {place[2]}"
    found = _KEY.match(lines[min(line, len(lines)) - 1])
    return line, f"{found[2]}: {said}" if found is not None else said
