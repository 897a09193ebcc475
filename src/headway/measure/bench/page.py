"""The report of a bench as one HTML page that loads nothing: distributions, one call, the equation, tables, notes."""

from __future__ import annotations

from collections.abc import Sequence

from headway.measure.bench.equation import PARTS, countable, parts_of
from headway.measure.bench.figures import Figures, of_provider
from headway.measure.bench.run_types import Run
from headway.measure.bench.schema import Bench
from headway.measure.bench.spread import Spread
from headway.measure.bench.table import PART_SHOWN, between, number, sentences_of
from headway.measure.probe import Probe
from headway.report import format as fmt
from headway.report.charts import SERIES_MAX, ecdf_chart, ecdf_keys
from headway.report.charts_base import COLOURS
from headway.report.charts_time import Span, stacked_chart, waterfall_chart
from headway.report.page import card, card_row, definition_table, details, figure, page, section, table, text

__all__ = ["bench_page"]

_COLOUR = {name: i for i, name in enumerate(("generation", "provider", "thinking", "network", "wait", "connect"))}
"""Part -> place in `COLOURS`: the same in all charts of the page."""
_COLOUR["closing"] = 7
_ROWS_MAX = 60
_NOTES_MAX = 100


def bench_page(bench: Bench, loads: Sequence[Sequence[Run]], *, title: str = "", command: str = "") -> str:
    """The page, well under 500 kB whatever the number of requests.

    Args:
        bench: What was found.
        loads: The runs that it was made of, in the order of its rows.
        title: The heading; by default the targets.
        command: What to type to get the same again.
    """
    runs = [run for group in loads for run in group]
    names = list(dict.fromkeys(run.target for run in runs))
    heading = title or f"Bench: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
    lead = [verdict.sentence for verdict in bench.verdicts] or [
        one.budget.sentence for one in bench.rows if one.budget is not None
    ]
    leads = "".join(f'<p class="lead">{text(sentence)}</p>' for sentence in lead[:6])
    header = f"<header><h1>{text(heading)}</h1><p>{text(_told(bench))}</p></header>{leads}"
    parts = [header, _cards(bench.rows), _distributions(bench, runs), _time(bench, runs)]
    told = [one for one in bench.rows if one.ok][:_ROWS_MAX]  # of the others there is nothing but their failures
    if told:
        goodput = bench.slo is not None
        parts.append(section("Figures", _latencies(told) + _loads(told, goodput=goodput), wide=True))
    parts.append(_terms(bench))
    sentences = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences_of(bench)[:_NOTES_MAX])
    parts.append(section("What to know", f"<ul>{sentences}</ul>", wide=True) if sentences else "")
    again = f"<pre>{text(command)}</pre>" if command else ""
    parts.append(section("How it was asked, and how to ask again", definition_table(bench.asked) + again, wide=True))
    return page(heading, "\n".join(part for part in parts if part))


def _told(bench: Bench) -> str:
    due, ok = sum(one.due for one in bench.rows), sum(one.ok for one in bench.rows)
    failed = f", {due - ok:,} failed" if due > ok else ""
    return f"{ok:,} of {due:,} requests answered{failed}. Times count from when each request was due."


def _cards(rows: Sequence[Figures]) -> str:
    """Headlines, where there is but one row."""
    if len(rows) != 1:
        return ""
    one = rows[0]
    answered = card("Answered", f"{one.ok:,} of {one.due:,}", f"{number(one.requests_per_s)} a second")
    if not one.ok:
        return card_row([answered])
    cards = [
        card("Time to first token", fmt.seconds(one.ttft.p50), _p95(one.ttft)),
        card("Whole answer", fmt.seconds(one.e2e.p50), _p95(one.e2e)),
        card("Tokens/s of a stream", number(one.tokens_per_s.p50), f"{fmt.seconds(one.tpot.p50)} a token"),
        answered,
        card("Cost", fmt.dollars(one.dollars), f"{fmt.dollars(one.dollars_per_success)} a success"),
    ]
    return card_row(cards)


def _p95(spread: Spread) -> str:
    return "median" if spread.p95 is None else f"median; p95 {fmt.seconds(spread.p95)}"


def _distributions(bench: Bench, runs: Sequence[Run]) -> str:
    several = len({run.load.label for run in runs}) > 1
    runs = [run for run in runs if run.answered]
    if not runs:
        return ""
    shown = runs[:SERIES_MAX]
    labels = [f"{run.target}, {run.load.label}" if several else run.target for run in shown]
    good = [of_provider(run) for run in shown]
    ttft = [
        (label, [p.ttft_s for p in own if p.streamed and p.ttft_s is not None])
        for label, own in zip(labels, good, strict=True)
    ]
    e2e = [(label, [p.latency_s for p in own]) for label, own in zip(labels, good, strict=True)]
    ttft_marks, e2e_marks = _marks(bench)
    left_out = len(runs) - len(shown)
    note = f'<p class="note">{left_out} more rows are in the table alone.</p>' if left_out else ""
    boxes = [
        section(
            "Time to first token",
            figure(ecdf_chart(ttft, name="time to first token", marks=ttft_marks, id_="ttft"), ecdf_keys(labels))
            + note,
        ),
        section(
            "Whole answer",
            figure(ecdf_chart(e2e, name="time to the end", marks=e2e_marks, id_="e2e"), ecdf_keys(labels)) + note,
        ),
    ]
    return f'<div class="grid2" style="margin-top:1.75rem">{"".join(boxes)}</div>'


def _marks(bench: Bench) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Budget and SLO, for the two charts."""
    budget = next((one.budget for one in bench.rows if one.budget is not None), None)
    ttft: list[tuple[float, str]] = []
    e2e: list[tuple[float, str]] = []
    if budget is not None and budget.budget_s is not None:
        ttft.append((budget.budget_s, budget.use_case))
    if bench.slo is not None:
        ttft += [(bench.slo.ttft_s, "SLO")] if bench.slo.ttft_s is not None else []
        e2e += [(bench.slo.e2e_s, "SLO")] if bench.slo.e2e_s is not None else []
    return ttft, e2e


def _time(bench: Bench, runs: Sequence[Run]) -> str:
    """The equation of all rows, and one call of the first row that has one."""
    rows = [
        (f"{one.target}, {one.load}", [(part.label, part.mean_s, _COLOUR[part.name]) for part in one.equation.parts])
        for one in bench.rows[:_ROWS_MAX]
        if one.equation.parts
    ]
    if not rows:
        return ""
    used = {part.name for one in bench.rows for part in one.equation.parts if part.share >= PART_SHOWN}
    keys = [(COLOURS[_COLOUR[name]], label) for name, (label, _) in PARTS.items() if name in used]
    first = next(one.equation for one in bench.rows if one.equation.parts)
    known = details(
        "How each part is known",
        table(("part", "how it is known"), [(part.label, part.known) for part in first.parts], left=True),
    )
    chart = figure(stacked_chart(rows, name="mean time, in parts", id_="eq"), keys)
    boxes = [section("Where the time goes", chart + known)]
    at = next(i for i, one in enumerate(bench.rows) if one.equation.parts)
    call = _median_call([probe for probe in of_provider(runs[at]) if countable(probe)])
    if call is not None:
        spans = _spans(call, bench.rows[at])
        label = f"{bench.rows[at].target}, {bench.rows[at].load}: the call of the median total"
        chart = figure(waterfall_chart(spans, name="since it was due", id_="one"))
        boxes.append(section("One call", f'{chart}<p class="note">{text(label)}</p>'))
    return f'<div class="grid2">{"".join(boxes)}</div>'


def _median_call(probes: Sequence[Probe]) -> Probe | None:
    ranked = sorted(probes, key=lambda probe: probe.latency_s)
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def _spans(call: Probe, row: Figures) -> list[Span]:
    at_s, spans = 0.0, []
    for name, seconds in parts_of(call, row.equation.round_trip).items():
        if seconds >= PART_SHOWN * call.latency_s:
            spans.append(Span(PARTS[name][0], at_s, at_s + seconds, _COLOUR[name]))
        at_s += seconds
    return spans


def _latencies(rows: Sequence[Figures]) -> str:
    head = ("", "ok", "TTFT\nmean", "p50", "p95", "p99", "total\nmean", "p50", "p95", "p99", "ITL\nmean", "TPOT\np50")
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row" style="white-space:nowrap">{text(one.target)}<br><small>{text(one.load)}</small></th>'
        f"<td>{one.ok:,}/{one.due:,}</td>"
        + "".join(_cell(spread, name) for spread in (one.ttft, one.e2e) for name in ("mean", "p50", "p95", "p99"))
        + f"<td>{text(fmt.seconds(one.itl.mean))}</td><td>{text(fmt.seconds(one.tpot.p50))}</td></tr>"
        for one in rows
    )
    note = (
        '<p class="note">Below a figure: its 95 % interval. p95 needs 20 answers, p99 needs 100; ITL is between '
        "events, TPOT per token.</p>"
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>{note}'


def _cell(spread: Spread, name: str) -> str:
    value, interval = getattr(spread, name), getattr(spread, f"{name}_interval", None)
    told = "" if interval is None else f"<small>{text(between(interval))}</small>"
    return f"<td>{text(fmt.seconds(value))}{told}</td>"


def _loads(rows: Sequence[Figures], *, goodput: bool) -> str:
    head = ["row", "tok/s a stream", "tok/s in all", "requests/s", "in", "out", "reasoning", "cost", "a success"]
    body = [
        (
            f"{one.target}, {one.load}",
            number(one.tokens_per_s.p50),
            number(one.output_tokens_per_s),
            number(one.requests_per_s),
            fmt.count(one.input_tokens),
            fmt.count(one.output_tokens),
            fmt.count(one.reasoning_tokens),
            fmt.dollars(one.dollars),
            fmt.dollars(one.dollars_per_success),
            *((f"{fmt.percent(one.good)}, {number(one.goodput_per_s)}/s",) if goodput else ()),
        )
        for one in rows
    ]
    return f'<div style="margin-top:1.1rem">{table([*head, *(["within the SLO"] if goodput else [])], body)}</div>'


def _terms(bench: Bench) -> str:
    boxes = []
    for one in bench.in_terms[:_ROWS_MAX]:
        names = list(dict.fromkeys(name for term in one.terms for name in term.values if name))
        rows = []
        for term in one.terms:
            values = [term.values.get(name) for name in names] if "" not in term.values else [term.values[""]]
            cells = [("-" if value is None else f"{value:,.4g}") for value in values]
            rows.append((term.name, *cells, *("" for _ in names[len(cells) :]), term.unit))
        notes = "".join(f'<p class="note">{text(sentence)}</p>' for sentence in one.differs)
        boxes.append(details(f"{one.tool}: {one.target}, {one.load}", table(("", *names, "unit"), rows) + notes))
    return section("In another tool's terms", "".join(boxes), wide=True) if boxes else ""
