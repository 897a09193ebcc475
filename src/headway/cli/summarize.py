"""`headway summarize`: a long text, or a folder of them, summarized chunk by chunk, many chunks at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from headway.cli import summarize_options as opt
from headway.cli.amounts import dollars_of
from headway.cli.ending import exits, leave_stdout
from headway.cli.run_options import MODEL
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.cli.summarize_ask import Ask
    from headway.cli.summarize_folder import Folder
    from headway.cli.summarize_one import One

__all__ = ["summarize"]

WORDS = 300

_HELP = """
Summarize a long text, or every document of a folder.

A text that fits into one call is one call. A longer one is cut into equal
chunks, which are read at the same time; neighbours are merged as soon as they
are done, until one summary is left. It is shown while it is being written,
and only it goes to stdout. Answers are kept: what is started again after a
crash or Ctrl-C pays only for what is missing.

With --out each document is a JSON line, written as soon as it is done, and
OUT.journal beside it knows what is owed. Files that cannot be read are lines
with their error.

Examples:

  headway summarize book.txt --words 400

  headway summarize book.txt --question "Who is Ellen?" --sources

  curl -s https://example.com/long.txt | headway summarize - --words 100

  headway summarize docs/ --out summaries.jsonl --budget 5usd

  headway summarize docs/ --out summaries.jsonl --lane batch

Exit codes: 0 all is whole, 1 a document failed or has a gap, 2 the call or
the input is wrong, 130 interrupted.
"""


def summarize(
    input_: opt.Input,
    words: opt.Words = WORDS,
    question: opt.Question = None,
    model: opt.Model = MODEL,
    api: opt.ApiName = "responses",
    reduce_model: opt.ReduceModel = None,
    map_prompt: opt.MapPrompt = None,
    reduce_prompt: opt.ReducePrompt = None,
    refine: opt.Refine = False,
    chunk_tokens: opt.ChunkTokens = None,
    window: opt.Window = None,
    concurrency: opt.Concurrency = 128,
    lane: opt.LaneName = "online",
    on_error: opt.OnError = "mark",
    budget: opt.Budget = None,
    plan: opt.Plan = False,
    base_url: opt.BaseUrl = None,
    config: opt.Config = None,
    out: opt.Out = None,
    glob: opt.Glob = None,
    no_cache: opt.NoCache = False,
    fresh: opt.Fresh = False,
    sources: opt.Sources = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Summarize a long text, or every document of a folder."""
    with exits("summarize"):
        from headway.cli.summarize_ask import Ask
        from headway.pipeline.documents.asking import Wishes

        wishes = Wishes(
            words=words,
            model=model,
            api=api,
            reduce_model=reduce_model,
            question=question,
            map_prompt=opt.prompt_of(map_prompt, "--map-prompt"),
            reduce_prompt=opt.prompt_of(reduce_prompt, "--reduce-prompt"),
            refine=refine,
            chunk_tokens=chunk_tokens,
            window=window,
            on_error=on_error,
            sources=sources,
        )
        ask = Ask(
            wishes=wishes,
            concurrency=concurrency,
            budget_usd=None if budget is None else dollars_of(budget, "--budget"),
            base_url=base_url,
            config=config,
            cache=not no_cache,
            json=json,
            quiet=quiet,
        )
        if api == "messages" and model == MODEL:
            raise ConfigError(f"--api messages has no {MODEL}; name its model with --model")
        folder = input_ != "-" and Path(input_).is_dir()
        _check(folder=folder, out=out, glob=glob, lane=lane, fresh=fresh)
        session = _session(ask, input_, folder=folder, out=out, glob=glob, lane=lane, fresh=fresh)
        session.open()
        code = _start(session.plan if plan else session.run, session.interrupted)
    raise typer.Exit(code)


summarize.__doc__ = _HELP


def _check(*, folder: bool, out: Path | None, glob: str | None, lane: str, fresh: bool) -> None:
    """Options that only mean something beside others."""
    if glob is not None and not folder:
        raise ConfigError("--glob says which files of a folder are meant, and INPUT is none")
    if out is None:
        if lane == "batch":
            raise ConfigError(
                "--lane batch needs --out FILE: a batch may take a day, and is gone on with by what is kept beside it"
            )
        if fresh:
            raise ConfigError("--fresh goes with --out; without one, --no-cache asks everything anew")


def _session(
    ask: Ask, name: str, *, folder: bool, out: Path | None, glob: str | None, lane: str, fresh: bool
) -> One | Folder:
    """What does it: one text that is shown, or documents that are written."""
    if folder or out is not None:
        from headway.cli.summarize_folder import Folder

        return Folder(ask, name, out=out, glob=glob, fresh=fresh, batch=lane == "batch")
    from headway.cli.summarize_one import One

    return One(ask, name)


def _start(main: Callable[[], Awaitable[int]], interrupted: Callable[[], None]) -> int:
    """Run on a loop of its own, where signals cancel it; return the exit code."""

    async def run() -> int:
        task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
            except NotImplementedError:
                break  # where loops know no signals, Ctrl-C still raises
        return await main()

    try:
        return asyncio.run(run())
    except (asyncio.CancelledError, KeyboardInterrupt):
        interrupted()
        return 130
    except BrokenPipeError:
        leave_stdout()  # whoever read the summary is gone: its stream was ended, and there is nobody left to tell
        return 0
