"""`headway run --plan`: make the plan with an engine that sends nothing, and tell it."""

from __future__ import annotations

import sys
from typing import TextIO

import msgspec

from headway.engine import Engine
from headway.jobs.plan import make_plan
from headway.jobs.runner import JobSettings
from headway.jobs.source import Source
from headway.report.progress import Reading

__all__ = ["tell_plan"]


async def tell_plan(
    job: JobSettings,
    engine: Engine,
    *,
    source: Source | None = None,
    json: bool = False,
    quiet: bool = False,
    stream: TextIO | None = None,
) -> int:
    """Print what the job would come to.

    Args:
        job: The job, as it would be run.
        engine: The engine that would run it; only its cache is asked.
        source: The input, when it was opened before; it is closed here.
        json: One JSON object in place of the page.
        quiet: No progress while the input is read; of the page, nothing.
        stream: Standard output by default.

    Returns:
        The exit code, 0.

    Raises:
        InputError: The input cannot be read, or lacks a column that the prompt needs.
    """
    cache = engine if engine.settings.cache != "off" else None
    with Reading(quiet=quiet) as reading:
        plan = await make_plan(job, engine.settings, cache=cache, source=source, on_row=reading.rows)
    out = sys.stdout if stream is None else stream
    if json:
        out.write(msgspec.json.encode(plan.to_dict()).decode() + "\n")
    elif not quiet:
        from rich.console import Console

        from headway.report.plan import print_plan

        print_plan(plan, Console(file=out))
    return 0
