"""`headway demo`: twenty tickets, four ways, so that what the prompt did and what the engine did are apart."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from headway.cli.ending import exits, print_json
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.engine import Engine
    from headway.prompts.task import Task
    from headway.report.figures import Summary

__all__ = ["demo"]

_HELP = """
Twenty support tickets, four ways: a verbose and a concise prompt, one call after the other and through Headway.

The calls go to Headway's own simulator on loopback, which plays gpt-5.4-mini over real sockets and with real waiting, \
at half the model's latency so that all of it takes about 40 s. No key, no cost.

"One by one" is the same client with its cache, its joining and its concurrency off: the difference is what those do.

Exit codes: 0 done, 1 a call failed, 2 wrong usage, 130 interrupted.
"""
_NOTE = (
    "Measured against a simulator that plays {model} at {scale:g}x its latency. Its answers are a documented stand-in: "
    "read the accuracy as an illustration, not as a finding about any model."
)
_LATENCY_SCALE = 0.5
_CONCURRENCY = 8
_REFRESH_S = 0.2


class _Way(NamedTuple):
    """One of the four runs."""

    name: str
    prompt: str
    headway: bool


_WAYS = (
    _Way("Verbose, one by one", "verbose", headway=False),
    _Way("Concise, one by one", "concise", headway=False),
    _Way("Verbose, Headway", "verbose", headway=True),
    _Way("Concise, Headway", "concise", headway=True),
)
_NAMES = tuple(way.name for way in _WAYS)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and the call log.")] = Path("headway-demo"),
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No live progress.")] = False,
    latency_scale: Annotated[
        float, typer.Option(min=0, max=10, help="The simulator's latency, 1 being the model's own.")
    ] = _LATENCY_SCALE,
) -> None:
    """Twenty support tickets, four ways."""
    with exits("demo", interrupted="interrupted; nothing is left running"):
        code = asyncio.run(_demo(out, json=json, quiet=quiet, latency_scale=latency_scale))
    raise typer.Exit(code)


demo.__doc__ = _HELP


async def _demo(out: Path, *, json: bool, quiet: bool, latency_scale: float) -> int:
    from rich.console import Console

    from headway.prompts.task import Task
    from headway.sim.server import serving
    from headway.sim.settings import SimSettings

    examples = _examples()
    tickets = _tickets(examples / "tickets.csv")
    tasks = {prompt: Task.load(examples / f"{prompt}.toml") for prompt in ("verbose", "concise")}
    log = _prepare(out)
    say = Console(stderr=True, quiet=json or quiet)
    say.print(
        f"{len(tickets)} tickets through a [bold]simulator[/bold] that plays {tasks['concise'].model} at "
        f"{latency_scale:g}x its latency; no key, no cost.\n"
    )
    summaries = {}
    with serving(SimSettings(latency_scale=latency_scale)) as base_url:
        for way in _WAYS:
            async with _engine(base_url, way, log) as engine:
                summaries[way.name] = await _run(engine, way, tickets, tasks[way.prompt], quiet=quiet or json)
            say.print(f"  {way.name:22} {summaries[way.name].runtime_s:6.1f} s", highlight=False)
    told = _told(summaries)
    report = _report(out / "report.html", summaries, told, latency_scale, tasks["concise"].model)
    if json:
        _print_json(summaries, told, report)
    else:
        _print(summaries, told, report, examples, log)
    return 0 if all(set(one.failed) <= {"invalid_output"} for one in summaries.values()) else 1


@asynccontextmanager
async def _engine(base_url: str, way: _Way, log: Path) -> AsyncIterator[Engine]:
    """An engine of its own for each way, so that none profits from another; nobody's settings have a say."""
    from headway.engine import Engine

    cache = "memory" if way.headway else "off"
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "simulator", "cache": cache, "log": str(log)}
    async with Engine(config=os.devnull, **settings) as engine:
        yield engine


async def _run(engine: Engine, way: _Way, tickets: list[dict[str, str]], task: Task, *, quiet: bool) -> Summary:
    """All tickets one way. One by one means that the next call starts when the last one has been answered."""
    from headway.report.progress import Progress
    from headway.report.summary import SummaryBuilder
    from headway.types import Tags

    loop = asyncio.get_running_loop()
    builder = SummaryBuilder(model=task.model, expected_column=task.expected)
    with Progress(len(tickets), label=f"  {way.name}", quiet=quiet, snapshot=engine.snapshot) as progress:

        async def refresh() -> None:
            while True:
                await asyncio.sleep(_REFRESH_S)
                progress.refresh()

        refreshing = asyncio.create_task(refresh())
        started_s = loop.time()
        concurrency = _CONCURRENCY if way.headway else 1
        tags = Tags(run=f"demo: {way.name}")
        try:
            async for result in engine.map(tickets, task, order="completed", concurrency=concurrency, tags=tags):
                builder.add(result)
                progress.add(result)
            wall_s = loop.time() - started_s
        finally:
            refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await refreshing
    live = engine.snapshot()
    return builder.build(
        wall_s=wall_s,
        throttled=live["throttled"],
        allowed_rpm=live["allowed_rpm"],
        attempts=live["attempts"],
    )


def _told(summaries: dict[str, Summary]) -> tuple[str, str]:
    """What each of the two did by itself; and which prompt is more cost-efficient, and why."""
    from headway.report import format as fmt
    from headway.report.comparison import verdict

    base, prompt, engine, both = (summaries[name] for name in _NAMES)

    def against(one: Summary) -> str:
        faster = fmt.speedup(base.runtime_s, one.runtime_s)
        return f"{faster}, {fmt.change(base.cost.total, one.cost.total, 'cost')}"

    apart = (
        f"The concise prompt by itself: {against(prompt)}. Headway by itself: {against(engine)}. Both: {against(both)}."
    )
    return apart, verdict("verbose", base, "concise", prompt)


def _report(path: Path, summaries: dict[str, Summary], told: tuple[str, str], scale: float, model: str) -> Path:
    from headway.report.html import write_comparison

    return write_comparison(
        path,
        summaries,
        baseline=_NAMES[0],
        title="Twenty support tickets, four ways",
        verdict=" ".join(told),
        notes=[_NOTE.format(model=model, scale=scale)],
        settings={
            "model": model,
            "one by one": "concurrency 1, cache and joining off",
            "Headway": f"concurrency {_CONCURRENCY}, memory cache, identical calls joined",
            "cache key": "ticket text trimmed, case-folded, white space collapsed",
            "simulator": f"latency scale {scale:g}, seed 0",
        },
        command="headway demo",
    )


def _print(summaries: dict[str, Summary], told: tuple[str, str], report: Path, examples: Path, log: Path) -> None:
    from rich.console import Console

    from headway.report.terminal import comparison_table

    console = Console(highlight=False, soft_wrap=False)
    columns = {name.replace(", ", ",\n"): summary for name, summary in summaries.items()}
    console.print()
    console.print(comparison_table(columns, next(iter(columns))))
    for sentences in told:
        console.print(f"\n{sentences}")
    tickets, task = _near(examples / "tickets.csv"), _near(examples / "concise.toml")
    headway = _command()
    console.print("\n[bold]Next[/bold]")
    for label, what in (
        ("every call's latency, taken apart", f"{headway} log --file {_near(log)}"),
        ("the same on a real provider", "export OPENAI_API_KEY=..."),
        ("", f"{headway} run {tickets} --task {task} --out labels.jsonl"),
        ("the report", str(_near(report))),
    ):
        console.print(f"  {label:36}{what}", soft_wrap=True, markup=False)


def _command() -> str:
    """How this program is called from here: by its name, or by its path where the name would not be found."""
    called = Path(sys.argv[0])
    return "headway" if shutil.which("headway") or called.name != "headway" else str(_near(called))


def _print_json(summaries: dict[str, Summary], told: tuple[str, str], report: Path) -> None:
    figures = {
        "runs": {name: summary.to_dict() for name, summary in summaries.items()},
        "baseline": _NAMES[0],
        "apart": told[0],
        "verdict": told[1],
        "report": str(report.resolve()),
    }
    print_json(figures)


def _prepare(out: Path) -> Path:
    """The folder, and a fresh call log in it."""
    log = out / "calls.sqlite"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            log.with_name(log.name + suffix).unlink(missing_ok=True)
        probe = out / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written: {error.strerror or error}; name another") from None
    return log


def _examples() -> Path:
    """The examples' folder: inside the installed package, or beside its sources."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "tickets.csv").is_file():
            return folder
    raise ConfigError(f"The examples are missing: there is no tickets.csv in {package / 'examples'}; install again")


def _tickets(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _near(path: Path) -> Path:
    """The path as one would type it here."""
    full, here = path.resolve(), Path.cwd()
    return full.relative_to(here) if full.is_relative_to(here) else full
