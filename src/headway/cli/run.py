"""`headway run`: a file of work through a model, cached, paced, validated and resumable."""

from __future__ import annotations

import asyncio
import gc
import shlex
import signal
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import typer

from headway.cli import run_options as opt
from headway.cli.amounts import dollars_of, seconds_of
from headway.cli.run_options import engine_settings
from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.detect import Format
from headway.jobs.place import out_path
from headway.jobs.requests_file import RequestsFile, open_requests
from headway.jobs.runner import JobSettings
from headway.jobs.session import Session, SessionSettings
from headway.jobs.source import Source
from headway.policy.lanes import LaneSettings
from headway.prompts.output import Api
from headway.prompts.runtable import Tables
from headway.prompts.task import Task
from headway.prompts.taskfile import load_tables

__all__ = ["run"]

_HELP = """
Run a prompt over every row of a file: CSV, JSONL, Parquet, or text of one
item a line; of a folder of such files; or of standard input, "-".

Rows are sent concurrently within the provider's limits, equal ones once.
Each finished row is kept in OUT.journal at once; the output appears, in
input order, when all are done. Started again, the same command sends what
is still owed and nothing else.

Examples:

  headway run tickets.csv --task triage.toml --out labels.jsonl

  headway run t.csv --prompt "Classify: {text}" --labels billing,shipping

  headway run big.parquet --task t.toml --out big.jsonl --deadline 6h --plan

  cat t.txt | headway run - --prompt "In one line: {text}" > out.jsonl

Exit codes: 0 every row succeeded, 1 rows failed or the job stopped, 2 the
call or the input is wrong, 130 interrupted.
"""


def run(
    input_: opt.Input,
    task: opt.TaskFile = None,
    prompt: opt.Prompt = None,
    requests: opt.Requests = False,
    labels: opt.Labels = None,
    model: opt.Model = None,
    api: opt.ApiName = None,
    base_url: opt.BaseUrl = None,
    config: opt.Config = None,
    out: opt.Out = None,
    limit: opt.Limit = None,
    format_: opt.Kind = None,
    csv_safe: opt.CsvSafe = False,
    lane: opt.LaneName = None,
    deadline: opt.Deadline = None,
    budget: opt.Budget = None,
    plan: opt.Plan = False,
    concurrency: opt.Concurrency = None,
    engine: opt.EngineName = "local",
    workers: opt.Workers = None,
    group: opt.Group = False,
    no_cache: opt.NoCache = False,
    retry_failed: opt.RetryFailed = False,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
    report: opt.Report = None,
    quiet: opt.Quiet = False,
) -> None:
    """Run a prompt over every row of a file."""
    file: RequestsFile | None = None
    try:
        file = _requests(requests, task or prompt or labels or model, input_, format_, limit, api)
        tables = load_tables(task) if task is not None else Tables()
        budget_usd, reuse = _over(tables, budget, no_cache=no_cache)
        job = JobSettings(
            input=input_,
            task=file.task if file else _task(task, prompt, labels, model, api),
            out=None if out in (None, "-") else out_path(out),
            kind=format_,
            rows_max=limit,
            concurrency=concurrency or tables.run.width or 512,
            retry_failed=retry_failed,
            fresh=fresh,
            csv_safe=csv_safe,
            lanes=LaneSettings(
                lane=lane or ("auto" if deadline else "online"),
                deadline_s=inf if deadline is None else seconds_of(deadline, "--deadline"),
            ),
            budget_usd=budget_usd,
            group=group,
            reuse=reuse,
        )
        settings = SessionSettings(
            job=job,
            engine=engine_settings(base_url, budget_usd, group=group, file=tables.settings),
            config=config,
            reuse=reuse,
            json=json,
            report=report,
            quiet=quiet,
            command=shlex.join(["headway", *sys.argv[1:]]),
            plan=plan,
            warning=file.ids.warning if file else None,
        )
        code = _start(settings, file.source if file else None, engine, workers)
    except HeadwayError as error:
        if file:
            file.source.close()
        typer.echo(f"headway run: {error}", err=True)
        code = 2 if isinstance(error, ConfigError | InputError) else 1
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the results is gone: there is nobody left to tell
        code = 1
    raise typer.Exit(code)


run.__doc__ = _HELP


def _over(tables: Tables, budget: str | None, *, no_cache: bool) -> tuple[float | None, bool]:
    """The cap, and whether answers are reused: what the command line says wins over the task file's tables."""
    budget_usd = tables.settings.get("budget_usd") if budget is None else dollars_of(budget, "--budget")
    return budget_usd, not no_cache and tables.settings.get("cache") not in ("off", False)


def _requests(
    told: bool, asked: object, name: str, kind: Format | None, rows_max: int | None, api: Api | None
) -> RequestsFile | None:
    """The input, when it holds requests: as it was told, or found where nothing says what else to ask."""
    if told and asked:
        raise ConfigError("with --requests the rows say what to ask: leave --task, --prompt, --labels and --model out")
    if not told and (asked or name == "-"):
        return None
    try:
        return open_requests(name, kind=kind, rows_max=rows_max, api=api, sure=told)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # while waiting for the first line of standard input


def _task(file: Path | None, prompt: str | None, labels: str | None, model: str | None, api: Api | None) -> Task:
    """The task out of a file or out of the command line."""
    if (file is None) == (prompt is None):
        raise ConfigError("say what to ask with either --task FILE or --prompt TEXT, or give whole --requests")
    if file is not None:
        if labels is not None:
            raise ConfigError(f"--labels goes with --prompt; labels of {file} stand in its [output] table")
        return Task.load(file, model=model or "", api=api or "")
    return opt.plain_task(prompt or "", labels, model, api)


def _start(settings: SessionSettings, source: Source | None, engine: str, workers: int | None) -> int:
    """Run the job, here on a loop of its own, where signals cancel it, or by workers; return the exit code."""
    if engine == "ray" and not settings.plan:
        from headway.jobs.ray_engine import run_on_ray  # only those who ask for it

        return run_on_ray(settings, source, workers=workers)
    if workers is not None and engine != "ray":
        raise ConfigError("--workers goes with --engine ray; this process is one worker")
    session = Session(settings, source)

    async def main() -> int:
        task = asyncio.current_task()
        if task is not None:
            _on_signals(asyncio.get_running_loop(), task.cancel)
        return await session.run()

    try:
        session.open()
        # What is imported stays; and a row makes many short-lived objects, few of them in circles (-6 % a row).
        gc.freeze()
        gc.set_threshold(20_000, 50, 50)
        return asyncio.run(main())
    except (asyncio.CancelledError, KeyboardInterrupt):
        session.interrupted()
        return 130


def _on_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], Any]) -> None:
    """Ctrl-C and a polite kill both stop the job; where loops know no signals, Ctrl-C still does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:
            return
