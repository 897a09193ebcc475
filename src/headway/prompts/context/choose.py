"""Which parts of a text to take into a given room: its ends, or what answers a query best."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from headway.prompts.context.counting import Counter
from headway.prompts.context.graphemes import after, before
from headway.prompts.context.layout import LEVELS, Heading, Part, Span, cuts
from headway.prompts.context.score import scores

__all__ = ["Unit", "best", "ends_of", "packed"]

_FULL: Final = 0.5
"""A room that is this full is not filled up with words or less."""
_NEIGHBOUR: Final = 0.5
"""Chosen on the twenty questions of bench/bench_context.py: from 0.25 to 0.5, more of the passages around the answers
is kept than with none, at every size of passages tried."""
_CHARS_A_TOKEN: Final = 64
"""A cut that is further away than so many characters a token is not looked for: no token is longer on average."""


def ends_of(text: str, parts: Sequence[Part], count: Counter, tail: float) -> Callable[[int], list[Span]]:
    """Takes the beginning and, for its share of the room, the end."""
    free = [part for part in parts if not part.keep]

    def choose(room: int) -> list[Span]:
        back = taken(text, free[::-1], int(room * tail), count, backwards=True)
        left = room - sum(count(text[start:end]) for start, end in back)
        first = min((start for start, _ in back), default=len(text))
        rest = [part._replace(end=min(part.end, first)) for part in free if part.start < first]
        return [*(taken(text, rest, left, count) if tail < 1 or not back else ()), *back]

    return choose


def taken(text: str, parts: Sequence[Part], room: int, count: Counter, *, backwards: bool = False) -> list[Span]:
    """As much of the parts, from the first on, as fits; what cannot be cut and would never fit is passed over."""
    spans: list[Span] = []
    left = room
    for whole in parts:
        part = whole
        if left <= 0 and _says(text, spans):
            break
        tokens = count(text[part.start : part.end])
        if tokens <= left:
            spans.append((part.start, part.end))
            left -= tokens
            continue
        if not _says(text, spans):  # white space must not take the room of the first words
            spans, left = [], room
            part = _trimmed(text, part, backwards=backwards)
        if not part.hard:
            span = _some(text, part, left, count, fine=left > _FULL * room, backwards=backwards)
            if span is not None:
                spans.append(span)
                break
        if _says(text, spans):
            break
    return spans


def _trimmed(text: str, part: Part, *, backwards: bool) -> Part:
    """The part without the white space at the end that is taken first."""
    own = text[part.start : part.end]
    if part.hard or not own.strip():
        return part
    if backwards:
        return part._replace(end=after(text, part.start + len(own.rstrip())))
    return part._replace(start=before(text, part.end - len(own.lstrip())))


def _says(text: str, spans: Sequence[Span]) -> bool:
    """Whether there is more in them than white space."""
    return any(text[start:end].strip() for start, end in spans)


def _some(text: str, part: Part, room: int, count: Counter, *, fine: bool, backwards: bool) -> Span | None:
    """The longest beginning (or end) of a part that fits, cut at the largest unit; None when nothing does."""
    start, end = part.start, part.end
    reach = room * _CHARS_A_TOKEN
    if backwards:
        start = max(start, before(text, max(end - reach, 0)))
    else:
        end = min(end, after(text, start + reach))
    place = edge = end if backwards else start
    for level in LEVELS:
        taken_tokens = count(text[min(place, edge) : max(place, edge)])
        if LEVELS.index(level) >= 2 and not (fine and taken_tokens <= _FULL * room):
            break
        if backwards:
            places = [start, *cuts(text, start, place, level)[:-1]] if place > start else []
            fits = [-at for at in places if at < place]
            place = -_furthest(fits[::-1], -place, lambda at: count(text[-at:edge]) <= room)
        else:
            places = cuts(text, place, end, level) if place < end else []
            place = _furthest(places, place, lambda at: count(text[edge:at]) <= room)
    if place == edge:
        return None
    return (place, edge) if backwards else (edge, place)


def _furthest(places: Sequence[int], near: int, fits: Callable[[int], bool]) -> int:
    """The last of the rising places that fits, if they do up to it; else `near`."""
    low, high = 0, len(places)
    while low < high:
        middle = (low + high) // 2
        if fits(places[middle]):
            low = middle + 1
        else:
            high = middle
    return places[low - 1] if low else near


def _with_neighbours(scored: Sequence[float]) -> list[float]:
    """Each score and a share of its neighbours': what answers goes on over the end of a passage."""
    padded = [0.0, *scored, 0.0]
    return [padded[i] + _NEIGHBOUR * (padded[i - 1] + padded[i + 1]) for i in range(1, len(padded) - 1)]


class Unit(NamedTuple):
    """What is taken together: a section, or a passage."""

    parts: tuple[Part, ...]
    title: str

    def text(self, text: str) -> str:
        return " ".join((self.title, *(text[part.start : part.end] for part in self.parts)))


def best(
    text: str,
    parts: Sequence[Part],
    borders: Sequence[Heading],
    heads: Sequence[Heading],
    query: str,
    count: Counter,
    chunk_tokens: int,
) -> Callable[[int], list[Span]] | None:
    """Takes the units that answer the query best; None where none holds a word of it. Where none fits, the beginning.

    Args:
        text: The text.
        parts: Its parts; those to keep are left out.
        borders: Headings at which units begin: sections. Without any, units are passages of `chunk_tokens`.
        heads: All headings: a unit is judged with the last one above it.
        query: What is asked.
        count: Counts tokens.
        chunk_tokens: The size of passages.
    """
    free = [part for part in parts if not part.keep]
    units = _sections(text, free, borders) if borders else packed(text, free, count, chunk_tokens, heads)
    scored = scores([unit.text(text) for unit in units], query)
    if not borders:
        scored = _with_neighbours(scored)
    beginning = ends_of(text, parts, count, 0.0)
    ranked = [units[i] for i in sorted(range(len(units)), key=lambda i: (-scored[i], i)) if scored[i] > 0]
    if not ranked:
        return None

    def choose(room: int) -> list[Span]:
        spans: list[Span] = []
        left = room
        for unit in ranked:
            tokens = sum(count(text[part.start : part.end]) for part in unit.parts)
            if tokens <= left:
                spans += [(part.start, part.end) for part in unit.parts]
                left -= tokens
            elif borders or not spans:
                # Of the best one that is too long a part; scraps of those behind it would say nothing.
                inner = best(text, unit.parts, (), heads, query, count, chunk_tokens) if borders else None
                spans += inner(left) if inner is not None else taken(text, unit.parts, left, count)
                if _says(text, spans):
                    return spans
        return spans if _says(text, spans) else beginning(room)

    return choose


def _sections(text: str, free: Sequence[Part], borders: Sequence[Heading]) -> list[Unit]:
    """From each heading to the next; what stands before the first is a section as well."""
    places = [heading.at for heading in borders]
    units: dict[int, list[Part]] = {}
    for part in free:
        first, behind = bisect_right(places, part.start), bisect_left(places, part.end)
        inside = [] if part.hard else places[first:behind]
        for start, end in zip([part.start, *inside], [*inside, part.end], strict=True):
            units.setdefault(bisect_right(places, start), []).append(part._replace(start=start, end=end))
    return [Unit(tuple(own), "") for _, own in sorted(units.items())]


def _pieces(text: str, free: Sequence[Part], count: Counter, size: int) -> Iterator[Part]:
    """Parts of at most `size` tokens, cut at the largest unit that does; hard ones may be longer."""
    for part in free:
        if part.hard or count(text[part.start : part.end]) <= size:
            yield part
            continue
        yield from _cut(text, part, count, size, 0)


def _cut(text: str, part: Part, count: Counter, size: int, level: int) -> Iterator[Part]:
    at, last = part.start, level + 1 == len(LEVELS)
    places = cuts(text, part.start, part.end, LEVELS[level])
    for place in [*places[size - 1 : -1 : size], places[-1]] if last else places:
        piece = Part(at, place, hard=False)
        if last or count(text[at:place]) <= size:
            yield piece
        else:
            yield from _cut(text, piece, count, size, level + 1)
        at = place


def packed(
    text: str, free: Sequence[Part], count: Counter, size: int, heads: Sequence[Heading] | None = None
) -> list[Unit]:
    """The parts in passages of about `size` tokens; what cannot be cut may be longer.

    With `heads`, all headings, a passage ends before each of them, and where parts are missing; it knows the last
    heading above it. Without, passages go on over both.
    """
    places = [heading.at for heading in heads or ()]
    units: list[Unit] = []
    own: list[Part] = []
    tokens, section = 0, 0

    def close() -> None:
        if own:
            units.append(Unit(tuple(own), heads[section - 1].title if heads and section else ""))

    for piece in _pieces(text, free, count, size):
        more, here = count(text[piece.start : piece.end]), bisect_right(places, piece.start)
        apart = heads is not None and own and (here != section or own[-1].end != piece.start)
        if apart or tokens + more > size:
            close()
            own, tokens = [], 0
        own.append(piece)
        tokens, section = tokens + more, here
    close()
    return units
