"""The part of `bench_claims` on calls that are composed: the three-step pipeline, and map-reduce over a long text."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from bench_mapreduce import BOOK, SHORT_CHARS, measured, tree
from common import SHARED
from pipeline_material import CASES, seconds

__all__ = ["Row", "rows"]

SEEDS = 5
TEXT = SHARED / "news_from_nowhere.txt"


class Row(NamedTuple):
    """What is claimed, what was measured, and whether it holds (None: no number was claimed)."""

    claim: str
    claimed: str
    measured: str
    holds: bool | None
    command: str


def rows() -> list[Row]:
    """Those of the pipeline; those of map-reduce where the text is there."""
    return [*_pipelines(), *(_mapreduce(TEXT.read_text("utf-8")) if TEXT.exists() else ())]


def _pipelines() -> list[Row]:
    found = []
    for claimed, ways in CASES:
        before_s, after_s, merged_s = map(seconds, ways)
        said = f"{before_s:.2f} -> {after_s:.2f} s ({before_s / after_s:.1f}x); merged into one call {merged_s:.2f} s"
        numbered = "->" in claimed
        name = "a pipeline of three steps" if numbered else f"a pipeline: {claimed}"
        holds = before_s / after_s >= 2.25 if numbered else None
        asked = claimed if numbered else "sooner; no number given"
        found.append(Row(name, asked, said, holds, "bench/bench_pipeline.py --table"))
    return found


def _mapreduce(book: str) -> list[Row]:
    command = "bench/bench_mapreduce.py --table"
    loop_s = median(measured(seed, tree(book[:SHORT_CHARS], "gpt-5.4-mini", 1, **BOOK))[0] for seed in range(SEEDS))
    ours_s = median(measured(seed, tree(book[:SHORT_CHARS], "gpt-5.4-mini", 64, **BOOK))[0] for seed in range(SEEDS))
    ratio = loop_s / ours_s
    name, said = "map-reduce over 20 pages, 6 chunks", f"{ratio:.2f}x ({loop_s:.2f} -> {ours_s:.2f} s)"
    found = [
        Row(name, "1.58x reached", said, ratio >= 1.58, command),
        Row(name, "2.5x aimed at", said, ratio >= 2.5, command),
    ]
    wide = {**BOOK, "merge_tokens_max": None}
    for model in ("gpt-4.1-mini", "gpt-5.4-mini"):
        took_s = median(measured(seed, tree(book, model, 64, **wide))[0] for seed in range(SEEDS))
        what = f"map-reduce over a whole book, `{model}`"
        found.append(Row(what, "under 5 s", f"{took_s:.2f} s", took_s < 5, command))
    return found
