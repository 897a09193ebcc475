"""How many tokens a job's requests have and its answers will have: counted, observed or assumed, as an interval."""

from __future__ import annotations

from typing import Final

from headway.jobs.plan_history import History
from headway.jobs.plan_rows import RowsRead
from headway.policy.quantile import QuantileSketch
from headway.prompts.task import Task
from headway.report.plan_figures import Bar, Interval, OutputTokens

__all__ = ["bars_of", "expected_output", "input_factor"]

_ESTIMATE: Final = Interval(0.8, 1.3)
"""What an estimate of four characters a token is off by: English prose has up to five, code and tables three.
Source: OpenAI, "What are tokens and how to count them?"; the spread is our own reading of it."""
_COUNTED: Final = 0.05
"""What a count is off by: it was of the first requests, and providers add some tokens of their own."""
_PRIOR_UNBOUNDED: Final = Interval(50.0, 1_000.0)
"""Mean output tokens where nothing bounds the answers and none were seen: assumed."""
_PRIOR_SHARE: Final = 0.1
"""Where there is a bound, the mean is taken to lie between this share of it and all of it: assumed."""


def input_factor(read: RowsRead, history: History) -> tuple[Interval, str]:
    """What the engine's estimate of input tokens has to be multiplied by, and where that comes from."""
    if history.input_per_byte is not None and read.tokens:
        bytes_per_token = read.body_bytes / read.tokens
        seen = history.input_per_byte
        factor = Interval(seen.low * bytes_per_token, seen.high * bytes_per_token)
        return factor, f"as {history.samples:,} calls in the call log were billed"
    if read.counted_share is not None:
        share = read.counted_share
        return Interval(share * (1 - _COUNTED), share * (1 + _COUNTED)), "counted with the tokenizer"
    return _ESTIMATE, "estimated at four characters a token"


def expected_output(task: Task, history: History) -> OutputTokens:
    """The mean output of an answer: of those in the call log that are like it, else a stated prior."""
    bound = task.max_output_tokens
    if history.output_mean is not None:
        mean = history.output_mean
        if bound is not None:
            mean = Interval(min(mean.low, bound), min(mean.high, bound))
        return OutputTokens(
            mean=mean,
            bound=bound,
            source=f"mean of {history.samples:,} answers in the call log, of {history.like}",
            samples=history.samples,
            p99=history.output_p99,
        )
    if bound is None:
        return OutputTokens(mean=_PRIOR_UNBOUNDED, bound=None, source="assumed: the call log has no such answers")
    return OutputTokens(
        mean=Interval(round(_PRIOR_SHARE * bound, 1), float(bound)),
        bound=bound,
        source="assumed, from a tenth of its bound to all of it: the call log has no such answers",
    )


def bars_of(sketch: QuantileSketch, factor: float) -> tuple[Bar, ...]:
    """A histogram in powers of two, each value times `factor`; counts are the sketch's, to 1 % in width."""
    data = sketch.to_dict()
    gamma = (1 + data["relative_error"]) / (1 - data["relative_error"])
    bins: dict[int, int] = {1: data["zeros"]} if data["zeros"] else {}
    for index, count in data["buckets"]:
        tokens = 2 * gamma**index / (gamma + 1) * factor
        edge = 1 << max(0, round(tokens) - 1).bit_length()
        bins[edge] = bins.get(edge, 0) + count
    if not bins:
        return ()
    edges = [1 << power for power in range(min(bins).bit_length() - 1, max(bins).bit_length())]
    return tuple(Bar(tokens_max=edge, requests=bins.get(edge, 0)) for edge in edges)
