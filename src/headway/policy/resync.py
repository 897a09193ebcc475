"""What an answer says about one bucket: readings of headers, and the numbers of a 429."""

from __future__ import annotations

from headway.policy.bucket import Bucket, Mark
from headway.policy.readings import Reading
from headway.types import ErrorView

__all__ = ["observe", "resync"]


def observe(bucket: Bucket, mark: Mark, reading: Reading, age_s: float, now_s: float, *, less: float = 0.0) -> None:
    """Correct a bucket by the headers of an answer; see `Bucket.observe`. Nothing where they do not speak of it."""
    if reading.limit is None and reading.remaining is None:
        return
    half_grain = 0.5 * (reading.grain - 1)
    window_s = reading.window_s
    bucket.observe(
        mark, reading.limit, reading.remaining, reading.reset_s if window_s is None else None,
        age_s=age_s, now_s=now_s, window_s=window_s, less=less + half_grain, more=half_grain,
    )  # fmt: skip


def resync(bucket: Bucket, mark: Mark, cost: float, reading: Reading | None, error: ErrorView, now_s: float) -> bool:
    """Set one bucket by a 429 that may be its own; return whether the refusal's numbers explain it.

    Numbers that explain nothing (headers that claim room, another bucket's text) show no capacity either: whatever
    refused is not this bucket, and the request is given back to it.
    """
    if error.limit and not (bucket.learned and (reading is None or reading.limit is not None)):
        bucket.observe(mark, error.limit, None, None, age_s=0.0, now_s=now_s, window_s=error.limit_window_s)
    if bucket.limit is None:
        return False
    asked = float(error.requested) if error.requested else cost
    remaining = None if reading is None else reading.remaining
    half_grain = 0.0 if reading is None else 0.5 * (reading.grain - 1)
    if error.limit is not None and error.used is not None and abs(error.limit - bucket.limit) <= 0.02 * bucket.limit:
        level = float(error.limit - error.used)
    elif remaining is not None and remaining - bucket.hidden - half_grain < asked:
        level = remaining - bucket.hidden
    else:
        bucket.refund(cost, now_s)
        return False
    bucket.refused(mark, asked, level=level, remaining=remaining, now_s=now_s)
    return True
