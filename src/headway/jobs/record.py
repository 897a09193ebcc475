"""What became of a row, as the journal and the output hold it."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.types import Result, Usage

__all__ = ["Record", "Tokens", "record_of", "result_of"]


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename={"input": "in", "output": "out"}):
    """Tokens of a row's answer; `cached` is part of `input`, `reasoning` of `output`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One row of output, but for its number. Field order is the output's order of keys.

    A row that failed has `error`, a sentence, and `output` null, or what is good of several outputs; `outcome` is the
    word for it (`types.Outcome`, or "invalid_output", or "input" for a row that could not be read). Times are seconds;
    `dollars` is null when the model's price is unknown; `cache` says where the answer came from, `lane` which way the
    row took: "online", "flex" or "batch".
    """

    input: dict[str, Any]
    output: Any = None
    error: str | None = None
    outcome: str = "ok"
    latency_s: float = 0.0
    wait_s: float = 0.0
    tokens: Tokens | None = None
    dollars: float | None = None
    saved_dollars: float | None = None
    cache: str = ""
    lane: str = "online"
    attempts: int = 0
    repairs: int = 0


def record_of(result: Result) -> Record:
    """The record of a result; microseconds are as fine as times are kept."""
    usage, row = result.usage, result.row
    return Record(
        input=row if type(row) is dict else dict(row),
        output=result.value,
        error=result.error or None,
        outcome=result.outcome,
        latency_s=round(result.latency_s, 6),
        wait_s=round(result.wait_s, 6),
        tokens=Tokens(
            input=usage.input_tokens,
            cached=usage.cached_tokens,
            output=usage.output_tokens,
            reasoning=usage.reasoning_tokens,
        )
        if usage is not None
        else None,
        dollars=_rounded(result.dollars),
        saved_dollars=_rounded(result.saved_dollars),
        cache=result.cache,
        lane=result.lane or "online",
        attempts=result.attempts,
        repairs=result.repairs,
    )


def result_of(record: Record, index: int, row: dict[str, Any]) -> Result:
    """The result that an earlier run recorded, for the row as it is now."""
    tokens, value = record.tokens, record.output
    return Result(
        index=index,
        row=row,
        value=value,
        text=value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode(),
        error=record.error or "",
        outcome=record.outcome,
        latency_s=record.latency_s,
        wait_s=record.wait_s,
        usage=Usage(
            input_tokens=tokens.input,
            cached_tokens=tokens.cached,
            output_tokens=tokens.output,
            reasoning_tokens=tokens.reasoning,
        )
        if tokens is not None
        else None,
        dollars=record.dollars,
        saved_dollars=record.saved_dollars,
        cache=record.cache,
        lane=record.lane,
        attempts=record.attempts,
        repairs=record.repairs,
    )


def _rounded(dollars: float | None) -> float | None:
    """To a millionth of a millionth: what lies below is the float's, not the provider's."""
    return None if dollars is None else round(dollars, 12)
