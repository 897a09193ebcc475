"""A job on Ray: many machines, one limit and one cache in Redis, and the output of one process.

The driver, the process that was started, splits the input (`jobs.shards`) and hands groups of shards to Ray Data, whose
actors (`jobs.ray_worker`) run them. When all are done it reads their journals as one and writes the output. A worker
that dies has its shards run again by Ray: their journals go on where they stopped, and only what was in flight at that
moment is asked for twice. Ray is imported when it is used.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from copy import copy
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from headway.config import Settings
from headway.errors import ConfigError, HeadwayError
from headway.jobs.journal import Journal
from headway.jobs.library import job_engine
from headway.jobs.merged import Merged, merged_offsets
from headway.jobs.place import check_out, check_writable, is_taken
from headway.jobs.ray_cluster import Cluster, cluster
from headway.jobs.ray_worker import RESUMED, Plan, Report, ShardDone
from headway.jobs.record import result_of
from headway.jobs.runner import Finished, Tally, check_columns, journal_path
from headway.jobs.session import Session, SessionSettings, told
from headway.jobs.shards import SHARDS_MAX, Shards, Split, shard_journal, shards_path
from headway.jobs.source import Source
from headway.jobs.writer import write_output
from headway.prompts.task import Task
from headway.store.redis_link import RedisDown, RedisLink
from headway.types.secret import Secret

__all__ = ["RaySession", "run_on_ray"]

SHARDS_PER_WORKER: Final = 4
"""So that a worker that is done early has something left to take over."""
REDIS_PATIENCE_S: Final = 2.0
"""A machine with more workers than CPUs answers late; taken for an outage, that would put all over the limit."""
_SETTINGS: Final = "settings.toml"
_REDIS_S: Final = 5.0


def run_on_ray(settings: SessionSettings, source: Source | None = None, *, workers: int | None = None) -> int:
    """Run a job on the cluster at RAY_ADDRESS, or on one that is started here.

    Args:
        settings: The job and what surrounds it.
        source: The input, when it was opened before; it is closed here.
        workers: How many; None: one for each CPU of the cluster.

    Returns:
        The exit code: 0 when every row succeeded, 1 when not, 130 when interrupted.

    Raises:
        ConfigError, InputError: Nothing was sent, or the message says what is kept.
        HeadwayError: A worker cannot go on; what was finished is kept.
    """
    session = RaySession(settings, source, workers)
    try:
        session.open()
        return session.drive()
    except KeyboardInterrupt:
        session.interrupted()
        return 130


class RaySession(Session):
    """The driver of one job.

    Args:
        settings: As for `run_on_ray`, and so are `source` and `workers`.
        connect: Opens the cluster.
    """

    def __init__(
        self,
        settings: SessionSettings,
        source: Source | None = None,
        workers: int | None = None,
        *,
        connect: Callable[[], AbstractContextManager[Cluster]] = cluster,
    ) -> None:
        super().__init__(settings, source)
        self._workers = workers
        self._connect = connect
        self._out = settings.job.out or Path()
        self._done: dict[int, ShardDone] = {}
        self._reports: list[Report] = []

    def drive(self) -> int:
        """See `run_on_ray`."""
        source = self._source
        assert source is not None
        try:
            engine = self._check(source)
            with self._connect() as there:
                workers = self._workers or there.cpus
                shards = Shards.open(
                    self._out,
                    min(SHARDS_MAX, SHARDS_PER_WORKER * workers),
                    journal=journal_path(self._out),
                    fresh=self._job.fresh,
                )
                with closing(shards):
                    split = shards.split(source, self._job.task)
                    plan = self._plan(shards, split, engine, source)
                    start_s = time.monotonic()
                    stopped = self._collect(there, plan, workers, patient=_capped(engine))
                    took_s = time.monotonic() - start_s
                    finished = self._merge(shards, split, source, stopped)
        finally:
            source.close()
        allowed = [report.allowed_rpm for report in self._reports if report.allowed_rpm is not None]
        summary = self._builder.build(
            wall_s=took_s,
            throttled=sum(report.throttled for report in self._reports),
            allowed_rpm=max(allowed, default=None),
            attempts=sum(report.attempts for report in self._reports),
        )
        self._tell(finished, summary, told(engine), kept_in=shards_path(self._out))
        self._warn()
        return 1 if stopped or finished.tally.failed else 0

    def interrupted(self) -> None:
        """Say what is kept and how to go on."""
        _say(f"interrupted: finished rows are kept in {shards_path(self._out)}; the same command goes on from there")

    def _check(self, source: Source) -> Settings:
        """Whatever can be found out before anything is started; the engine's settings."""
        job, settings = self._job, self._settings
        if job.out is None:
            raise ConfigError("--engine ray needs --out FILE, on a file system that all workers share")
        if not settings.reuse:
            raise ConfigError("--engine ray shares limits and answers through Redis, so it does not go with --no-cache")
        if settings.report:
            check_writable(settings.report, "--report")
            self._check_report(settings.report)
        check_columns(source, job.task)
        check_out(job.out, source)
        if is_taken(job.out) and not job.fresh and not shards_path(job.out).exists():
            raise ConfigError(
                f"{job.out} exists and no shards are beside it; overwrite it with --fresh, or choose another --out"
            )
        engine = job_engine(settings.engine, api=job.task.api, config=settings.config).settings
        _check_redis(engine)
        return engine

    def _plan(self, shards: Shards, split: Split, engine: Settings, source: Source) -> Plan:
        found = self._settings.config or Path("headway.toml")
        config = shards.folder.absolute() / _SETTINGS
        config.write_bytes(found.read_bytes() if found.exists() else b"")  # it may hold no secrets, and was checked
        given = {name: value for name, value in self._settings.engine.items() if name != "api_key"}
        cache = engine.cache if "redis" in engine.cache else "redis"
        given |= {"base_url": engine.base_url, "cache": cache, "log_level": engine.log_level}
        given["redis_timeout_s"] = max(engine.redis_timeout_s, REDIS_PATIENCE_S)
        return Plan(
            job=msgspec.structs.replace(self._job, task=_portable(self._job.task), out=None, fresh=False),
            folder=shards.folder.absolute(),
            rows=split.rows,
            columns=source.columns,
            engine=given,
            config=config,
            environ=_environ(engine, os.environ),
            start_wall_s=time.time(),
        )

    def _collect(self, there: Cluster, plan: Plan, workers: int, *, patient: bool) -> str:
        """Have the shards run; why the job stopped early, "" when it did not.

        Raises:
            HeadwayError: A worker said so, or too many died.
        """
        work = [shard for shard, rows in enumerate(plan.rows) if rows]
        # Batches take as long as they take: where there may be some, all shards have to have theirs under way at once.
        together = 1 if plan.job.lanes.lane in ("online", "flex") else max(1, ceil(len(work) / workers))
        groups = [work[at : at + together] for at in range(0, len(work), together)]
        stopped, rows_done, rows_total = "", 0, sum(plan.rows)
        with closing(there.reports(plan, groups, workers)) as reports:
            for report in reports:
                if report.error:
                    raise (ConfigError if report.yours else HeadwayError)(report.error)
                self._reports.append(report)
                for done in report.shards:
                    self._done[done.shard] = done
                    rows_done += done.done
                    stopped = stopped or done.stopped
                if not self._settings.quiet and self._done:
                    _say(f"{len(self._done)} of {len(work)} shards, {rows_done:,} of {rows_total:,} rows")
                if stopped and not patient:
                    break  # what befell one shard awaits them all; a budget's share is each shard's own
        return stopped

    def _merge(self, shards: Shards, split: Split, source: Source, stopped: str) -> Finished:
        """Count every row, and write the output when all are there."""
        done = [self._done.get(shard) for shard in range(shards.count)]
        numbers = merged_offsets(split.places, [_read("q", one.offsets if one else b"") for one in done])
        starts = [iter(_read("f", one.starts if one else b"")) for one in done]
        tally = Tally(
            total=len(numbers),
            done=sum(one.done for one in self._done.values()),
            failed=sum(one.failed for one in self._done.values()),
            resumed=sum(one.resumed for one in self._done.values()),
        )
        journals = [shard_journal(shards.folder, shard) for shard in range(shards.count)]
        with closing(Merged(journals)) as merged:
            for index, (place, number) in enumerate(zip(split.places, numbers, strict=True)):
                started_at_s = next(starts[place], RESUMED)
                if number < 0:
                    continue
                record = merged.read(number).read()
                result = result_of(record, index, record.input)
                resumed = started_at_s == RESUMED
                self._builder.add(msgspec.structs.replace(result, started_at_s=started_at_s), resumed=resumed)
            if not stopped:
                lines = cast("Journal", merged)  # of which the writer reads lines, and nothing else
                write_output(self._out, numbers, lines, split.columns, csv_safe=self._job.csv_safe, source=source)
        return Finished(tally=tally, stopped=stopped, offsets=numbers)


def _check_redis(settings: Settings) -> None:
    """Without a Redis that is there, every worker would take the whole limit for itself.

    Raises:
        ConfigError: None is named, or it does not answer.
    """
    if settings.redis_url is None:
        raise ConfigError(
            "--engine ray needs a Redis that every worker reaches, for the limit and the cache that they share; "
            "set redis_url or HEADWAY_REDIS_URL"
        )
    asyncio.run(_ping(settings.redis_url.reveal()))


async def _ping(url: str) -> None:
    said: list[str] = []
    link = RedisLink(url, timeout_s=_REDIS_S, on_error=said.append)
    try:
        await link.ask(lambda client: client.ping())
    except RedisDown:
        reason = said[0].split(";")[0] if said else f"Redis at {link.where} cannot be used"
        raise ConfigError(f"{reason}, and workers share their limits through it; start it, or mend redis_url") from None
    finally:
        await link.aclose()


def _environ(settings: Settings, environ: Mapping[str, str]) -> Secret:
    """The variables that the workers' engines are told of: our own, and those with keys."""
    kept = {name: value for name, value in environ.items() if name.startswith("HEADWAY_") and name != "HEADWAY_HOME"}
    for upstream in settings.upstreams:
        if upstream.key_env:
            kept[upstream.key_env] = environ[upstream.key_env]
    for name in ("api_key", "redis_url"):
        secret = getattr(settings, name)
        if secret is not None:
            kept[f"HEADWAY_{name.upper()}"] = secret.reveal()
    return Secret(msgspec.json.encode(kept).decode())


def _portable(task: Task) -> Task:
    """The task without what was compiled from its constraint: that cannot be pickled, and is compiled again there."""
    task = copy(task)
    output = task.output = copy(task.output)
    own = getattr(output, "__dict__", {})
    for name in [name for name in own if isinstance(getattr(type(output), name, None), cached_property)]:
        del own[name]
    return task


def _capped(settings: Settings) -> bool:
    return settings.budget_usd is not None or settings.budget_tokens is not None


def _read(kind: str, data: bytes) -> array[Any]:
    numbers: array[Any] = array(kind)
    numbers.frombytes(data)
    return numbers


def _say(sentence: str) -> None:
    sys.stderr.write(f"headway run: {sentence}\n")
