"""From results to a `Summary`, one at a time and in bounded memory, however many rows there are."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from headway.report.figures import Failure, LatencyFigures, Reuse, Series, Summary, Tokens, wilson
from headway.report.money import Kind, Money, Rates, kind_of
from headway.report.series import LogHistogram, Quantiles, Timeline
from headway.types import Result, Usage

__all__ = ["Summary", "SummaryBuilder"]

_CATEGORIES_SHOWN: Final = 50
_CATEGORIES_MAX: Final = 1_000
_CATEGORY_CHARS_MAX: Final = 80
_FAILURES_MAX: Final = 50
_MESSAGE_CHARS_MAX: Final = 300


class SummaryBuilder:
    """Takes every `Result` of a run; `build` gives the figures so far and may be called at any time.

    Args:
        model: The model's name, for the report and the prices.
        expected_column: The column of a row that holds the right answer; "" when there is none.
        rates: The model's prices, to split the cost; None: looked up by the model's name when first needed.
        categories: Whether answers are counted by value; they are when they are short texts.
        exact_max: Latencies of each kind kept one by one; beyond, percentiles are right to 1 %.
    """

    def __init__(
        self,
        *,
        model: str = "",
        expected_column: str = "",
        rates: Rates | None = None,
        categories: bool = True,
        exact_max: int = 100_000,
    ) -> None:
        self.model = model
        self._expected_column = expected_column
        self._rates = rates
        self._rates_known = rates is not None
        self._categories_wanted = categories
        self._rows = self._resumed = self._ok = self._attempts = self._repairs = 0
        self._batched = 0  # attempts in batches, which limits of the online lane do not know
        self._lanes: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._failures: dict[tuple[str, str], list[Any]] = {}  # -> [count, first row, its message]
        self._latency = {kind: Quantiles(exact_max) for kind in ("all", "call", "hit", "join", "wait")}
        self._output_tokens = [0, 0]  # sum, rows
        self._output_chars = [0, 0]
        self._tokens: Counter[str] = Counter()
        self._estimated = False
        self._money = Money()
        self._kinds: Counter[str] = Counter()
        self._categories: Counter[str] = Counter()
        self._categories_other = 0
        self._judged = self._right = 0
        self._timeline = Timeline(lanes=2)
        self._histogram = LogHistogram()

    def add(self, result: Result, expected: str | None = None, *, resumed: bool = False) -> None:
        """Count one row.

        Args:
            result: What became of it.
            expected: Its right answer; by default what stands in `expected_column`.
            resumed: An earlier run had it: it counts in what came out, not in what this run took.
        """
        self._rows += 1
        if expected is None and self._expected_column:
            value = result.row.get(self._expected_column)
            expected = None if value is None else str(value)
        self._judge(result, expected)
        if resumed:
            self._resumed += 1
        elif result.outcome != "input":  # that was never sent: no time, no tokens, no cost
            self._take(result)

    def _take(self, result: Result) -> None:
        """Count what it took: time, tokens, money."""
        self._attempts += result.attempts
        self._lanes[result.lane or "online"] += 1
        if result.lane == "batch":
            self._batched += result.attempts
        self._repairs += result.repairs
        kind = kind_of(result)
        self._time(result, kind)
        self._kinds["off" if kind == "call" and result.cache in ("", "off") else kind] += 1
        if result.usage is not None:
            self._count_tokens(result.usage, kind)
        self._money.add(result, kind, self._prices())

    def build(
        self,
        *,
        wall_s: float,
        throttled: int = 0,
        allowed_rpm: float | None = None,
        attempts: int | None = None,
        owed: int = 0,
    ) -> Summary:
        """The figures.

        Args:
            wall_s: How long the run took, in seconds.
            throttled: 429s so far (`Engine.snapshot`).
            allowed_rpm: Requests a minute that are allowed, None when unknown.
            attempts: Requests sent so far, when better known than by adding up the rows'.
            owed: Rows that were not done.
        """
        attempts = self._attempts if attempts is None else attempts
        used = attempts / (wall_s / 60) / allowed_rpm if allowed_rpm and wall_s > 0 and not self._batched else None
        shown = self._categories.most_common(_CATEGORIES_SHOWN)
        other = self._categories_other + self._categories.total() - sum(n for _, n in shown)
        if self._free_text():
            shown, other = [], 0
        return Summary(
            model=self.model,
            rows=self._rows,
            resumed=self._resumed,
            ok=self._ok,
            owed=owed,
            failed=dict(self._failed.most_common()),
            failures=self._failure_groups(),
            runtime_s=wall_s,
            requests_per_s=(self._rows - self._resumed) / wall_s if wall_s > 0 else None,
            latency=_figures(self._latency["all"]),
            call_latency=_figures(self._latency["call"]),
            hit_latency=_figures(self._latency["hit"]),
            join_latency=_figures(self._latency["join"]),
            own_wait=_figures(self._latency["wait"]),
            output_tokens_mean=_mean(self._output_tokens),
            output_chars_mean=_mean(self._output_chars),
            tokens=Tokens(**self._tokens, estimated=self._estimated),
            cost=self._money.cost(self._rows - self._resumed),
            reuse=self._reuse(),
            categories=dict(shown),
            categories_other=other,
            accuracy=wilson(self._right, self._judged) if self._judged else None,
            attempts=attempts,
            throttled=throttled,
            allowed_rpm=allowed_rpm,
            allowed_used=used,
            repairs=self._repairs,
            lanes=dict(self._lanes),
            series=self._series(),
            histogram=self._histogram.bins(),
        )

    def _time(self, result: Result, kind: Kind) -> None:
        end_s = result.started_at_s + result.latency_s
        if kind == "call" and result.attempts:
            # Of a row that was tried again only the sum of its waits is known: drawn as if it came first.
            sent_s = min(end_s, result.started_at_s + result.wait_s)
            self._timeline.add(0, sent_s, end_s)
            self._timeline.add(1, result.started_at_s, sent_s)
        if result.outcome == "ok":
            self._latency["all"].add(result.latency_s)
            self._latency[kind].add(result.latency_s)
            if kind == "call":
                self._latency["wait"].add(result.wait_s)
            self._histogram.add(result.latency_s, 0 if kind == "call" else 1)

    def _judge(self, result: Result, expected: str | None) -> None:
        """Count what came: success or failure, the answer's length and category, and whether it is right."""
        if result.outcome == "ok":
            self._ok += 1
            self._output_chars[0] += len(result.text)
            self._output_chars[1] += 1
            if result.usage is not None:
                self._output_tokens[0] += result.usage.output_tokens
                self._output_tokens[1] += 1
            self._categorise(result.value)
        else:
            self._failed[result.outcome] += 1
            self._note_failure(result)
        if expected and result.outcome in ("ok", "invalid_output"):
            self._judged += 1
            if result.outcome == "ok":
                self._right += str(result.value).strip().casefold() == expected.strip().casefold()

    def _categorise(self, value: Any) -> None:
        if not self._categories_wanted or not isinstance(value, (str, bool, int)):
            return
        name = str(value)
        if len(name) > _CATEGORY_CHARS_MAX or "\n" in name:
            self._categories_other += 1
        elif name in self._categories or len(self._categories) < _CATEGORIES_MAX:
            self._categories[name] += 1
        else:
            self._categories_other += 1

    def _free_text(self) -> bool:
        """Counting by value says nothing where most are long, or nearly every row has one of its own."""
        counted = self._categories.total()
        return self._categories_other > counted or (counted > 20 and len(self._categories) > 0.6 * counted)

    def _note_failure(self, result: Result) -> None:
        key = (result.outcome, result.error_code if result.error_code != result.outcome else "")
        if key in self._failures:
            self._failures[key][0] += 1
            if result.index < self._failures[key][1]:
                self._failures[key][1:] = [result.index, result.error[:_MESSAGE_CHARS_MAX]]
        elif len(self._failures) < _FAILURES_MAX:
            self._failures[key] = [1, result.index, result.error[:_MESSAGE_CHARS_MAX]]

    def _failure_groups(self) -> tuple[Failure, ...]:
        ranked = sorted(self._failures.items(), key=lambda item: (-item[1][0], item[0]))
        return tuple(
            Failure(outcome=outcome, code=code, count=n, row=row, message=message)
            for (outcome, code), (n, row, message) in ranked
        )

    def _count_tokens(self, usage: Usage, kind: Kind) -> None:
        if kind != "call":
            self._tokens["reused"] += usage.input_tokens + usage.output_tokens
            return
        tokens = self._tokens
        tokens["input"] += usage.input_tokens
        tokens["output"] += usage.output_tokens
        if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
            tokens["cached"] += usage.cached_tokens
            tokens["cache_write"] += usage.cache_write_tokens
            tokens["reasoning"] += usage.reasoning_tokens
        self._estimated = self._estimated or usage.estimated

    def _prices(self) -> Rates | None:
        if not self._rates_known:
            from headway.wire.prices import Prices  # imports the price list, which not every report needs

            self._rates = Prices().rates(self.model) if self.model else None
            self._rates_known = True
        return self._rates

    def _reuse(self) -> Reuse:
        hits, joins, misses = self._kinds["hit"], self._kinds["join"], self._kinds["call"]
        looked = hits + joins + misses
        return Reuse(
            hits=hits,
            joins=joins,
            misses=misses,
            off=self._kinds["off"],
            hit_rate=hits / looked if looked else None,
            reuse_rate=(hits + joins) / looked if looked else None,
        )

    def _series(self) -> Series:
        step_s, (in_flight, waiting) = self._timeline.means()
        return Series(step_s=step_s, in_flight=in_flight, waiting=waiting)


def _figures(values: Quantiles) -> LatencyFigures:
    p50, p95, p99 = values.quantiles(0.5, 0.95, 0.99)
    return LatencyFigures(
        count=values.count,
        mean_s=values.mean,
        p50_s=p50,
        p95_s=p95 if values.count >= 20 else None,
        p99_s=p99 if values.count >= 100 else None,
        max_s=values.max,
    )


def _mean(sum_and_rows: list[int]) -> float | None:
    return sum_and_rows[0] / sum_and_rows[1] if sum_and_rows[1] else None
