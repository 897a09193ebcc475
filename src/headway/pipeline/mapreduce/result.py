"""What map-reduce gives: the answer, and where each part of it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = ["Chunk", "Gap", "MapReduced", "Merge", "Progress", "Source", "Watch"]


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the text, and what was said of it."""

    id: int
    """From 1, in the order of the text."""
    start: int
    """Where it begins in the text, in characters from 0."""
    end: int
    tokens: int
    """As counted beforehand."""
    summary: str = ""
    """"" where there is none."""
    error: str = ""
    """Why there is none, in one sentence."""
    cut: bool = False
    """Whether its summary ended at its bound, twice."""


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbours that were merged into one."""

    level: int
    """1 where it merges chunks only; one more than the highest below it otherwise."""
    first: int
    """The first chunk below it, by id."""
    last: int
    """The last one."""
    inputs: tuple[tuple[int, int], ...]
    """The chunks, (first, last), that each of the merged texts stands for."""
    tokens_in: int
    tokens: int
    error: str = ""
    cut: bool = False


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Chunks that the answer knows nothing of."""

    first: int
    """By id."""
    last: int
    start: int
    """In characters of the text."""
    end: int
    reason: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the answer, and a sentence of the text that it rests on."""

    sentence: str
    """Of the answer."""
    chunk: int
    """The chunk's id."""
    start: int
    """Where the source sentence stands in the text, in characters."""
    end: int
    text: str
    score: float
    """The share of the sentence's words that are in the source, the rare ones counting for more; 0 to 1."""


class MapReduced(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a long text."""

    text: str
    """The answer; with ``on_chunk_error="mark"``, a last paragraph says which parts are missing."""
    chunks: tuple[Chunk, ...]
    merges: tuple[Merge, ...]
    """In the order in which they ended; the answer's own is the last. None for a text that fits in one call."""
    gaps: tuple[Gap, ...]
    sources: tuple[Source, ...]
    """For each sentence of the answer the best one or two of the text; none for a sentence that nothing supports."""
    draft: str
    """The answer before it was refined; "" without `refine`."""
    cut: bool
    """Whether the answer ended at its bound."""
    calls: int
    attempts: int
    hits: int
    """Calls that a cache answered."""
    input_tokens: int
    output_tokens: int
    dollars: float | None
    """None: the model's price is unknown."""
    elapsed_s: float
    map_s: float
    """Until the last chunk was read, of `elapsed_s`."""

    @property
    def levels(self) -> int:
        """How many merges lie between a chunk and the answer at the most; 0 for one call."""
        return max((merge.level for merge in self.merges), default=0)

    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built | {"levels": self.levels}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is."""

    phase: Literal["map", "reduce", "refine", "done"]
    chunks: int
    mapped: int
    """Chunks that are read, or failed."""
    failed: int
    merges: int
    """As planned; more are made where summaries turn out longer than asked for."""
    merged: int


Watch: TypeAlias = Callable[[Progress], None]
