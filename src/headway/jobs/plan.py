"""The plan of a job: what it would send, cost and take. It reads the input once; it spends and sends nothing."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgspec

from headway.attempt.route import target_of
from headway.config import Settings
from headway.jobs.plan_history import History, read_history
from headway.jobs.plan_lanes import LATENCY_PRIOR, Pace, Terms, Work, auto_lane, lane_plans
from headway.jobs.plan_rows import CacheLike, RowsRead, finished_keys, read_rows
from headway.jobs.plan_tokens import bars_of, expected_output, input_factor
from headway.jobs.plan_warnings import Checked, journal_warnings, warnings_of
from headway.jobs.runner import JobSettings, check_columns, journal_path
from headway.jobs.source import Source, open_source
from headway.policy.prefix_cache import PrefixRules, rules_for
from headway.policy.presets import LIMIT_PRESETS
from headway.prompts.task import Task
from headway.report.plan_figures import Cached, InputTokens, Interval, OutputTokens, Plan
from headway.types import Usage
from headway.wire import batch_format_for, reader_for
from headway.wire.prices import Prices, Rates
from headway.wire.tokens import estimate_tokens

__all__ = ["make_plan"]

_FLEX_FORMATS: Final = frozenset({"openai_responses", "openai_chat"})
"""Where there is a flex tier. Source: OpenAI, "Flex processing"."""


async def make_plan(
    job: JobSettings,
    settings: Settings,
    *,
    cache: CacheLike | None = None,
    source: Source | None = None,
    on_row: Callable[[int], Any] | None = None,
) -> Plan:
    """Read a job's input, journal, cache and call log, and say what running it would come to.

    Args:
        job: What would be run, with its `lanes.deadline_s` and `budget_usd`.
        settings: The engine's; their `budget_usd` counts where the job has none.
        cache: The engine, asked what is at hand; None where nothing is reused.
        source: The input, when it was opened before; it is closed here either way.
        on_row: Called after every row with how many were read.

    Raises:
        InputError: The input cannot be read, or lacks a column that the prompt needs.
    """
    task = job.task
    origin, path = target_of(settings.base_url, task.path)
    rates = Prices().rates(task.model, origin)
    journal = journal_path(job.out) if job.out is not None else None
    resumed = journal is not None and journal.exists() and not job.fresh
    source = source or open_source(job.input, kind=job.kind, rows_max=job.rows_max)
    try:
        check_columns(source, task)
        finished = finished_keys(journal, retry_failed=job.retry_failed) if journal is not None and resumed else None
        read = await read_rows(source, task, rates=rates, finished=finished, cache=cache, on_row=on_row)
    finally:
        source.close()
    if len(read.models) > 1:
        rates = None  # one model's prices are not the others'
    history = read_history(settings, model=task.model, path=path, origin=origin, bound=task.max_output_tokens)
    plan = _Planning(job, settings, read, rates, history).plan()
    warned = journal_warnings(job.out, journal, job.origin or settings.base_url, fresh=job.fresh)
    return msgspec.structs.replace(plan, input=source.name, warnings=(*warned, *plan.warnings))


class _Planning:
    """From what was read to the figures."""

    def __init__(
        self, job: JobSettings, settings: Settings, read: RowsRead, rates: Rates | None, history: History
    ) -> None:
        self._job = job
        self._settings = settings
        self._read = read
        self._rates = rates
        self._history = history
        self._factor, self._source = input_factor(read, history)
        reader = reader_for(job.task.path)
        self._format = reader.format if reader is not None else ""
        self._rules = rules_for(self._format, job.task.model)
        self._marks = settings.prompt_cache == "auto"
        self._budget_usd = job.budget_usd if job.budget_usd is not None else settings.budget_usd

    def plan(self) -> Plan:
        """All of it but the input's name."""
        job, read = self._job, self._read
        output = expected_output(job.task, self._history)
        prefix = self._prefix_tokens()
        work, terms = self._work(output, prefix), self._terms()
        return Plan(
            input=job.input,
            model=job.task.model,
            rows=read.rows,
            unreadable=read.unreadable,
            finished=read.finished,
            batched=read.batched,
            repeated=read.repeated,
            cached=self._cached(),
            requests=work.requests,
            input_tokens=self._input(work),
            output_tokens=output,
            prefix_tokens=prefix,
            prefix_saves=self._prefix_saves(work),
            lanes=lane_plans(work, terms),
            lane=job.lanes.lane,
            auto=auto_lane(work, terms),
            deadline_s=None if terms.deadline_s == inf else terms.deadline_s,
            budget_usd=self._budget_usd,
            warnings=tuple(
                warnings_of(
                    Checked(
                        task=job.task,
                        read=read,
                        rates=self._rates,
                        rules=self._rules,
                        output=output,
                        prefix_tokens=prefix,
                        fixed_tokens=self._fixed_tokens(),
                        marks=self._marks,
                    )
                )
            ),
        )

    def _cached(self) -> Cached:
        """Found among the first, and the others' share extrapolated."""
        read = self._read
        share = read.behind_found / read.behind_looked_up if read.behind_looked_up else 0.0
        return Cached(
            requests=read.found + round(share * read.behind),
            looked_up=read.looked_up + read.behind_looked_up,
            extrapolated=read.behind > read.behind_looked_up,
        )

    def _work(self, output: OutputTokens, prefix: int) -> Work:
        read = self._read
        requests = max(0, read.requests - (self._cached().requests - read.found))
        scale = requests / read.requests if read.requests else 0.0
        return Work(
            requests=requests,
            groups=tuple((group.requests * scale, group.tokens * scale) for group in read.groups.values()),
            input_factor=self._factor,
            output=output.mean,
            bound=output.bound,
            prefix_tokens=prefix if self._keeps(self._rules, prefix) else 0,
            body_bytes=round(read.body_bytes * scale),
        )

    def _keeps(self, rules: PrefixRules | None, tokens: int) -> bool:
        """Whether the provider's prompt cache would keep a beginning of so many tokens."""
        return rules is not None and tokens >= rules.tokens_min and (self._marks or not rules.marked)

    def _terms(self) -> Terms:
        job, settings, history = self._job, self._settings, self._history
        batch = batch_format_for(job.task.path)
        return Terms(
            rates=self._rates,
            pace=self._pace(),
            assumed=tuple(
                Pace(name=name, requests_per_min=one.requests_per_min, tokens_per_min=one.tokens_per_min)
                for name, one in LIMIT_PRESETS.items()
            ),
            latency_s=history.latency_s or LATENCY_PRIOR,
            concurrency=min(job.concurrency, settings.connections_max),
            deadline_s=job.lanes.deadline_s,
            budget_usd=inf if self._budget_usd is None else self._budget_usd,
            batch=batch,
            flex=self._format in _FLEX_FORMATS,
        )

    def _pace(self) -> Pace | None:
        """Limits that are set, else the rate of the fastest minute in the call log."""
        limits, history = self._settings.limit_settings(), self._history
        if limits.requests_per_min is not None or limits.tokens_per_min is not None:
            return Pace(
                name=f"limits of {self._settings.limits}" if self._settings.limits else "limits as set",
                requests_per_min=limits.requests_per_min,
                tokens_per_min=limits.tokens_per_min,
            )
        if history.requests_per_min is None:
            return None
        rate = history.requests_per_min
        return Pace(name=f"as fast as the call log's best minute, {rate:,.0f} requests", requests_per_min=rate)

    def _input(self, work: Work) -> InputTokens:
        sketch, total = self._read.sketch, work.input_tokens
        factor = (self._factor.low + self._factor.high) / 2
        p50, p95, p99 = (round((sketch.quantile(q) or 0.0) * factor) for q in (0.5, 0.95, 0.99))
        return InputTokens(
            total=Interval(round(total.low), round(total.high)),
            p50=p50,
            p95=p95,
            p99=p99,
            max=round((sketch.max or 0.0) * factor),
            bars=bars_of(sketch, factor),
            source=self._source,
        )

    def _prefix_tokens(self) -> int:
        """Of what all requests begin with, model and settings included; one request has none to share."""
        return estimate_tokens(len(self._read.prefix)) if self._read.requests > 1 else 0

    def _fixed_tokens(self) -> int:
        task: Task = self._job.task
        if not task.columns:
            return 0  # rows are whole requests: nothing is known to be fixed
        return estimate_tokens(len(task.body(dict.fromkeys(task.columns, "."))))

    def _prefix_saves(self, work: Work) -> float | None:
        if self._rates is None or not work.prefix_tokens:
            return None
        tokens = work.prefix_tokens
        fresh = self._rates.dollars(Usage(input_tokens=tokens))
        return (work.requests - 1) * (fresh - self._rates.dollars(Usage(input_tokens=tokens, cached_tokens=tokens)))
