"""What a worker of a job on many machines does: one engine, and one shard after the other through it.

Nothing here imports Ray: `jobs.ray_cluster` hands the class to it. A shard is a job of its own, with a journal of its
own; run again after a crash, it goes on where that one ends.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from headway.engine import Engine, SyncEngine
from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.journal import Header, Journal
from headway.jobs.runner import Finished, JobSettings, run_job
from headway.jobs.shards import begin, open_rows, rows_path, shard_journal
from headway.types import Result
from headway.types.secret import Secret

__all__ = ["RESUMED", "Plan", "Report", "ShardActor", "ShardDone"]

RESUMED = -1.0
"""In place of a start: an earlier run had the row."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What every worker is told. It is pickled, and shows no key."""

    job: JobSettings
    folder: Path
    """The shards', under the same path for all workers."""
    rows: list[int]
    """Of each shard."""
    columns: tuple[str, ...]
    engine: dict[str, Any]
    """Settings of the engine, but for the secret ones."""
    config: Path
    """The settings file, where all workers can read it."""
    environ: Secret
    """Variables with keys in them, as a JSON object."""
    start_wall_s: float
    """When the job began, Unix seconds."""


class ShardDone(msgspec.Struct, frozen=True, kw_only=True):
    """How a shard ended. Per row, in the shard's order: where its line is (int64), when it was begun (float32)."""

    shard: int
    done: int
    failed: int
    resumed: int
    offsets: bytes
    starts: bytes
    stopped: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker gives back: its shards, or the error that ended its work."""

    shards: list[ShardDone] = []
    attempts: int = 0
    throttled: int = 0
    allowed_rpm: float | None = None
    error: str = ""
    yours: bool = False
    """Whether the error is the user's to mend: a setting or the input."""


class ShardActor:
    """One worker. Called with groups of shards; those of a group run at once, and share the rows in flight."""

    def __init__(self, plan: Plan) -> None:
        # Not by Ray's runtime environment: Ray writes that into its logs.
        os.environ.update(msgspec.json.decode(plan.environ.reveal(), type=dict[str, str]))
        self._plan = plan
        self._engine: SyncEngine | None = None
        self._rows = 0

    def __call__(self, batch: Mapping[str, Iterable[Iterable[int]]]) -> dict[str, list[str]]:
        """Run the shards in the column ``shards``; the answer's only column is a `Report` as JSON, for each group."""
        reports = [self._report([int(shard) for shard in group]) for group in batch["shards"]]
        return {"report": [msgspec.json.encode(report).decode() for report in reports]}

    def close(self) -> None:
        """Close the engine. Idempotent."""
        if self._engine is not None:
            self._engine.close()

    def __del__(self) -> None:
        self.close()  # Ray lets go of the object before it ends the process

    def _report(self, shards: list[int]) -> Report:
        try:
            if self._engine is None:
                self._engine = SyncEngine(config=self._plan.config, **self._plan.engine)
            return self._engine.run(lambda engine: self._work(engine, shards))
        except HeadwayError as error:
            return Report(error=str(error), yours=isinstance(error, ConfigError | InputError))

    async def _work(self, engine: Engine, shards: list[int]) -> Report:
        self._give(engine, sum(self._plan.rows[shard] for shard in shards))
        before = engine.snapshot()
        concurrency = max(1, self._plan.job.concurrency // len(shards))
        done = await asyncio.gather(*[self._shard(engine, shard, concurrency) for shard in shards])
        after = engine.snapshot()
        return Report(
            shards=done,
            attempts=after["attempts"] - before["attempts"],
            throttled=after["throttled"] - before["throttled"],
            allowed_rpm=after["allowed_rpm"],
        )

    def _give(self, engine: Engine, rows: int) -> None:
        """The rows' share of the budget, beside what the shards before have left."""
        self._rows += rows
        if engine.budget is None:
            return
        share, settings, cap = self._rows / max(1, sum(self._plan.rows)), engine.settings, engine.budget.cap
        if settings.budget_usd is not None:
            cap.dollars_max = settings.budget_usd * share
        if settings.budget_tokens is not None:
            cap.tokens_max = settings.budget_tokens * share

    async def _shard(self, engine: Engine, shard: int, concurrency: int) -> ShardDone:
        plan, loop = self._plan, asyncio.get_running_loop()
        origin = engine.settings.base_url
        left_s = plan.start_wall_s + plan.job.lanes.deadline_s - time.time()
        lanes = msgspec.structs.replace(plan.job.lanes, deadline_s=max(1.0, left_s))
        job = msgspec.structs.replace(plan.job, origin=origin, lanes=lanes, concurrency=concurrency)
        starts = array("f", [RESUMED]) * plan.rows[shard]
        skew_s = time.time() - loop.time() - plan.start_wall_s

        def note(result: Result, resumed: bool) -> None:
            if not resumed:
                starts[result.index] = max(0.0, result.started_at_s + skew_s)

        path, rows = rows_path(plan.folder, shard), plan.rows[shard]
        source = open_rows(path, name=job.input, columns=plan.columns, rows_total=rows)
        try:
            begin(plan.folder, shard)
            header = Header(task=job.task.fingerprint, input=job.input, origin=origin)
            journal = Journal.open(shard_journal(plan.folder, shard), header)
        except HeadwayError:
            source.close()
            raise
        return _done(shard, await run_job(job, engine, source=source, journal=journal, on_result=note), starts)


def _done(shard: int, finished: Finished, starts: array[float]) -> ShardDone:
    tally = finished.tally
    return ShardDone(
        shard=shard,
        done=tally.done,
        failed=tally.failed,
        resumed=tally.resumed,
        offsets=finished.offsets.tobytes(),
        starts=starts.tobytes(),
        stopped=finished.stopped,
    )
