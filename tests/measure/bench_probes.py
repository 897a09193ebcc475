"""Probes and runs by hand, for the tests of what is made of them."""

from __future__ import annotations

from typing import Any

from headway.measure.bench.run_types import Load, Run
from headway.measure.probe import Probe
from headway.types import Usage


def probe(
    index: int = 0,
    *,
    at_s: float = 0.0,
    wait_s: float = 0.0,
    ttft_s: float = 0.5,
    tokens: int = 11,
    gap_s: float = 0.01,
    reasoning: int = 0,
    closing_s: float = 0.0,
    **more: Any,
) -> Probe:
    """A stream: due at `at_s`, sent `wait_s` later, first token `ttft_s` after it was due, then one every `gap_s`."""
    first_s = at_s + ttft_s
    last_s = first_s + gap_s * (tokens - 1)
    fields: dict[str, Any] = {
        "index": index, "intended_s": at_s, "started_s": at_s, "sent_s": at_s + wait_s, "wait_s": wait_s,
        "first_byte_s": first_s, "first_answer_s": first_s, "last_content_s": last_s, "end_s": last_s + closing_s,
        "gaps_s": (gap_s,) * (tokens - 1), "content_events": tokens, "streamed": True, "attempts": 1, "status": 200,
        "usage": Usage(input_tokens=20, output_tokens=tokens + reasoning, reasoning_tokens=reasoning), "dollars": 0.001,
        "cache": "off",
    }  # fmt: skip
    return Probe(**fields | more)


def failed(index: int = 0, *, outcome: str = "server_error", **more: Any) -> Probe:
    """One that did not succeed, after a second."""
    fields: dict[str, Any] = {
        "index": index, "intended_s": 0.0, "started_s": 0.0, "sent_s": 0.0, "end_s": 1.0, "outcome": outcome,
        "error": f"it failed: {outcome}", "status": 500, "attempts": 1,
    }  # fmt: skip
    return Probe(**fields | more)


def run(probes: list[Probe], *, target: str = "m", duration_s: float = 10.0, **more: Any) -> Run:
    """A run of theirs."""
    return Run(
        target=target, load=more.pop("load", Load(count=max(1, len(probes)))), probes=tuple(probes),
        duration_s=duration_s, **more,
    )  # fmt: skip
