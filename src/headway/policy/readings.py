"""What goes into `Limits` and comes out of it: an answer's readings, and what one attempt was charged."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Charge", "Mark", "Reading", "Readings"]


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Where a bucket stood right after a charge; what came later is measured against it."""

    charged: float
    level: float
    corrected: float
    epoch: int


class Reading(Protocol):
    """One dimension as an answer's headers give it.

    `reset_s` is the time to full, `window_s` what the limit is known to count over, `grain` what `remaining` is rounded
    to.
    """

    @property
    def limit(self) -> int | None: ...
    @property
    def remaining(self) -> int | None: ...
    @property
    def reset_s(self) -> float | None: ...
    @property
    def window_s(self) -> float | None: ...
    @property
    def grain(self) -> int: ...


class Readings(Protocol):
    """All dimensions, and how long the provider says it worked on the request."""

    @property
    def requests(self) -> Reading: ...
    @property
    def tokens(self) -> Reading: ...
    @property
    def input_tokens(self) -> Reading: ...
    @property
    def output_tokens(self) -> Reading: ...
    @property
    def retry_after_s(self) -> float | None: ...
    @property
    def provider_processing_s(self) -> float | None: ...


class Charge:
    """What one attempt was charged; needed to refund it and to place its answer's readings in time."""

    __slots__ = ("ended", "estimate", "input_estimate", "input_mark", "input_tokens", "output_mark", "output_tokens",
                 "request_mark", "seq", "token_mark", "tokens")  # fmt: skip

    def __init__(self, estimate: float, tokens: float, request_mark: Mark, token_mark: Mark, seq: int) -> None:
        self.estimate = estimate
        self.tokens = tokens
        self.request_mark = request_mark
        self.token_mark = token_mark
        self.seq = seq
        self.input_estimate = self.input_tokens = self.output_tokens = 0.0
        self.input_mark = self.output_mark = token_mark
        self.ended = False
