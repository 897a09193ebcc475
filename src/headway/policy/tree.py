"""How many summaries become one: which neighbours are merged together, and in what order the parts are read.

Pure: numbers in, groups out. The tree depends on nothing that is a matter of time, so the same text with the same
answers is merged in the same way, however quickly which part was answered: a run that is resumed finds its answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec

from headway.errors import ConfigError

__all__ = ["PILOTS", "Group", "Node", "fan_in_for", "groups_that_fit", "merge_tree", "pilots"]

PILOTS = 8
_DEVIATIONS = 1.5


class Group(msgspec.Struct, frozen=True):
    """Neighbours that are merged into one; two at least."""

    children: tuple[Node, ...]
    first: int
    """The first part below it, from 0."""
    last: int
    """The last part below it."""


Node: TypeAlias = "int | Group"
"""A part, by its number from 0, or a group."""


def merge_tree(parts: int, fan_in: int, merged_fan_in: int = 0) -> Node:
    """A tree over the parts in their order that is as low as may be, with few merges.

    The last merges take as many single parts as fit beside the groups. Spread evenly over the text and read last, they
    shorten the way from the last answer to the end by one merge.

    Args:
        parts: How many there are, from 1.
        fan_in: How many parts fit into one merge, from 2.
        merged_fan_in: How many that were merged, which may be longer, from 2 to `fan_in`; 0: as many.

    Raises:
        ConfigError: A number is too small.
    """
    merged = merged_fan_in or fan_in
    if parts < 1 or not 2 <= merged <= fan_in:
        raise ConfigError(f"a tree needs 1 part and a fan-in of 2 at least, not {parts}, {fan_in} and {merged}")
    return _tree(0, parts, fan_in, merged)


def _tree(first: int, parts: int, fan_in: int, merged: int) -> Node:
    if parts <= fan_in:
        return _group(range(first, first + parts))
    room = fan_in * merged  # a part takes `merged` of it, a merged one `fan_in`
    fewest = -(-(parts * merged - room) // (room - fan_in))  # (parts - groups * fan_in) * merged + groups * fan_in
    groups = min(max(1, fewest), -(-parts // fan_in))
    if max(0, parts - groups * fan_in) * merged + groups * fan_in <= room:
        singles = max(0, min(parts - 2 * groups, (room - groups * fan_in) // merged))
        return _group(list(_mixed(first, parts, groups, singles)))
    below = fan_in
    while below * merged < parts:
        below *= merged
    children = -(-parts // below)
    ends = [first + parts * at // children for at in range(children + 1)]
    return _group([_tree(start, end - start, fan_in, merged) for start, end in pairwise(ends)])


def _mixed(first: int, parts: int, groups: int, singles: int) -> Iterator[Node]:
    """Groups of about as many parts each, and single parts evenly between them."""
    grouped, slots = parts - singles, groups + singles
    at, done = first, 0
    for slot in range(slots):
        if (slot + 1) * groups // slots > done:
            size = grouped * (done + 1) // groups - grouped * done // groups
            done += 1
            yield _group(range(at, at + size))
            at += size
        else:
            yield at
            at += 1


def _group(nodes: Sequence[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    first, last = nodes[0], nodes[-1]
    return Group(
        tuple(nodes), first if isinstance(first, int) else first.first, last if isinstance(last, int) else last.last
    )


def fan_in_for(sizes: Sequence[int], room: int, asked: int) -> int:
    """How many are likely to fit into a merge, from the sizes of some.

    So many that their sum stays below the room in thirteen cases of fourteen, the few that were seen being as uncertain
    as they are: n * mean + 1.5 * sd * sqrt(n + n**2 / seen). Those that do not fit after all take one merge more.

    Args:
        sizes: Tokens of those that were seen, labels included.
        room: Tokens of a merge.
        asked: Tokens that one would have if it were as long as asked for; what counts where none was seen.

    Returns:
        From 2.
    """
    if not sizes:
        return max(2, room // max(1, asked))
    mean = sum(sizes) / len(sizes)
    spread = (sum((size - mean) ** 2 for size in sizes) / len(sizes)) ** 0.5
    low, high = 2, max(2, int(room / max(1.0, mean)))
    while low < high:
        middle = (low + high + 1) // 2
        if middle * mean + _DEVIATIONS * spread * (middle + middle**2 / len(sizes)) ** 0.5 <= room:
            low = middle
        else:
            high = middle - 1
    return low


def pilots(parts: int) -> list[int]:
    """The parts whose answers tell how long answers are: eight, spread over the text, whatever is answered first."""
    seen = min(parts, PILOTS)
    return sorted({round(at * (parts - 1) / max(1, seen - 1)) for at in range(seen)})


def groups_that_fit(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Neighbours in as few groups as may be, none larger than the room, and all about as large.

    Two that do not fit together are two groups; whoever calls sees to it that any two do, or nothing shrinks.

    Args:
        sizes: Tokens of each, in order.
        room: Tokens that one group may have.

    Returns:
        Ranges (start, end) that cover all, in order.
    """
    if not sizes:
        return []
    least = _packed(sizes, room)
    if len(least) == 1:
        return least
    low, high = max(*sizes, -(-sum(sizes) // len(least))), room
    while low < high:  # the smallest room that needs no more groups: it evens them out
        middle = (low + high) // 2
        if len(_packed(sizes, middle)) <= len(least):
            high = middle
        else:
            low = middle + 1
    return _packed(sizes, low) if low < room else least


def _packed(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    starts, held = [0], 0
    for at, size in enumerate(sizes):
        if at > starts[-1] and held + size > room:
            starts.append(at)
            held = 0
        held += size
    return list(pairwise([*starts, len(sizes)]))
