"""The journals of a job's shards, read as one, in the order of the input."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

from headway.errors import ConfigError
from headway.jobs.journal import Journal, Line

__all__ = ["Merged", "merged_offsets"]


class Merged:
    """Journals read as one: a line's number says in which journal it is, and where; see `merged_offsets`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._open: dict[int, Journal] = {}

    def read(self, number: int) -> Line:
        """The line of that number.

        Raises:
            HeadwayError: Its journal is gone, or was changed by another program.
        """
        offset, shard = divmod(number, len(self._paths))
        journal = self._open.get(shard)
        if journal is None:
            journal = self._open[shard] = _to_read(self._paths[shard])
        return journal.read(offset)

    def close(self) -> None:
        """Let go of them. Idempotent."""
        while self._open:
            self._open.popitem()[1].close()


def _to_read(path: Path) -> Journal:
    try:
        return Journal(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; run the job again") from None


def merged_offsets(places: Sequence[int], offsets: Sequence[Sequence[int]]) -> array[int]:
    """The numbers of the rows' lines, in input order: offset * shards + shard; -1 for a row that is not done.

    Args:
        places: Each row's shard, in input order.
        offsets: Of each shard, its rows' offsets in its journal, in the same order; missing ones are not done.
    """
    following = [iter(of_shard) for of_shard in offsets]
    shards, numbers = len(offsets), array("q")
    for place in places:
        offset = next(following[place], -1)
        numbers.append(offset * shards + place if offset >= 0 else -1)
    return numbers
