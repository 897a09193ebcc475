"""The figures in a terminal of 80 columns: latencies, then load and money, then where the time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from headway.measure.bench.equation import RESIDUAL_MAX
from headway.measure.bench.figures import Figures
from headway.measure.bench.schema import Bench, Highest, InTerms
from headway.measure.stats.intervals import Interval
from headway.report import format as fmt

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["PART_SHOWN", "between", "number", "print_bench", "sentences_of"]

PART_SHOWN = 0.001
"""Of the total: parts below it in every row get no column."""


def print_bench(console: Console, bench: Bench, *, width: int | None = None) -> None:
    """Everything a reader needs, tables first, then what they mean, in lines of `width` columns (the console's)."""
    for table in _tables(bench):
        console.print(table)
        console.print()
    for sentence in sentences_of(bench):
        console.print(fmt.printable(sentence), markup=False, width=width)


def sentences_of(bench: Bench) -> list[str]:
    """Verdicts, budgets, checks, failures and notes; where there are several rows, with the row's name in front."""
    told: list[str] = [verdict.sentence for verdict in bench.verdicts]
    told += [f"{one.target}: {one.sentence}." for one in bench.highest]
    several = len(bench.rows) > 1
    rows: dict[str, list[Figures]] = {}  # whose it is, for each sentence
    for one in bench.rows:
        own = [one.budget.sentence] if one.budget is not None else []
        own += [_thought(one)] if one.first_reasoning.count else []
        own += [one.equation.check] if one.equation.check and not (several and _holds(one)) else []
        own += [_failed(one)] if one.failures else []
        own += [_valid(one)] if one.valid < one.ok else []
        for sentence in (*own, *one.notes):
            rows.setdefault(sentence, []).append(one)
    told += [f"{_whose(whose, bench.rows)}{sentence}" for sentence, whose in rows.items()]
    if several and any(_holds(one) for one in bench.rows):
        worst = max(abs(one.equation.residual or 0.0) for one in bench.rows if _holds(one))
        told.append(f"TTFT + (tokens - 1) x TPOT gives the time to the last token to {fmt.percent(worst)}.")
    told += bench.notes
    checks = {one.load: _checked(one) for one in bench.rows if one.own_error is not None}
    told += [
        f"With {load}, {check}" if len(checks) > 1 else f"{check[0].upper()}{check[1:]}"
        for load, check in checks.items()
    ]
    return told


def _checked(one: Figures) -> str:
    """What the measurement found out about itself."""
    own = one.own_error
    assert own is not None  # the caller looked
    first = "" if own.ttft_p50_s is None else f"{own.ttft_p50_s * 1e3:+.2f} ms to TTFT and "
    asked, got = one.asked_rate_per_s, one.achieved_rate_per_s
    rate = f"; {got:.3g} of {asked:.3g} requests/s were started" if asked and got else ""
    return (
        f"this measurement itself adds {first}{own.latency_p50_s * 1e3:+.2f} ms to the total (medians of "
        f"{own.requests:,} requests to a null server); its timers were late by {fmt.seconds(one.loop_lag.p99_s)} (p99)"
        f"{rate}."
    )


def _thought(one: Figures) -> str:
    return (
        f"The first reasoning token came after {fmt.seconds(one.first_reasoning.p50)} (median), that of the answer "
        f"after {fmt.seconds(one.ttft.p50)}."
    )


def _holds(one: Figures) -> bool:
    """Whether the equation describes the row."""
    return one.equation.residual is not None and abs(one.equation.residual) <= RESIDUAL_MAX


def _whose(some: Sequence[Figures], rows: Sequence[Figures]) -> str:
    """The names of the rows that a sentence is of, to stand in front of it: those of all rows need none."""
    if len(some) == len(rows):
        return ""
    names = list(dict.fromkeys(one.target for one in some))
    if len(some) > 1 and len(some) == sum(one.target in names for one in rows):
        return f"{', '.join(names)}: "
    loads = list(dict.fromkeys(one.load for one in some))
    if len(some) > 1 and len(some) == sum(one.load in loads for one in rows):
        return f"{', '.join(loads)}: "
    return f"{'; '.join(f'{one.target}, {one.load}' for one in some)}: "


def _valid(one: Figures) -> str:
    """What is not what the task asks for: the clocks have it, goodput and the cost of a success do not."""
    return f"Valid answers: {one.valid:,} of {one.ok:,}; the first that is none: {one.invalid.rstrip('.')}."


def _failed(one: Figures) -> str:
    kinds = "; ".join(
        f"{failure.count:,} x {f'{failure.outcome} {failure.code}'.strip()} ({failure.message})"
        for failure in one.failures
    )
    return f"{one.failed:,} of {one.due:,} requests failed: {kinds}."


def _tables(bench: Bench) -> Iterator[RenderableType]:
    if bench.rows:
        yield _latencies(bench.rows)
        if told := [one for one in bench.rows if one.ok]:  # of the others there is nothing to tell
            yield _loads(told, goodput=bench.slo is not None)
        if split := [one for one in bench.rows if one.equation.answers]:
            yield _equations(split)
    for highest in bench.highest:
        if highest.tried:
            yield _tried(highest)
    for terms in bench.in_terms:
        yield _terms(terms)
    if bench.in_terms:
        yield "\n".join(bench.in_terms[0].differs)


def _table(*names: str) -> Table:
    from rich.text import Text

    from headway.report.grid import grid

    table = grid("dim", gap=1)
    for i, name in enumerate(names):
        table.add_column(Text(name), justify="right" if i else "left", no_wrap=True)
    return table


def _latencies(rows: Sequence[Figures]) -> RenderableType:
    table = _table("", "ok", "TTFT p50", "p95", "p99", "total p50", "p95", "p99")
    for one in rows:
        ttft, e2e = one.ttft, one.e2e
        table.add_row(
            _named(one.target, one.load),
            f"{one.ok:,}/{one.due:,}",
            _with(ttft.p50, ttft.p50_interval),
            _with(ttft.p95, ttft.p95_interval),
            fmt.seconds(ttft.p99),
            _with(e2e.p50, e2e.p50_interval),
            _with(e2e.p95, e2e.p95_interval),
            fmt.seconds(e2e.p99),
        )
    return table


def _loads(rows: Sequence[Figures], *, goodput: bool) -> RenderableType:
    names = ["", "ITL", "TPOT", "tok/s", "all", "req/s", "tokens", "per 1,000"]
    table = _table(*names, *(["in SLO"] if goodput else []))
    for one in rows:
        good = [f"{fmt.percent(one.good)}\n{number(one.goodput_per_s)}/s"] if goodput else []
        per_1000 = None if one.dollars_per_success is None else one.dollars_per_success * 1000
        table.add_row(
            _named(one.target, one.load),
            fmt.seconds(one.itl.mean),
            fmt.seconds(one.tpot.p50),
            number(one.tokens_per_s.p50),
            number(one.output_tokens_per_s),
            number(one.requests_per_s),
            f"{fmt.count(one.input_tokens)} in\n{fmt.count(one.output_tokens)} out",
            "-" if per_1000 is None else fmt.dollars(per_1000),
            *good,
        )
    return table


def _equations(rows: Sequence[Figures]) -> RenderableType:
    """Means, for they add up: what makes the time to the first token, and what comes on top."""
    first = next(one.equation for one in rows if one.equation.parts)
    shown = [i for i in range(len(first.parts)) if any(_share(one, i) >= PART_SHOWN for one in rows)]
    before = [i for i in shown if first.parts[i].share_of_ttft is not None]
    after = [i for i in shown if i not in before]
    heads = [[first.parts[i].label.replace(" and ", "\nand ") for i in part] for part in (before, after)]
    table = _table("means, and\nwhere they go", *heads[0], "= TTFT", *heads[1], "= total")
    for one in rows:
        equation = one.equation
        cells = [[_part(one, i) for i in part] for part in (before, after)]
        table.add_row(
            _named(one.target, one.load),
            *cells[0],
            fmt.seconds(equation.ttft_mean_s),
            *cells[1],
            fmt.seconds(equation.total_mean_s),
        )
    return table


def _share(one: Figures, i: int) -> float:
    return one.equation.parts[i].share if one.equation.parts else 0.0


def _part(one: Figures, i: int) -> str:
    if not one.equation.parts:
        return "-"
    return f"{fmt.seconds(one.equation.parts[i].mean_s)}\n{fmt.percent(_share(one, i))}"


def _tried(highest: Highest) -> RenderableType:
    """The rates in the order in which they were tried."""
    table = _table(fmt.printable(highest.target), "requests/s", "in SLO", "kept")
    for i, (rate, share, kept) in enumerate(highest.tried):
        table.add_row(str(i + 1), number(rate), fmt.percent(share), "yes" if kept else "no")
    return table


def _terms(terms: InTerms) -> RenderableType:
    names = list(dict.fromkeys(name for term in terms.terms for name in term.values if name))
    table = _table(f"{terms.tool}: {fmt.printable(terms.target)}, {terms.load}", *names, "unit")
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"  # where room is short, no figure is cut
    for term in terms.terms:
        if "" in term.values:
            cells = [number(term.values[""]), *("" for _ in names[1:])]
        else:
            cells = [number(term.values[name]) if name in term.values else "" for name in names]
        table.add_row(term.name, *cells, term.unit)
    return table


def _named(target: str, load: str) -> Text:
    """A row's name: the load stands under the target, where intervals stand beside it."""
    from rich.text import Text

    return Text(f"{fmt.printable(target)}\n{load}")


def _with(value_s: float | None, interval: Interval | None) -> str:
    """A time, and under it its 95 % interval."""
    told = "" if interval is None or value_s is None else f"\n{between(interval)}"
    return fmt.seconds(value_s) + told


def between(interval: Interval) -> str:
    """An interval of seconds, in the unit of its estimate: "1.18-1.26", "265-297"."""
    scale = 1.0 if interval.estimate >= 0.9995 else 1e3
    digits = 2 if scale == 1.0 or interval.estimate < 0.01 else 1 if interval.estimate < 0.1 else 0
    return f"{interval.low * scale:.{digits}f}-{interval.high * scale:.{digits}f}"


def number(value: float | None) -> str:
    """A figure to three digits; None is "-"."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 99.95 or value == 0 else f"{value:.3g}"
