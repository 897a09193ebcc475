"""A folder summarized: one JSON line a document, resumable, at once or by batches."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from headway.cli import summarize_told as told
from headway.cli.ending import print_json
from headway.cli.summarize_ask import Ask, tell_plan
from headway.cli.summarize_show import Live, Pace, say, write
from headway.errors import HeadwayError, InputError
from headway.jobs.job import journal_path
from headway.pipeline.documents.asking import row_from
from headway.pipeline.documents.batch import Batched, batches_left, batches_path, run_batches
from headway.pipeline.documents.found import Found, find
from headway.pipeline.documents.kept import Kept, open_kept
from headway.pipeline.documents.plan import Plan, plan_of
from headway.pipeline.documents.reading import Document, read_document, shown
from headway.pipeline.documents.rows import Row, line_of
from headway.pipeline.documents.run import Failed, Tally, run_documents
from headway.pipeline.documents.sharing import Share, Shared, Took
from headway.pipeline.mapreduce.dollars import plus

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.jobs.job import Tally as JobTally

__all__ = ["Folder"]


class Folder:
    """A folder, or one file whose summary goes to an output.

    Args:
        ask: What is asked for.
        name: The folder or file.
        out: The output; None: lines go to stdout, each as it is done.
        glob: Which files.
        fresh: Forget what the output holds.
        batch: Chunks go by batches.
    """

    def __init__(self, ask: Ask, name: str, *, out: Path | None, glob: str | None, fresh: bool, batch: bool) -> None:
        self._ask = ask
        self._name = name
        self._out = out
        self._glob = glob
        self._fresh = fresh
        self._batch = batch
        self._found = Found([], Counter())
        self._tally = Tally()
        self._ranks = count()
        self._batched = Batched()
        self._before = 0.0
        self._guessed: Counter[str] = Counter()
        self._shared: Shared | None = None
        self._jobs: JobTally | None = None
        self._live: Live | None = None

    def open(self) -> None:
        """Find the documents. Raises `InputError` when there are none."""
        path = Path(self._name)
        if self._name == "-":
            raise InputError("--out needs files, and INPUT is standard input; leave --out out, and use > FILE")
        if not path.is_dir():
            if self._out is not None and self._out.exists() and path.exists() and self._out.samefile(path):
                raise InputError(f"--out names {shown(path)}, which is the input itself; name another file")
            document = read_document(path)
            if document.problem:
                raise InputError(f"{document.path} {document.problem}; name a text or a folder")
            self._found = Found([path], Counter())
            return
        out = self._out
        without = (out, journal_path(out), batches_path(out)) if out is not None else ()
        self._found = find(path, self._glob, without=without)

    async def plan(self) -> int:
        """Say what it would come to."""
        whole = Plan()
        async with self._ask.engine() as engine:
            out = None if self._fresh else self._out
            with self._kept(engine) if out is not None and journal_path(out).exists() else nullcontext() as kept:
                share = Share(Shared(engine, 1))
                for path in self._found.paths:
                    document = read_document(path)
                    if document.problem:
                        whole.unreadable += 1
                    elif kept is not None and kept.has(document):
                        whole.done += 1
                    else:
                        reduction = self._ask.wishes.reduction(document.text, share, concurrency=1)
                        refine, model = self._ask.wishes.refine, self._ask.reduce_model
                        whole.add(
                            await plan_of(reduction, engine, reduce_model=model, refine=refine, batch=self._batch)
                        )
                        whole.guessed += document.guessed
        tell_plan(whole, self._name, self._ask, batch=self._batch)
        return 0

    async def run(self) -> int:
        """Summarize all; return the exit code."""
        ask = self._ask
        async with ask.engine() as engine:
            ask.wishes.reduction("x", Share(Shared(engine, 1)), concurrency=1)  # what is wrong with all is told at once
            with self._kept(engine) if self._out is not None else nullcontext() as kept:
                self._shared = Shared(engine, ask.concurrency)
                pace = Pace(asyncio.get_running_loop().time)
                stopped = ""
                if kept is not None:
                    stopped = await self._begun(engine, kept)
                if not stopped:
                    shared = self._shared
                    async with self._shown(lambda: told.line(self._tally, shared.took, engine.snapshot(), pace)):
                        await run_documents(
                            self._found.paths,
                            self._summarize,
                            at_once=ask.concurrency,
                            kept=kept,
                            spent=lambda: self._spent(engine),
                            on_row=self._told,
                            tally=self._tally,
                        )
                self._tally.stopped = self._tally.stopped or stopped
                self._tally.total = len(self._found.paths)
            return self._tell(pace.took_s)

    def interrupted(self) -> None:
        """Say what is kept, and how to go on."""
        tally = self._tally
        batched = sum(lane.out for lane in self._jobs.lanes if lane.name == "batch") if self._jobs is not None else 0
        there = f"; {batched:,} requests are in batches that go on at the provider" if batched else ""
        done = f"{tally.done:,} of {tally.total or len(self._found.paths):,} documents"
        if self._out is None:
            say(f"headway summarize: interrupted after {done}; with --out FILE a run can be resumed")
        else:
            say(
                f"headway summarize: interrupted: {done} are in {self._out}{there}; the same command goes on from there"
            )

    # -- the work ------------------------------------------------------------------------------------------------

    def _kept(self, engine: Engine) -> Kept:
        assert self._out is not None
        return open_kept(
            self._out,
            self._ask.wishes.told(),
            folder=self._name,
            origin=engine.settings.base_url,
            count=len(self._found.paths),
            fresh=self._fresh,
        )

    async def _begun(self, engine: Engine, kept: Kept) -> str:
        """Book what earlier runs spent, and have the batches done; why these stopped, or ""."""
        before = kept.spent()
        if not self._batch:
            left = batches_left(kept.out, engine.settings.base_url)
            self._before = max(before, left.dollars)
            if engine.budget is not None:
                engine.budget.cap.book(self._before)
            if left.ids:
                what = f"{left.ids[0]} and others" if len(left.ids) > 1 else left.ids[0]
                say(f"headway summarize: an earlier run left batches at the provider ({what}); --lane batch takes them")
            return ""
        pace = Pace(asyncio.get_running_loop().time)

        def watch(tally: JobTally) -> None:
            self._jobs = tally

        async with self._shown(lambda: told.batch_line(self._jobs, pace)):
            self._batched = await run_batches(
                engine,
                self._found.paths,
                self._first,
                kept,
                api=self._ask.wishes.api,
                concurrency=self._ask.concurrency,
                budget_usd=self._ask.budget_usd,
                spent=before,
                fresh=self._fresh,
                on_progress=watch,
            )
        self._jobs = None
        self._before = max(before, self._batched.before)
        return self._batched.stopped

    def _spent(self, engine: Engine) -> float:
        """Dollars that the job has taken in all; of calls whose price is unknown, nothing."""
        took = self._shared.took.dollars if self._shared is not None else 0.0
        paid = self._before + (self._batched.dollars or 0.0) + (took or 0.0)
        return paid if engine.budget is None else max(paid, engine.budget.cap.dollars_spent)

    def _first(self, document: Document) -> list[bytes]:
        assert self._shared is not None
        task, rows = self._ask.wishes.reduction(document.text, Share(self._shared), concurrency=1).first()
        return [task.body(row) for row in rows]

    async def _summarize(self, document: Document) -> Row:
        assert self._shared is not None
        share, wishes = Share(self._shared, next(self._ranks)), self._ask.wishes
        try:
            found = await wishes.reduction(document.text, share, concurrency=self._ask.concurrency)
        except HeadwayError as error:
            error.trace = error.trace or share.took.failed
            raise Failed(error, share.took.dollars) from error
        row = row_from(document, found, sources=wishes.sources)
        paid = self._batched.paid.pop(document.digest, None)
        return row if paid is None else paid.added(row)

    def _told(self, row: Row, resumed: bool) -> None:
        if isinstance(row.encoding, str):
            self._guessed[row.encoding] += 1
        if self._out is None:
            if self._live is not None:
                self._live.clear()
            write(line_of(row).decode())

    # -- what is shown -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _shown(self, line: Callable[[], str]) -> AsyncGenerator[None, None]:
        plain = not (self._out is None and sys.stdout.isatty())
        self._live = Live(line, quiet=self._ask.quiet, plain=plain)
        async with self._live.shown():
            yield

    def _tell(self, took_s: float) -> int:
        """The figures, and last what the user has to know; the exit code."""
        tally, took = self._tally, self._shared.took if self._shared is not None else Took()
        batched = self._batched.dollars
        dollars = plus(batched, took.dollars)
        if self._ask.json:
            found = told.figures(tally, self._found, took_s, dollars, took.calls)
            found["dollars_in_all"] = plus(self._before, dollars)
            if self._out is not None:
                print_json(found)
            else:
                sys.stderr.write(msgspec.json.encode(found).decode() + "\n")
        elif not self._ask.quiet:
            told.said(tally, self._found, took_s, dollars, before=self._before)
        told.encodings(self._guessed)
        return told.warned(tally, self._out)
