"""What processes that share a provider's limits tell each other, wherever the buckets are."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

__all__ = ["LimitsShared", "SharedBucket", "SharedLease", "SharedMark"]


class SharedBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a scope's limits: per minute, and how many seconds' worth each bucket holds when full."""

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    requests_capacity_s: float = 60.0
    tokens_capacity_s: float = 60.0
    requests_claimed_s: float = 0.0
    """What the provider says, where the capacity is so small because nobody has tried yet; 0.0 where it is known."""
    tokens_claimed_s: float = 0.0


class SharedMark(msgspec.Struct, frozen=True):
    """Where the two buckets will stand when a granted request goes, and what they had been corrected by till then."""

    requests: float
    tokens: float
    requests_corrected: float
    tokens_corrected: float


class SharedLease(msgspec.Struct, frozen=True):
    """A grant: the request may go `wait_s` from now. `id` is "" where nobody was asked, for nobody answers."""

    scope: str
    id: str
    tokens: float
    wait_s: float = 0.0
    mark: SharedMark | None = None
    """None where no limit is known to the shared bucket."""


class LimitsShared(Protocol):
    """Buckets that several processes take from. Fails open: where they cannot be asked, every request is granted."""

    def begin(self, scope: str, bucket: SharedBucket) -> None:
        """Tell of limits that are configured, or that none are, before anything is asked of the provider."""
        ...  # fmt: skip

    def at_hand(self, scope: str, tokens: float) -> SharedLease | None:
        """A grant that need not be asked for; None where it has to be."""
        ...  # fmt: skip

    def acquire(self, scope: str, tokens: float, *, waiting: int = 1) -> Coroutine[Any, Any, SharedLease | float]:
        """Take one request and that many tokens: the lease, or how many seconds to wait before asking again.

        Args:
            scope: Which quota.
            tokens: Of the first in line.
            waiting: How many are in line, that one among them.
        """
        ...  # fmt: skip

    def refund(self, lease: SharedLease) -> Coroutine[Any, Any, bool]:
        """Give a grant back: nothing was sent."""
        ...  # fmt: skip

    def publish(
        self,
        scope: str,
        bucket: SharedBucket,
        *,
        requests_left: float | None = None,
        tokens_left: float | None = None,
        mark: SharedMark | None = None,
        larger: bool = False,
    ) -> Coroutine[Any, Any, None]:
        """Tell all processes what was learned: the rates, and what the provider says is left, if it says so.

        Args:
            scope: Which.
            bucket: The limits.
            requests_left, tokens_left: Levels; bounds where there is no mark.
            mark: Of the request whose answer told the levels.
            larger: A capacity that this process told before has turned out to be larger.
        """
        ...  # fmt: skip
