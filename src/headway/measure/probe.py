"""One request with all its clocks, through an engine: what `bench` and `compare` measure with.

The named clocks, each in seconds of the loop's clock since a common origin:

    intended -> started -> sent -> first byte -> first reasoning -> first answer -> last content -> end

`intended` is when the schedule wanted it; latency that counts from `started` alone hides what the client's own queue
took (coordinated omission).
"""

from __future__ import annotations

import msgspec

from headway.types import Usage

__all__ = ["Probe"]


class Probe(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request took. Times in seconds since the measurement's origin; None: it did not get so far."""

    index: int = 0
    """Of the request in its variant, from 0."""
    variant: str = ""
    """The model or variant that was asked."""
    intended_s: float
    started_s: float
    """When it was handed to the engine."""
    sent_s: float | None = None
    connect_s: float | None = None
    """A duration: what opening the connection took; None: a kept one was used."""
    wait_s: float = 0.0
    """A duration: our own queue and pacing."""
    first_byte_s: float | None = None
    first_reasoning_s: float | None = None
    first_answer_s: float | None = None
    """The first token of the answer proper: text, a refusal, or tool-call arguments."""
    last_content_s: float | None = None
    end_s: float
    gaps_s: tuple[float, ...] = ()
    """Durations between content events that came apart, in order: the raw material of ITL (events that one read brought
    are one moment). Empty for whole answers, and where they were not kept."""
    content_events: int = 0
    """Events that carried answer text."""
    text: str = ""
    usage: Usage | None = None
    dollars: float | None = None
    """None: unknown."""
    outcome: str = "ok"
    """"ok", an `Outcome`, "empty" (no token came) or "invalid_output"."""
    error: str = ""
    """One sentence; "" when it was answered."""
    note: str = ""
    """What its clocks cannot say, and why; one sentence, or ""."""
    status: int | None = None
    finish: str = ""
    cache: str = ""
    streamed: bool = False
    """Whether the server did stream; False where it ignored the wish."""
    attempts: int = 0
    provider_queue_s: float | None = None
    provider_processing_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it counts as a success."""
        return self.outcome == "ok"

    @property
    def answered(self) -> bool:
        """Whether the provider answered, be the answer what its task asks for or not: its clocks count either way."""
        return self.outcome in ("ok", "invalid_output")

    @property
    def latency_s(self) -> float:
        """From when it was intended to the end."""
        return self.end_s - self.intended_s

    @property
    def ttft_s(self) -> float | None:
        """From when it was intended to the first token that a reader sees of the answer; None: none came."""
        return None if self.first_answer_s is None else self.first_answer_s - self.intended_s
