"""Prompts that ask for several keyed items at once, as the engine's group layer writes them."""

from __future__ import annotations

from typing import Final

import msgspec

from headway.sim.ask import Ask, Turn

__all__ = ["grouped"]

_PREAMBLE: Final = (
    "Answer each item on its own, by the instructions above. Return only a JSON object with the ids as keys and each"
    " answer as a string.\n"
)
_ITEMS_MAX: Final = 1_000


class _Item(msgspec.Struct):
    id: str
    item: str


def grouped(ask: Ask) -> list[tuple[str, Ask]]:
    """The items of a grouped prompt, each as the request that would ask for it alone; none of any other prompt.

    The last message says so in fixed words, and then has one ``{"id": "1", "item": "<the user's text>"}`` a line.
    """
    last = ask.turns[-1] if ask.turns else None
    if last is None or last.role != "user" or not last.text.startswith(_PREAMBLE):
        return []
    lines = last.text[len(_PREAMBLE) :].strip().split("\n")
    try:
        items = [msgspec.json.decode(line, type=_Item) for line in lines[:_ITEMS_MAX]]
    except msgspec.DecodeError:
        return []
    return [(item.id, _alone(ask, item.item)) for item in items]


def _alone(ask: Ask, text: str) -> Ask:
    """One item's request: without the form and the bound of the group's answer."""
    turns = (*ask.turns[:-1], Turn("user", text))
    return msgspec.structs.replace(
        ask, turns=turns, schema=None, json_only=False, tokens_max=None, stop=(), effort="", blocks=()
    )
