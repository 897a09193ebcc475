"""A comparison as one self-contained HTML page, well under 500 kB; rows and answers are in it only where asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from headway.measure.compare.comparison import Asked, Comparison
from headway.measure.compare.table import facts, lines
from headway.report import format as fmt
from headway.report.charts import differences_chart, ecdf_chart, ecdf_keys
from headway.report.page import card, card_row, definition_table, details, figure, page, section, table, text

__all__ = ["comparison_page"]

_ROWS_SHOWN = 50
_FAILURES_SHOWN = 20
_CHARS_MAX = 300


def comparison_page(done: Comparison, *, command: str = "", show_texts: bool = False) -> str:
    """The page's HTML.

    Args:
        done: The comparison.
        command: What to type to get the same again.
        show_texts: Whether rows, answers and what providers said about them may be in it.
    """
    notes = "".join(f"<p>{text(note)}</p>" for note in done.notes)
    title = f"{done.b} against {done.a}"
    head = ("", f"A: {done.a}", f"B: {done.b}", "B against A", "")
    parts = [
        f'<header><h1>{text(title)}</h1>{notes}</header><p class="lead">{text(done.sentence)}</p>',
        _cards(done),
        section("Side by side", table(head, [(line.full, *line[1:5]) for line in lines(done)]), wide=True),
        section("What it rests on", definition_table(dict(facts(done))), wide=True),
        '<div class="grid2">',
        section("Latency", _distribution(done)),
        section("Row by row", _differences(done)),
        "</div>",
        section("Failures", _failures(done, show_texts=show_texts), wide=True),
        section("Rows that came out differently", _disagreements(done, show_texts=show_texts), wide=True),
        section("How it was run", _how(done, command), wide=True),
    ]
    return page(title, "\n".join(parts))


def _cards(done: Comparison) -> str:
    found = {line.label: line for line in lines(done)}
    cards = [card("Verdict", done.verdict, f"on {done.rows:,} rows")]
    for label, line in found.items():
        if label.startswith("Time for ") or label in ("Latency of a row", "$ per 1,000 rows", "Failed rows"):
            estimate, _, interval = line.change.partition(" (")
            note = ", ".join(part for part in (interval.replace(")", ""), line.word) if part)
            cards.append(card(label, estimate, note))
    quality = done.findings.quality
    if quality.a is not None and quality.b is not None:
        cards.append(card("Quality", f"{quality.b * 100:.1f} %", f"A {quality.a * 100:.1f} %, {quality.rows:,} rows"))
    return card_row(cards)


def _answered(done: Comparison) -> list[tuple[float, float]]:
    """Latencies of rows that both answered."""
    pairs = [(one.a.result, one.b.result) for one in done.asked]
    return [(a.latency_s, b.latency_s) for a, b in pairs if a.outcome == "ok" and b.outcome == "ok"]


def _distribution(done: Comparison) -> str:
    series = [
        (name, [side.result.latency_s for side in sides if side.result.outcome == "ok"])
        for name, sides in ((done.a, [one.a for one in done.asked]), (done.b, [one.b for one in done.asked]))
    ]
    return figure(ecdf_chart(series, name="latency of rows", id_="e"), ecdf_keys([done.a, done.b]))


def _differences(done: Comparison) -> str:
    chart = differences_chart(
        [b - a for a, b in _answered(done)],
        name="latency, B less A",
        lower=f"{done.b} is faster",
        higher=f"{done.a} is faster",
        id_="d",
    )
    return figure(chart, ecdf_keys([f"{done.b} is faster", f"{done.a} is faster"]))


def _failures(done: Comparison, *, show_texts: bool) -> str:
    rows = [*_failed(done.a, [one.a.result for one in done.asked], show_texts=show_texts)]
    rows += _failed(done.b, [one.b.result for one in done.asked], show_texts=show_texts)
    if not rows:
        return '<p class="none">None.</p>'
    head = ("Variant", "What", "Rows", "The first of them") if show_texts else ("Variant", "What", "Rows")
    return table(head, rows, left=True)


def _failed(name: str, results: list[Any], *, show_texts: bool) -> Iterator[tuple[str, ...]]:
    bad = [one for one in results if one.outcome != "ok"]
    for kind, count in Counter(_kind(one) for one in bad).most_common(_FAILURES_SHOWN):
        first = next(one for one in bad if _kind(one) == kind)
        yield (name, kind, f"{count:,}", *((_cut(first.error),) if show_texts else ()))


def _kind(result: Any) -> str:
    code = result.error_code
    return result.outcome if not code or code == result.outcome else f"{result.outcome} ({code})"


def _disagreements(done: Comparison, *, show_texts: bool) -> str:
    apart = [one for one in done.asked if one.score_a.value != one.score_b.value]
    if not apart:
        return '<p class="none">None: every row has the same mark on both sides, or no mark.</p>'
    more = f'<p class="note">The first {_ROWS_SHOWN} of {len(apart):,}.</p>' if len(apart) > _ROWS_SHOWN else ""
    shown = sorted(apart, key=lambda one: one.row)[:_ROWS_SHOWN]
    head = ["Row", f"A: {done.a}", f"B: {done.b}"]
    if not show_texts:
        told = '<p class="note">What was asked and answered is left out; --show-texts puts it in.</p>'
        return table(head, [(f"{one.row + 1}", *_marks(one)) for one in shown]) + more + told
    rows = [
        (f"{one.row + 1}", *(f"{mark}: {_said(side.result)}" for mark, side in _sides(one)), _row(one.a.result.row))
        for one in shown
    ]
    return table([*head, "The row"], rows, left=True) + more


def _sides(one: Asked) -> list[tuple[str, Any]]:
    return list(zip(_marks(one), (one.a, one.b), strict=True))


def _marks(one: Asked) -> tuple[str, str]:
    return _mark(one.score_a.value), _mark(one.score_b.value)


def _mark(value: float | None) -> str:
    return {None: "no mark", 1.0: "right", 0.0: "wrong"}.get(value) or fmt.percent(value)


def _said(result: Any) -> str:
    """The answer's value where it is a word or a number, else the answer."""
    return _cut(str(result.value if isinstance(result.value, str | int | float) else result.text))


def _row(row: Mapping[str, Any]) -> str:
    return _cut("; ".join(f"{name}: {value}" for name, value in row.items()))


def _cut(said: str) -> str:
    return said if len(said) <= _CHARS_MAX else f"{said[: _CHARS_MAX - 1]}…"


def _how(done: Comparison, command: str) -> str:
    pairs = {
        "order": f"each {'row' if done.sets is None else 'set of rows'} both ways; which first was drawn",
        "seed": done.seed,
        "margin": f"{done.findings.quality.margin * 100:g} points",
    }
    ways = [(one.name, one.method, f"{one.rows:,}") for one in done.findings.metrics]
    ways.append(("quality", done.findings.quality.method, f"{done.findings.quality.rows:,}"))
    again = f"<pre>{text(command)}</pre>" if command else ""
    return (
        definition_table(pairs) + details("How each figure was got", table(("Metric", "Method", "Rows"), ways)) + again
    )
