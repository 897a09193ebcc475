"""One run as a page that loads nothing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from headway.pipeline.explain.chart import KEYS, run_chart
from headway.pipeline.explain.lines import Line
from headway.pipeline.explain.waterfall import path_told
from headway.report import format as fmt
from headway.report.page import bar_table, card, card_row, figure, page, section, table, text

if TYPE_CHECKING:
    from headway.pipeline.explain.report import RunReport

__all__ = ["run_page"]

_LINES_MAX = 500
_LINKS_MAX = 200
_HEAD = (
    "step", "ready", "waited", "start", "first\nchunk", "end", "slack", "tokens\nin", "tokens\nout", "cost",
    "tries", "requests\nsent", "outcome",
)  # fmt: skip


def run_page(report: RunReport) -> str:
    """The page."""
    run, path = report.graph.run, report.path
    when = datetime.fromtimestamp(run.start_wall_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    parts = [
        f"<header><h1>{text(run.pipeline)}</h1><p>Run {text(run.run)}, {when}</p></header>",
        f'<p class="lead">{text(report.sentence)}</p>',
        _cards(report),
        section("Where the time went", figure(_wide(run_chart(report.lines, report.graph.end_s)), KEYS), wide=True),
    ]
    if path.links:
        told = [(label, took_s, fmt.seconds(took_s), "a") for label, took_s in path_told(path)]
        made = bar_table(told, f"{fmt.seconds(path.end_s)} end to end, all of it on the critical path")
        parts.append(section("What the critical path is made of", made, wide=True))
        parts.append(section("The critical path", _links(report), wide=True))
    note = (
        '<p class="note">Times in seconds after the run&#39;s start. Of several steps in one row: the first start, the '
        "longest wait, the last end. Slack: how much later the step could have been without moving the end.</p>"
    )
    if report.lines:
        rows = [_cells(line) for line in report.lines[:_LINES_MAX]]
        parts.append(section("Step by step", table(_HEAD, rows) + note, wide=True))
    return page(f"{run.pipeline} {run.run}", "\n".join(parts))


def _wide(chart: str) -> str:
    """On a phone a chart of this width is moved, not shrunk."""
    return f'<div class="scroll"><div style="min-width:40rem">{chart}</div></div>'


def _cards(report: RunReport) -> str:
    run, speedup = report.graph.run, report.speedup
    rows = [node.row for node in report.graph.nodes.values()]
    given, written = sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows)
    hits = sum(row.hits for row in rows)
    cards = [
        card("End to end", fmt.seconds(report.graph.end_s), "" if run.outcome == "ok" else run.outcome),
        card(
            "One after the other",
            fmt.seconds(report.one_after_another_s),
            f"{speedup:.1f}x as long" if speedup and speedup >= 1.05 else "",
        ),
        card("Cost", fmt.dollars(report.dollars), f"{hits:,} answers not paid again" if hits else ""),
        card("Tokens", f"{written:,} out", f"{given:,} in"),
        card("Requests sent", f"{sum(row.attempts for row in rows):,}", f"by {len(rows):,} steps"),
    ]
    if run.first_chunk_s is not None and run.first_chunk_s < report.graph.end_s:
        cards.insert(1, card("First chunk", fmt.seconds(run.first_chunk_s)))
    return card_row(cards)


def _links(report: RunReport) -> str:
    rows = [
        (
            fmt.printable(link.step),
            fmt.seconds(link.limit_s),
            fmt.seconds(link.pacing_s),
            fmt.seconds(link.first_chunk_s),
            fmt.seconds(link.work_s),
            fmt.seconds(link.after_s),
        )
        for link in report.path.links[:_LINKS_MAX]
    ]
    return table(("step", "to\nstart", "limits,\nbudget", "first\nchunk", "rest", "then the\nprogram"), rows)


def _cells(line: Line) -> tuple[str, ...]:
    given, written = line.tokens()
    began = line.started_s is not None
    return (
        fmt.printable(line.label),
        _at(line.ready_s) if began else "-",
        _at(line.waited_s) if began else "-",
        _at(line.started_s),
        _at(line.first_chunk_s),
        _at(line.end_s),
        fmt.seconds(line.slack_s),
        f"{given:,}",
        f"{written:,}",
        fmt.dollars(line.dollars()),
        f"{sum(node.row.tries for node in line.nodes) if began else 0:,}",
        f"{sum(node.row.attempts for node in line.nodes):,}",
        line.outcome,
    )


def _at(moment_s: float | None) -> str:
    return "-" if moment_s is None else f"{moment_s:.3f}"
