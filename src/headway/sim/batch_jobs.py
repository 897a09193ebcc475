"""Batches of either provider as the simulator keeps them: rows in, answers out, worked on when somebody looks.

Nothing runs in the background. Whoever asks about a batch has the rows answered that are due by then, so that a
window of 24 h costs nothing under virtual time and the books are right whenever they are read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from math import inf, nextafter
from typing import Any, Final, Literal

import msgspec

from headway.sim.ask import Api
from headway.sim.batch_clock import Clock, draw_clock
from headway.sim.batch_rows import Answered, RowAuthor
from headway.sim.batch_settings import BatchSettings, FaultDice
from headway.sim.refusals import Refused
from headway.sim.text import Memo, dice, digest
from headway.types import Usage

__all__ = ["Job", "Jobs", "RowIn", "Who"]

_ROW_FAULTS: Final = ("row_expired", "row_missing", "row_400", "row_429", "row_500")
_AT_ONCE: Final = 50
"""Rows answered before other requests get their turn."""
_PATIENCE_S: Final = 2.0
_CONTENTS_MAX: Final = 100_000
_SCOPES_MAX: Final = 1_000


class RowIn(msgspec.Struct, frozen=True):
    """A row to be run; its body is a view into the file it came in."""

    custom_id: str
    body: msgspec.Raw


class Who(msgspec.Struct, frozen=True):
    """Whose request it is."""

    credential: str
    """Digest of the key, for the books."""
    scope: str
    """What limits, files and batches belong to: the key, or its organisation where one is known."""
    organisation: str


class Job(msgspec.Struct, kw_only=True):
    """One batch."""

    id: str
    kind: Literal["batch", "msgbatch"]
    who: Who
    api: Api
    path: str
    model: str
    rows: tuple[RowIn, ...]
    """Until it has ended."""
    total: int
    tokens: int
    """Of its prompts, as the queue counts them."""
    clock: Clock
    wall_offset_s: float
    """Calendar time less the loop's."""
    order: list[tuple[float, int]]
    """When each row is due, and which it is, earliest first; rows that are never run are not in it."""
    faults: dict[int, str]
    """By row."""
    fault: str = ""
    """Of the batch: "failed", "counts", "output_404" or ""."""
    errors: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Why it failed, where it did; known from the start, told once it has been checked."""
    about: dict[str, Any] = msgspec.field(default_factory=dict)
    """What its provider's format echoes: input file, window, metadata."""
    next: int = 0
    """The first in `order` that was not run yet."""
    answers: dict[int, Answered] = msgspec.field(default_factory=dict)
    """By row, in the order they were run."""
    seen_s: float = 0.0
    """What is told of it is how it was then: its rows that were due have been run."""
    closed: bool = False
    """Its results are written, and rows and answers are let go."""
    succeeded: int = 0
    """Rows that were answered with a 200."""
    failed: int = 0
    """Rows that are told as failed: answered otherwise, expired or cancelled."""
    usage: Usage = Usage()
    """Of all rows."""
    results: bytes = b""
    """Of a Message Batch, once it has ended."""
    files: tuple[str | None, str | None] = (None, None)
    """Ids of its output and its error file, once it has ended."""

    def wall_s(self, at_s: float) -> float:
        """Calendar time of a reading of the loop's."""
        return at_s + self.wall_offset_s

    def ended(self, now_s: float) -> bool:
        """Whether nothing about it will change."""
        return now_s >= (self.clock.started_s if self.errors else self.clock.ended_s)

    def unanswered(self) -> Iterator[str]:
        """The ids of rows that were not run and are not missing, once it has ended."""
        for place, row in enumerate(self.rows):
            if place not in self.answers and self.faults.get(place) != "row_missing":
                yield row.custom_id

    def close(self) -> None:
        """Let go of rows and answers: its results are written."""
        self.closed = True
        self.rows, self.order, self.next, self.answers, self.faults = (), [], 0, {}, {}


class Jobs:
    """Every batch, of all organisations.

    Args:
        settings: See `BatchSettings`.
        seed: The simulator's.
        author: Answers and books rows.
        faults: What befalls rows, batches and calls.
        wall: Calendar time.
    """

    def __init__(
        self, settings: BatchSettings, seed: int, author: RowAuthor, faults: FaultDice, wall: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.author = author
        self.faults = faults
        self._seed = seed
        self._wall = wall
        self._jobs: dict[str, Job] = {}
        self._times: Memo[bytes, int] = Memo(_CONTENTS_MAX)
        self._created: Memo[str, deque[float]] = Memo(_SCOPES_MAX)

    def make(
        self, kind: Literal["batch", "msgbatch"], who: Who, api: Api, path: str, rows: tuple[RowIn, ...], *,
        content: bytes, model: str = "", tokens: int = 0,
    ) -> Job:  # fmt: skip
        """A batch and all that will happen to it; it is nobody's until it is added.

        Args:
            kind: Whose kind of batch.
            who: Whose it is.
            api: The format of its rows.
            path: Their endpoint.
            rows: What is to be run.
            content: Digest of them: the same batch made again has other dice than the first.
            model: Whose queue it stands in.
            tokens: Of its prompts.
        """
        now_s, settings = asyncio.get_running_loop().time(), self.settings
        number = self._times.put(content, (self._times.get(content) or 0) + 1)
        rng = dice(self._seed, kind, content, number)
        clock = draw_clock(now_s, rng, settings.scale, settings.duration_s)
        span_s = clock.rows_done_s - clock.started_s
        order, faults = [], {}
        for place in range(len(rows)):
            due_s = clock.started_s + span_s * rng.random()
            if fault := self.faults.throw(_ROW_FAULTS, rng):
                faults[place] = fault
            if fault == "row_expired":
                clock.rows_done_s = inf
            elif fault != "row_missing":
                order.append((due_s, place))
        order.sort()
        return Job(
            id=f"{kind}_{digest(kind, self._seed, who.scope, content, number).hex()}", kind=kind, who=who, api=api,
            path=path, model=model, rows=rows, total=len(rows), tokens=tokens, clock=clock,
            wall_offset_s=self._wall() - now_s, order=order, faults=faults,
            fault=self.faults.throw(("failed", "counts", "output_404"), rng),
        )  # fmt: skip

    async def add(self, job: Job) -> None:
        """Keep it and do what is due at once; the oldest that has ended is forgotten where there are too many.

        Raises:
            Refused: 429; there are too many, and none has ended.
        """
        now_s = job.clock.created_s
        if len(self._jobs) >= self.settings.batches_max:
            oldest = next((old.id for old in self._jobs.values() if old.ended(now_s) and _worked(old, now_s)), None)
            if oldest is None:
                raise _too_many("Too many batches are in progress.")
            del self._jobs[oldest]
        self._jobs[job.id] = job
        made = self._created.get(job.who.scope) or self._created.put(job.who.scope, deque())
        made.append(now_s)
        await self.work(job, now_s)

    def check_rate(self, who: Who) -> None:
        """Raises `Refused` (429) where too many batches were created within the last hour."""
        now_s = asyncio.get_running_loop().time()
        made = self._created.get(who.scope) or deque()
        while made and made[0] <= now_s - 3_600:
            made.popleft()
        if len(made) >= self.settings.batches_per_hour:
            limit = self.settings.batches_per_hour
            raise _too_many(f"Rate limit reached for batch creation: Limit {limit} batches per hour.")

    def queued_tokens(self, who: Who, model: str) -> int:
        """Prompt tokens of the batches of an organisation and model that have not ended."""
        now_s = asyncio.get_running_loop().time()
        mine = (job for job in self._jobs.values() if job.who.scope == who.scope and job.model == model)
        return sum(job.tokens for job in mine if not job.errors and not job.ended(now_s))

    async def get(self, kind: str, who: Who, job_id: str) -> Job | None:
        """A batch with everything done that is due; None where this organisation has no such one."""
        job = self._jobs.get(job_id)
        if job is None or job.kind != kind or job.who.scope != who.scope:
            return None
        await self.work(job)
        return job

    def all(self, kind: str, who: Who) -> list[Job]:
        """The batches of an organisation, newest first; what is due in them may be undone yet."""
        return [job for job in reversed(self._jobs.values()) if job.kind == kind and job.who.scope == who.scope]

    def cancel(self, job: Job) -> bool:
        """Cancel a batch; False where it has stopped running rows already."""
        clock = job.clock
        if job.ended(job.seen_s) or (job.seen_s >= clock.stop_s and clock.cancelling_s == inf):
            return False
        clock.cancelling_s = min(clock.cancelling_s, job.seen_s)
        return True

    def forget(self, job: Job) -> None:
        """Drop a batch and its results."""
        del self._jobs[job.id]

    async def settle(self) -> None:
        """Do everything that is due, for the books."""
        for job in list(self._jobs.values()):
            await self.work(job, patient=True)

    async def work(self, job: Job, until_s: float | None = None, *, patient: bool = False) -> None:
        """Answer the rows of a batch that are due, which is then when it was seen.

        Args:
            job: The batch.
            until_s: When they are due; None for now.
            patient: Do all of them, however long it takes. Else whoever asks gets an answer after 2 s of work, and
                finds the batch as it was just before the next row was due.
        """
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        until_s = now_s if until_s is None else until_s
        while not _worked(job, until_s):
            for _ in range(_AT_ONCE):
                if _worked(job, until_s):
                    break
                due_s, place = job.order[job.next]
                job.next += 1
                row = job.rows[place]
                answered = job.answers[place] = self.author.answer(
                    job.api, job.path, bytes(row.body), batch=job.id, custom_id=row.custom_id,
                    credential=job.who.credential, wall_s=job.wall_s(due_s), fault=job.faults.get(place, ""),
                )  # fmt: skip
                job.succeeded += answered.status == 200
                job.failed += answered.status != 200
                job.usage = _sum(job.usage, answered.usage)
            await asyncio.sleep(0)
            if not patient and loop.time() > now_s + _PATIENCE_S and not _worked(job, until_s):
                job.seen_s = max(job.seen_s, nextafter(job.order[job.next][0], -inf))
                return
        job.seen_s = max(job.seen_s, until_s)


def _worked(job: Job, now_s: float) -> bool:
    """Whether no row is due that was not run."""
    if job.errors or job.next >= len(job.order):
        return True
    return job.order[job.next][0] > min(now_s, job.clock.stop_s)


def _too_many(message: str) -> Refused:
    return Refused(429, message, "requests", "rate_limit_exceeded", outcome="throttled")


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )
