"""`headway bench`: is it slow, and where does the time go? Models and loads side by side, with intervals."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from headway.cli import bench_options as opt
from headway.cli import bench_plan as plan
from headway.cli.ending import exits, print_json, print_table, reader_may_leave
from headway.cli.run_options import MODEL
from headway.cli.trying import WIDTH_MIN, writable

if TYPE_CHECKING:
    from headway.config import Settings
    from headway.engine import Engine
    from headway.measure.bench.questions import Question
    from headway.measure.bench.run_types import Load, Progress, Target
    from headway.measure.bench.schema import Bench
    from headway.measure.bench.schema import Settings as Judging
    from headway.measure.bench.session import Done, Limits

__all__ = ["bench"]

_REDRAW_S = 0.1
_HELP = """
Measure models under load: time to the first token, total, tokens a second,
cost, and where the time goes. Several models are asked at the same moments.

Latency counts from when a request was due; failures are never left out. By
default cache, further tries, hedging, routing and log are off, so that what
is measured is the provider. What it may cost is told beforehand.

Examples:

  headway bench --model gpt-5.4-mini,gpt-4o-mini --runs 30 --use-case chat

  headway bench --concurrency 1,4,16 --slo ttft=1s,e2e=8s --report b.html

  headway bench --rate 20 --duration 30s --task t.toml --input rows.csv

Exit codes: 0 measured, 1 a model gave no answer at all, 2 the call is wrong
(a setting, the key, a model), 130 interrupted.
"""


def bench(
    model: opt.Models = None,
    prompt: opt.PromptText = None,
    task: opt.TaskFile = None,
    input_: opt.Input = None,
    api: opt.ApiName = None,
    max_output_tokens: opt.MaxTokens = None,
    no_stream: opt.NoStream = False,
    base_url: opt.BaseUrl = None,
    config: opt.Config = None,
    as_configured: opt.AsConfigured = False,
    concurrency: opt.Concurrency = None,
    rate: opt.Rate = None,
    arrivals: opt.Arrivals = None,
    runs: opt.Runs = None,
    duration: opt.Duration = None,
    warmup: opt.Warmup = None,
    find_max: opt.FindMax = False,
    seed: opt.Seed = 0,
    slo: opt.SloText = None,
    use_case: opt.UseCaseName = None,
    max_usd: opt.MaxUsd = "1",
    check: opt.Check = True,
    definitions: opt.Definitions = "headway",
    report: opt.Report = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure models under load."""
    with exits("bench"):
        from headway.config import load_settings
        from headway.measure.bench.questions import question_of
        from headway.measure.bench.schema import Settings as Judging

        writable(report, "--report")
        settings = load_settings({"base_url": base_url}, file=config)
        question = question_of(prompt, task, input_, api, max_output_tokens, stream=not no_stream)
        judging = Judging(
            slo=plan.slo_of(slo),
            use_case=use_case,
            definitions=None if definitions == "headway" else definitions,
            tls=settings.base_url.startswith("https"),
        )
        if find_max:
            plan.check_search(judging.slo, concurrency, rate, arrivals, runs, warmup, definitions, report)
        plan.check_seen(judging.slo, stream=not no_stream)
        code = _Command(
            settings=settings,
            config=config,
            question=question,
            said=str(task or prompt or question.prompt)[:200],
            models=plan.models_of(model, MODEL if model else _model_of(task)),
            loads=plan.loads_of(concurrency, rate, arrivals, runs, duration, warmup, seed),
            judging=judging,
            find_max=find_max,
            as_configured=as_configured,
            usd_max=plan.usd_of(max_usd),
            check=check,
            report=report,
            json=json,
            quiet=quiet,
        ).start()
    raise typer.Exit(code)


bench.__doc__ = _HELP


def _model_of(task: Path | None) -> str:
    from headway.prompts.task import Task

    return MODEL if task is None else Task.load(task).model


class _Command:
    """One call, from its plan to what is printed."""

    def __init__(
        self,
        *,
        settings: Settings,
        config: Path | None,
        question: Question,
        said: str,
        models: list[str],
        loads: list[Load],
        judging: Judging,
        find_max: bool,
        as_configured: bool,
        usd_max: float,
        check: bool,
        report: Path | None,
        json: bool,
        quiet: bool,
    ) -> None:
        self.settings, self.config, self.question, self.models, self.loads = settings, config, question, models, loads
        self.judging, self.find_max, self.as_configured, self.usd_max = judging, find_max, as_configured, usd_max
        self.check, self.report, self.json, self.quiet = check, report, json, quiet
        self.said, self.drawn_s, self.priced = said, 0.0, False

    def start(self) -> int:
        from msgspec.structs import replace

        from headway.measure.bench.clock import precise_loop
        from headway.measure.bench.questions import targets_of, worst_case_usd
        from headway.measure.bench.session import Limits, most_usd

        targets = targets_of(self.question, self.models)
        if self.as_configured:
            targets = [replace(target, cache=None) for target in targets]
        each = tuple(worst_case_usd(targets, self.settings, rows=len(self.question.rows)))
        limits = Limits(
            usd_max=self.usd_max,
            request_usd=each,
            check=self.check and not self.find_max,
            streamed=self.question.stream,
        )
        most = None if self.find_max else most_usd(self.loads, limits)
        if not self.quiet:
            self._say(plan.cost_told(self.loads, each, most, self.usd_max))
        plan.check_money(each, most, self.usd_max)
        limits = replace(limits, watch=most is None)
        self.priced = None not in each
        with asyncio.Runner(loop_factory=precise_loop) as runner:
            done = runner.run(self._measured(targets, limits))
        return self._tell(done)

    async def _measured(self, targets: list[Target], limits: Limits) -> Done:
        from msgspec.structs import replace

        from headway.measure.bench.session import Measuring

        live = not self.quiet and sys.stderr.isatty()
        async with self._engine() as engine:
            measuring = Measuring(engine, targets, limits, progress=self._progress if live else None)
            try:
                await measuring.ahead()
                if self.find_max and self.judging.slo is not None:
                    first = self.loads[0]
                    await measuring.find(
                        self.judging.slo,
                        start_per_s=first.rate_per_s or 1.0,
                        trial_s=first.duration_s or 20.0,
                        seed=first.seed,
                    )
                else:
                    await measuring.measure(self.loads)
            except asyncio.CancelledError:
                if not (measuring.done.loads or measuring.done.found):
                    raise
                return replace(measuring.done, interrupted=True)
            return measuring.done

    def _engine(self) -> Engine:
        from headway.engine import Engine
        from headway.measure.bench.self_check import RAW

        if self.as_configured:
            # The worst case knows of one try a request: what further ones and backups cost is kept below the cap here.
            caps = [self.settings.budget_usd, self.usd_max if self.priced else None]
            cap = min((usd for usd in caps if usd is not None and isfinite(usd)), default=None)
            return Engine(config=self.config, base_url=self.settings.base_url, log_level="off", budget_usd=cap)
        return Engine(config=self.config, base_url=self.settings.base_url, **RAW)

    def _progress(self, what: str) -> Progress:
        def tell(done: int, total: int | None) -> None:
            now_s = time.monotonic()
            if done and done != total and now_s - self.drawn_s < _REDRAW_S:
                return
            self.drawn_s = now_s
            of = "" if total is None else f" of {total:,}"
            sys.stderr.write(f"\r\x1b[K{what}: {done:,}{of}" if done else f"\r\x1b[K{what}")
            sys.stderr.flush()

        return tell

    def _tell(self, done: Done) -> int:
        from headway.measure.bench.schema import bench_of

        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        found = bench_of(done.loads, self.judging, asked=self._asked(), found=done.found, notes=done.notes)
        if self.report is not None:
            self._write(found, done)
        with reader_may_leave():
            if self.json:
                print_json(found)
            elif not self.quiet:
                self._print(found)
        if done.interrupted:
            return 130
        told = [bool(one.ok) for one in found.rows] + [one.rate_per_s is not None for one in found.highest]
        return 0 if told and all(told) else 1

    def _asked(self) -> dict[str, str]:
        from headway import __version__

        question = self.question
        rows = f", {len(question.rows):,} rows in turn" if question.rows else ""
        off = "as configured" if self.as_configured else "cache, further tries, hedging, routing and log off"
        return {
            "models": ", ".join(self.models),
            "where": self.settings.base_url,
            "asked": f"{self.said}{rows}",
            "stream": "yes" if question.stream else "no",
            "loads": ", ".join(load.label for load in self.loads) if not self.find_max else "the highest that holds",
            "engine": off,
            "headway": __version__,
        }

    def _print(self, found: Bench) -> None:
        from headway.measure.bench.table import print_bench

        print_table(lambda console, width: print_bench(console, found, width=width), width_min=WIDTH_MIN)
        if self.report is not None:
            typer.echo(f"Report: {self.report}")

    def _say(self, sentence: str) -> None:
        """Beside the result: in lines of the terminal's width."""
        from rich.console import Console

        Console(highlight=False, stderr=True).print(sentence, markup=False)

    def _write(self, found: Bench, done: Done) -> None:
        from headway.measure.bench.page import bench_page
        from headway.report.written import write_page

        assert self.report is not None
        command = shlex.join(["headway", *sys.argv[1:]])
        write_page(self.report, bench_page(found, done.loads, command=command))
