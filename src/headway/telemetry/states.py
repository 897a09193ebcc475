"""What was counted, as plain numbers that can be added up: over workers, and over those that are gone.

A state is a mapping from a family's name to one from label values to numbers: a counter's one, or a histogram's counts
by bucket (each for itself, the last one for what is above all bounds) and then its sum.

What only grows is a whole number: seconds and dollars are counted in billionths. Whole numbers add up to the same in
any order, and a counter that fell by its last digit, because a worker was added up elsewhere, would look to Prometheus
as if it had begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from headway.telemetry.families import FAMILIES, GAUGES

__all__ = ["NANO", "State", "add_to", "kept", "merged", "nanos", "packed", "unpacked"]

NANO: Final = 1e-9

State: TypeAlias = dict[str, dict[tuple[str, ...], list[int | float]]]
_Packed: TypeAlias = dict[str, list[tuple[tuple[str, ...], list[int | float]]]]

_decoder = msgspec.msgpack.Decoder(_Packed)
_LENGTHS = {family.name: len(family.bounds) + 2 if family.bounds else 1 for family in (*FAMILIES, *GAUGES)}
_EXTREME = {family.name: max if family.over == "max" else min for family in GAUGES if family.over != "sum"}
_COUNTED = frozenset(family.name for family in FAMILIES)


def add_to(state: State, name: str, labels: tuple[str, ...], values: Sequence[float]) -> None:
    """Add one line of a family to a state."""
    lines = state.setdefault(name, {})
    own = lines.get(labels)
    if own is None:
        lines[labels] = list(values)
    elif (extreme := _EXTREME.get(name)) is not None:
        own[0] = extreme(own[0], values[0])
    else:
        for place, value in enumerate(values):
            own[place] += value


def nanos(amount: float) -> int:
    """Seconds or dollars as a state counts them."""
    return round(amount / NANO)


def packed(state: State) -> bytes:
    """A state in bytes."""
    return msgspec.msgpack.encode({name: list(lines.items()) for name, lines in state.items()})


def unpacked(data: bytes) -> State:
    """A state out of bytes; b"" is the empty one. What this version does not know is left out.

    Raises:
        msgspec.MsgspecError: They are no state.
    """
    found = _decoder.decode(data) if data else {}
    return {
        name: {tuple(labels): values for labels, values in lines if len(values) == _LENGTHS[name]}
        for name, lines in found.items()
        if name in _LENGTHS
    }


def merged(states: Iterable[State]) -> State:
    """The sum of several."""
    whole: State = {}
    for state in states:
        for name, lines in state.items():
            for labels, values in lines.items():
                add_to(whole, name, labels, values)
    return whole


def kept(states: Iterable[bytes]) -> bytes:
    """What remains of processes that are gone: the sum of what only grows, packed. Gauges go with them.

    Whoever adds up the states of living workers adds this, so that no counter falls when a worker is replaced. Put in
    what it gave before, and the last state of each worker that has gone since.

    Raises:
        msgspec.MsgspecError: One of them is no state.
    """
    whole = merged(map(unpacked, states))
    return packed({name: lines for name, lines in whole.items() if name in _COUNTED})
