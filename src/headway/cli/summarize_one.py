"""One text summarized: shown while it is being written, and what it took."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headway.cli.ending import print_json
from headway.cli.summarize_ask import Ask, tell_plan
from headway.cli.summarize_show import Live, Pace, say, write
from headway.errors import HeadwayError, InputError
from headway.pipeline.documents.plan import plan_of
from headway.pipeline.documents.reading import Document, document_of, read_document, shown
from headway.pipeline.documents.sharing import Share, Shared
from headway.pipeline.mapreduce import Progress
from headway.pipeline.mapreduce.aside import aside
from headway.report import format as fmt

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.pipeline.mapreduce import MapReduced, MapReduction

__all__ = ["One"]

_SEQUENTIAL_MIN = 1.05


class One:
    """One text. `open` it outside of the loop: waiting for standard input, Ctrl-C has to work.

    Args:
        ask: What is asked for.
        name: A file, or "-".
    """

    def __init__(self, ask: Ask, name: str) -> None:
        self._ask = ask
        self._name = name
        self._document = Document(path=name)
        self._share: Share | None = None
        self._pace: Pace | None = None
        self._progress: Progress | None = None
        self._ttft_s: float | None = None
        self._ends = "\n"
        self._live: Live | None = None

    def open(self) -> None:
        """Read the text. Raises `InputError` when it cannot be summarized."""
        if self._name == "-":
            self._document = document_of(sys.stdin.buffer, "standard input")
        elif (path := Path(self._name)).exists() and not path.is_file():  # a pipe, as of <(...): waited for, as asked
            try:
                with path.open("rb") as file:
                    self._document = document_of(file, shown(path))
            except OSError as error:
                raise InputError(f"{shown(path)} cannot be read: {error.strerror}; name a text") from None
        else:
            self._document = read_document(path)
        if self._document.problem:
            way_out = "" if ";" in self._document.problem else "; name a text that can be summarized"
            raise InputError(f"{self._document.path} {self._document.problem}{way_out}")
        if self._document.guessed:
            name, encoding = fmt.printable(self._document.path), self._document.encoding
            say(
                f"headway summarize: {name} is no UTF-8 and is read as {encoding}, a guess; save it as UTF-8 to be sure"
            )

    async def plan(self) -> int:
        """Say what it would come to."""
        async with self._ask.engine() as engine:
            plan = await plan_of(
                self._reduction(engine), engine, reduce_model=self._ask.reduce_model, refine=self._ask.wishes.refine
            )
        tell_plan(plan, self._document.path, self._ask)
        return 0

    async def run(self) -> int:
        """Summarize it; return the exit code."""
        ask = self._ask
        async with ask.engine() as engine:
            reduction = self._reduction(engine)
            self._pace = Pace(asyncio.get_running_loop().time)
            chunks = len((await aside(lambda: reduction.plan, len(self._document.text))).spans)
            self._progress = Progress(phase="map", chunks=chunks, mapped=0, failed=0, merges=0, merged=0)
            self._live = Live(self._line, quiet=ask.quiet)
            try:
                async with self._live.shown(), aclosing(reduction.pieces()) as pieces:
                    async for piece in pieces:
                        self._write(piece)
            except HeadwayError:
                self._end_line()
                raise
            took_s = self._pace.took_s
        result = reduction.result
        self._end_line()
        if ask.json:
            print_json(self._data(result, took_s))
        elif ask.wishes.sources:
            write(_sources(result))
        if not ask.quiet and not ask.json:
            say(self._took(result, took_s), dim=True)
        self._warn(result)
        return 1 if result.gaps else 0

    def interrupted(self) -> None:
        """Say what is kept, and how to go on."""
        self._end_line()
        took, way_on = self._share.took if self._share is not None else None, "the same command goes on from there"
        if took is None or not took.calls:
            say("headway summarize: interrupted before anything was answered")
        elif not self._ask.cache:
            say(f"headway summarize: interrupted after {took.calls:,} answers, none of them kept (--no-cache)")
        else:
            spent = f" for {fmt.dollars(took.dollars)}" if took.dollars else ""
            say(f"headway summarize: interrupted; {took.calls:,} answers{spent} are kept in the cache, and {way_on}")

    def _reduction(self, engine: Engine) -> MapReduction:
        ask = self._ask
        self._share = Share(Shared(engine, ask.concurrency))
        return ask.wishes.reduction(self._document.text, self._share, concurrency=ask.concurrency, progress=self._watch)

    def _watch(self, progress: Progress) -> None:
        self._progress = progress

    def _write(self, piece: str) -> None:
        if not piece:
            return
        if self._ttft_s is None and self._pace is not None:
            self._ttft_s = self._pace.took_s
            if self._live is not None:
                self._live.hide()
        if not self._ask.json:
            self._ends = piece
            write(piece)

    def _end_line(self) -> None:
        if not self._ends.endswith("\n"):
            self._ends = "\n"
            write("\n")

    def _line(self) -> str:
        """How far it is, for a terminal."""
        progress, share, pace = self._progress, self._share, self._pace
        if share is None or pace is None:
            return ""
        parts = [fmt.printable(self._document.path), fmt.seconds(pace.took_s)]
        if progress is not None and progress.chunks > 1:
            parts.append(f"chunks {progress.mapped:,}/{progress.chunks:,}")
            parts.append(f"merges {progress.merged:,}/{progress.merges:,}" if progress.merges else "")
            parts += [f"{progress.failed:,} failed"] * bool(progress.failed)
            parts += ["refining"] * (progress.phase == "refine")
            parts.append(pace.left(progress.mapped, progress.chunks))
        parts.append("cost unknown" if share.took.dollars is None else fmt.dollars(share.took.dollars))
        return "  ".join(part for part in parts if part)

    def _took(self, result: MapReduced, took_s: float) -> str:
        """The last line."""
        chunks, levels, hits = len(result.chunks), result.levels, result.hits
        parts = [
            "1 chunk" if chunks == 1 else f"{chunks:,} chunks in {levels} {'level' if levels == 1 else 'levels'}",
            f"{result.calls:,} {'call' if result.calls == 1 else 'calls'}"
            + (f" ({hits:,} from the cache)" * bool(hits)),
            f"TTFT {fmt.seconds(self._ttft_s)}",
            f"total {fmt.seconds(took_s)}",
            f"cost {fmt.dollars(result.dollars)}",
            f"{len(result.text.split()):,} words",
        ]
        faster = self._faster(took_s)
        if faster is not None and result.calls > 1:
            parts.append(f"{faster:.1f}x faster than one call after the other")
        return ", ".join(parts)

    def _faster(self, took_s: float) -> float | None:
        """How many times as long the calls took one after the other; None where hits would make that a guess."""
        if self._share is None or self._share.took.hits or took_s <= 0:
            return None
        times = self._share.took.busy_s / took_s
        return times if times >= _SEQUENTIAL_MIN else None

    def _data(self, result: MapReduced, took_s: float) -> dict[str, Any]:
        data = result.data() if self._ask.wishes.sources else {**result.data(), "sources": msgspec.UNSET}
        return {
            "path": self._document.path,
            **{name: value for name, value in data.items() if value is not msgspec.UNSET},
            "ttft_s": self._ttft_s,
            "total_s": took_s,
            "times_faster": self._faster(took_s),
        }

    def _warn(self, result: MapReduced) -> None:
        """What is odd about the summary."""
        if result.gaps:
            missing = sum(gap.last - gap.first + 1 for gap in result.gaps)
            parts, again = f"{missing:,} of {len(result.chunks):,} chunks", "; the same command asks for them again"
            say(f"headway summarize: {parts} are missing: {fmt.printable(result.gaps[0].reason.rstrip('.'))}{again}")
        if result.cut:
            say("headway summarize: the summary was cut at its bound; ask for fewer --words")


def _sources(result: MapReduced) -> str:
    """The summary's sentences, and where each comes from."""
    lines, last = ["", "Sources"], ""
    for one in result.sources:
        if one.sentence != last:
            lines.append(f"\n  {' '.join(one.sentence.split())}")
            last = one.sentence
        lines.append(f"    chunk {one.chunk}, characters {one.start:,}-{one.end:,}: {' '.join(one.text.split())}")
    return "\n".join(lines) + "\n"
