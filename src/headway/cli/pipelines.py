"""`headway pipelines`: where runs of pipelines spend their time, and which step has become slower."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from headway.cli.amounts import seconds_of
from headway.cli.ending import call_log_path, exits, print_json, print_table, reader_may_leave, write_texts
from headway.errors import ConfigError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from headway.pipeline.explain.graph import Graph
    from headway.pipeline.explain.history import PipelineFigures
    from headway.pipeline.explain.regressions import Watch
    from headway.types.steps import StepRow

__all__ = ["pipelines"]

_HELP = """
Show where runs of pipelines spend their time, from the call log.

Without a name: each pipeline's steps over many runs. critical: the share of runs in which the step was on the \
critical path. slack: how much later it could have been without moving the end, on average. 30 % faster: what that \
would have taken off the end-to-end p95 (p50 below 20 runs), each run replayed as a graph.

With --run or --last: one run as a waterfall, and the steps of it that took longer than in 95 % of other runs.

A step whose p95 has gone up is named: the last --recent runs against all before them, by an exact test, corrected for \
the number of steps; it has to be --slower than its history and than the worst stretch of it. Below 20 recent and 50 \
earlier runs nothing is judged.

Examples:

  headway pipelines

  headway pipelines article --since 7d --faster 50%

  headway pipelines article --last

  headway pipelines --run 3f2a --html run.html --trace run.json

  headway pipelines --check --recent 24h --slower 30%

Exit codes: 0 shown, 1 with --check: a step has become slower, 2 the call is wrong or there is no such log, run or \
pipeline.
"""

_OTHERS_ROWS_MAX = 20_000
"""Rows of other runs that one run is held against."""
_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", re.ASCII)


def pipelines(
    name: Annotated[str | None, typer.Argument(help="Only this pipeline, with more of it.")] = None,
    run: Annotated[str | None, typer.Option(help="One run: its id, or how that begins.")] = None,
    last: Annotated[bool, typer.Option("--last", help="One run: the last.")] = False,
    since: Annotated[str | None, typer.Option(help="Only runs of the last 90s, 30m, 6h, 7d.")] = None,
    recent: Annotated[str, typer.Option(help="What is compared with before: so many runs, or the last 24h.")] = "100",
    faster: Annotated[str, typer.Option(help="By how much a step is shortened on paper.")] = "30%",
    check: Annotated[bool, typer.Option("--check", help="Say only what has become slower; exit code 1 if so.")] = False,
    slower: Annotated[str, typer.Option(help="By how much a p95 must be up to be named.")] = "20%",
    false_alarms: Annotated[str, typer.Option(help="How likely a check may name any step by chance.")] = "1%",
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write it as a page, too.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write a run as trace events for Perfetto, chrome://tracing, speedscope.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000_000, help="Read the last N rows; a step is a row.")] = 200_000,
    file: Annotated[
        Path | None, typer.Option(help="The call log; by default calls.sqlite in the state directory.")
    ] = None,
) -> None:
    """Show where runs of pipelines spend their time, and which step has become slower."""
    with exits("pipelines"), reader_may_leave():
        if run is not None and not run.strip():
            raise ConfigError("--run is empty; give a run's id or how that begins, or take the --last")
        if trace is not None and not (run or last):
            raise ConfigError("--trace writes one run; name it with --run, or take the --last")
        if check and (run or last):
            raise ConfigError("--check is about many runs; leave out --run and --last")
        rows = _Rows(file or call_log_path(), name, _since(since), limit)
        if run or last:
            _one(rows, run, json=json, html=html, trace=trace)
            raise typer.Exit(0)
        watch = _watch(recent, slower, false_alarms)
        share = _share(faster, "--faster")
        code = _many(rows, watch, share, check=check, json=json, html=html)
    raise typer.Exit(code)


pipelines.__doc__ = _HELP


class _Rows(NamedTuple):
    """What of the log is asked for."""

    path: Path
    pipeline: str | None
    since_wall_s: float | None
    limit: int

    def read(self, run: str | None = None) -> list[StepRow]:
        from headway.store.call_reader import CallLogReader

        with CallLogReader(self.path) as reader:
            return reader.steps(pipeline=self.pipeline, run=run, since_wall_s=self.since_wall_s, limit=self.limit)

    def none(self, what: str) -> InputError:
        which = f" of {self.pipeline!r}" if self.pipeline else ""
        when = " in that time" if self.since_wall_s is not None else ""
        return InputError(
            f"there is no {what}{which}{when} in {self.path}; runs write it when their engine's log is on"
        )


def _since(text: str | None) -> float | None:
    return None if text is None else time.time() - seconds_of(text, "--since")


def _share(text: str, where: str, most: float = 1.0) -> float:
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / (100.0 if found[2] else 1.0) if found else -1.0
    if not 0.0 < share <= most:
        raise ConfigError(f"{where} must be a share such as 30% or 0.3, at most {most:.0%}, not {text!r}")
    return share


def _watch(recent: str, slower: str, false_alarms: str) -> Watch:
    from headway.pipeline.explain.regressions import Watch

    runs = int(recent) if recent.strip().isdecimal() else 0
    if recent.strip().isdecimal() and not runs:
        raise ConfigError("--recent must be a number of runs above 0, or a time such as 24h")
    return Watch(
        recent_runs=runs,
        recent_since_wall_s=None if runs else time.time() - seconds_of(recent, "--recent"),
        slower=_share(slower, "--slower", most=10.0),
        false_alarms=_share(false_alarms, "--false-alarms", most=0.5),
    )


def _one(rows: _Rows, run: str | None, *, json: bool, html: Path | None, trace: Path | None) -> None:
    """One run."""
    import msgspec

    from headway.pipeline.explain.report import RunReport
    from headway.pipeline.explain.usual import unusual_steps

    report = RunReport(_run_rows(rows, run))
    others = [graph for graph in _others(rows, report.graph.run.pipeline) if graph.run.run != report.graph.run.run]
    unusual = unusual_steps(report.graph, others)
    _write_page(html, report.html)
    if trace is not None:
        write_texts(msgspec.json.encode(report.trace()).decode(), [trace])
    if json:
        print_json({**report.data(), "unusual": msgspec.to_builtins(unusual)})
        return
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write((report.text(_width(), ascii_only=True) if plain else str(report)) + "\n")
    for one in unusual:
        typer.echo(one.sentence)
    _say_files(html, trace)


def _run_rows(rows: _Rows, run: str | None) -> list[StepRow]:
    if run and (found := rows.read(run)):
        return found
    if run is None:
        youngest = rows._replace(limit=1).read()
        if not youngest:
            raise rows.none("run")
        return rows.read(youngest[0].run)
    every = rows.read()
    ids = list(dict.fromkeys(row.run for row in every if row.run.startswith(run)))
    if not ids:
        raise rows.none(f"run {run!r}")
    if len(ids) > 1:
        raise InputError(f"{len(ids):,} runs begin with {run!r}, {', '.join(ids[:3])} among them; give more of the id")
    return [row for row in every if row.run == ids[0]]


def _others(rows: _Rows, pipeline: str) -> list[Graph]:
    from headway.pipeline.explain.graph import graphs_of

    return graphs_of(rows._replace(pipeline=pipeline, limit=min(rows.limit, _OTHERS_ROWS_MAX)).read())


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((80, 24)).columns


def _many(rows: _Rows, watch: Watch, faster: float, *, check: bool, json: bool, html: Path | None) -> int:
    """All runs that were asked for; the exit code."""
    from headway.pipeline.explain.history import figures_of
    from headway.pipeline.explain.history_text import verdict
    from headway.pipeline.explain.regressions import regressions_of

    found = _graphs(rows)
    regressions, judged = regressions_of(found, watch)
    said = verdict(regressions, judged)
    figures = [] if check and html is None and not json else [figures_of(g, faster=faster) for g in found.values()]
    if html is not None:
        from headway.pipeline.explain.history_page import history_page

        _write_page(html, lambda: history_page(figures, said, shlex.join(["headway", *sys.argv[1:]])))
    if json:
        import msgspec

        told = {"version": 1, "judged": judged, "regressions": msgspec.to_builtins(regressions)}
        print_json({**told, "pipelines": [one.to_dict() for one in figures]})
    else:
        if not check:
            print_table(lambda console, width: _print(figures, console, width, more=bool(rows.pipeline)), width_min=80)
            typer.echo()
        for line in said:
            typer.echo(line)
        _say_files(html)
    return 1 if check and regressions else 0


def _graphs(rows: _Rows) -> dict[str, list[Graph]]:
    from headway.pipeline.explain.graph import graphs_of

    read = rows.read()
    is_cut = len(read) == rows.limit
    if is_cut:  # the oldest run may have been cut in two
        cut = read[0].run
        read = [row for row in read if row.run != cut]
    found: dict[str, list[Graph]] = {}
    for graph in graphs_of(read):
        found.setdefault(graph.run.pipeline, []).append(graph)
    if not found:
        if is_cut:
            raise InputError(f"the last {rows.limit:,} rows of {rows.path} hold no whole run; raise --limit")
        raise rows.none("whole run")
    return found


def _print(figures: list[PipelineFigures], console: Console, width: int, *, more: bool) -> None:
    from headway.pipeline.explain import history_text

    for number, one in enumerate(figures):
        if number:
            console.print()
        console.print(history_text.heading(one), markup=False)
        if one.steps:
            console.print(history_text.steps_table(one, width))
        if more and one.steps:
            history_text.more(one, console)
    console.print()
    console.print(
        "Each step shorter on paper: what that takes off the end-to-end p95 (p50 below 20 runs).", style="dim"
    )


def _write_page(path: Path | None, page: Callable[[], str]) -> None:
    if path is not None:
        from headway.report.written import write_page

        write_page(path, page())


def _say_files(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            typer.echo(f"Written: {path}", err=True)
