"""Reports as one self-contained HTML page: no network, no script, light and dark, from a phone's width up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headway.report import format as fmt
from headway.report.boxes import Axes, detail
from headway.report.comparison import COMPARED, Compared
from headway.report.figures import Summary
from headway.report.page import bar_table, card, card_row, definition_table, page, section, text
from headway.report.written import write_page

__all__ = ["write_comparison", "write_report"]


def write_report(
    path: str | os.PathLike[str],
    summary: Summary,
    *,
    title: str = "Headway report",
    settings: Mapping[str, object] | None = None,
    command: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write one run's page (well under 500 kB, whatever the number of rows) and return its path.

    Args:
        path: Where to; its folder must exist. Replaced as a whole, or not at all.
        summary: The figures.
        title: The page's heading, e.g. the input's name.
        settings: What the run was told, shown as it is: credentials have no place in it.
        command: What to type to get the same again.
        notes: Sentences under the heading.

    Raises:
        ConfigError: The page cannot be written there.
    """
    parts = [_header(title, [_told(summary), *notes]), _cards(summary), detail(summary, "r", None)]
    if settings or command:
        again = f"<pre>{text(command)}</pre>" if command else ""
        parts.append(section("Settings, and how to run it again", definition_table(settings or {}) + again, wide=True))
    return write_page(Path(path), page(title, "\n".join(parts)))


def write_comparison(
    path: str | os.PathLike[str],
    runs: Mapping[str, Summary],
    *,
    baseline: str,
    title: str = "Headway comparison",
    verdict: str = "",
    settings: Mapping[str, object] | None = None,
    command: str = "",
    notes: Sequence[str] = (),
) -> Path:
    """Write several runs side by side, the charts of all of them on the same axes, and return the path.

    Args:
        path: Where to; its folder must exist.
        runs: Name -> figures, in the order to be shown; at most 8.
        baseline: The run that ratios refer to.
        title: The page's heading.
        verdict: A sentence or two that stand out.
        settings: What the runs were told.
        command: What to type to get the same again.
        notes: Sentences under the heading.

    Raises:
        ConfigError: The page cannot be written there.
        KeyError: There is no run named `baseline`.
        ValueError: More than 8 runs.
    """
    if len(runs) > 8:
        raise ValueError(f"A comparison shows at most 8 runs, not {len(runs)}.")
    base = runs[baseline]
    lead = f'<p class="lead">{text(verdict)}</p>' if verdict else ""
    bins = [one for summary in runs.values() for one in summary.histogram]
    shared = Axes(
        latency=(min(b[0] for b in bins), max(b[1] for b in bins)) if bins else None,
        time_s=max(len(s.series.in_flight) * s.series.step_s for s in runs.values()) or None,
        requests=max((max(s.series.in_flight + s.series.waiting, default=0.0) for s in runs.values()), default=0.0)
        or None,
    )
    runtimes = [(name, s.runtime_s, fmt.seconds(s.runtime_s), "a") for name, s in runs.items()]
    costs = [(name, s.cost.total or 0.0, fmt.dollars(s.cost.total), "a") for name, s in runs.items()]
    parts = [
        _header(title, notes) + lead,
        '<div class="grid2" style="margin-top:1.75rem">'
        + section("Total runtime", bar_table(runtimes, f"{base.rows:,} rows each"))
        + section("Cost", bar_table(costs, "US dollars, by the provider's list price"))
        + "</div>",
        section("Side by side", _side_by_side(runs, base, baseline), wide=True),
    ]
    for i, (name, summary) in enumerate(runs.items()):
        parts.append(f'<h2 class="run">{text(name)}</h2>{detail(summary, f"r{i}", shared)}')
    if settings or command:
        again = f"<pre>{text(command)}</pre>" if command else ""
        parts.append(section("Settings, and how to run it again", definition_table(settings or {}) + again, wide=True))
    return write_page(Path(path), page(title, "\n".join(parts)))


def _header(title: str, notes: Sequence[str]) -> str:
    return f"<header><h1>{text(title)}</h1>{''.join(f'<p>{text(note)}</p>' for note in notes if note)}</header>"


def _told(s: Summary) -> str:
    failed, by = s.rows - s.ok, f" by {s.model}" if s.model else ""
    return (
        f"{s.ok:,} of {s.rows:,} rows answered{by} in {fmt.seconds(s.runtime_s)}"
        f"{f', {failed:,} failed' if failed else ''}"
        f"{f', {s.resumed:,} taken over from an earlier run' if s.resumed else ''}."
    )


def _cards(s: Summary) -> str:
    calls = s.call_latency
    saved = None if s.cost.saved_cache is None or s.cost.saved_join is None else s.cost.saved_cache + s.cost.saved_join
    cost_note = "" if s.cost.per_1000_rows is None else f"{fmt.dollars(s.cost.per_1000_rows)} per 1,000 rows"
    if s.cost.rows_unknown:
        cost_note = f"{fmt.dollars(s.cost.known)} known, {s.cost.rows_unknown:,} rows unknown"
    allowed = f"; {fmt.percent(s.allowed_used)} of the allowed rate" if s.allowed_used is not None else ""
    cards = [
        card("Total runtime", fmt.seconds(s.runtime_s), f"{fmt.count(s.requests_per_s)} requests/s"),
        card(
            "Call latency",
            fmt.seconds(calls.mean_s),
            f"mean; p50 {fmt.seconds(calls.p50_s)}, p95 {fmt.seconds(calls.p95_s)}",
        ),
        card("Cost", fmt.dollars(s.cost.total), cost_note),
        card("Requests sent", fmt.count(s.attempts), f"{s.throttled:,} x 429{allowed}"),
    ]
    if s.reuse.hit_rate is not None:
        reused = f"{s.reuse.hits:,} hits, {s.reuse.joins:,} joined"
        cards.append(
            card(
                "Cache hit rate",
                fmt.percent(s.reuse.hit_rate),
                reused + (f"; saved {fmt.dollars(saved)}" if saved else ""),
            )
        )
    cards.append(
        card(
            "Mean output",
            f"{fmt.count(s.output_tokens_mean)} tokens",
            f"{fmt.count(s.output_chars_mean)} characters",
        )
    )
    if s.accuracy is not None:
        a = s.accuracy
        cards.append(
            card(
                "Accuracy",
                fmt.percent(a.ratio),
                f"{a.right:,} of {a.count:,}; 95 % interval {fmt.interval(a.low, a.high)}",
            )
        )
    return card_row(cards)


def _side_by_side(runs: Mapping[str, Summary], base: Summary, baseline: str) -> str:
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in runs)
    body = "".join(
        f'<tr><th scope="row">{text(label)}</th>'
        + "".join(_cell(cell(base, s), s is base) for s in runs.values())
        + "</tr>"
        for label, cell in COMPARED
    )
    note = f'<p class="note">Ratios refer to "{text(baseline)}". Brackets are 95 % intervals.</p>'
    rows = f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll"><table>{rows}</table></div>{note}'


def _cell(cell: Compared, is_base: bool) -> str:
    note = "" if is_base and not cell.always else cell.note
    css = ' class="good"' if cell.better else ""
    return f"<td>{text(cell.value)}{f'<small{css}>{text(note)}</small>' if note else ''}</td>"
