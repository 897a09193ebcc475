"""A provider's token bucket, seen from outside: what may be spent now, learned from what the provider says.

Providers enforce a limit per minute as a continuous token bucket: it holds at most `capacity`, refills at
`limit / window` per second, and a request is refused when it asks for more than the level. Published numbers are the
limit; the capacity is often smaller than the limit without saying so (60,000 a minute enforced as 1,000 a second).
Then the headers still say that plenty remains, and only a 429 shows the truth. `Bucket` holds that difference as
`hidden`: level = remaining - hidden. What another client takes out of the same bucket shows as a refusal although our
account says there is room; `share` is the part of the refill that seems to be ours.

Source: FACTS section 2 (reset is the time to *full*; the arithmetic of the 429 text; limits enforced in slices).
"""

from __future__ import annotations

from math import inf, log

from headway.policy.readings import Mark
from headway.policy.slices import SLICE_S, Slice

__all__ = ["Bucket", "Mark"]

_WINDOWS_S = (1.0, 60.0, 3600.0, 86400.0)
_SAME_LIMIT = 0.02
"""Limits this close (a share) are one limit that wavers: pools of servers disagree by a little."""
_SHARE_MIN, _SHARE_CUT, _SHARE_GAIN_PER_S, _CUT_GAP_S = 0.05, 0.9, 0.02, 0.25
_HEADROOM_GAIN = 0.02
"""How much the headroom of a learned limit grows, in seconds of refill a second."""


class Bucket:
    """One dimension (requests or tokens) of one quota. Unknown until a limit is configured or learned.

    Args:
        limit: Units per window, > 0; None leaves the bucket unknown, and whatever is asked is granted.
        capacity: Units it holds when full; defaults to `limit`.
        window_s: What the limit counts over; 60 for the usual per-minute limits.
        headroom_ratio: Share of the capacity never spent, for the jitter between our clock and theirs. It costs no
            throughput: it is left in the bucket once, the refill is spent in full.
        headroom_s: How much of that, in seconds of refill, is left when the provider has just named the limit; the rest
            is saved up by and by: all at once would have to be waited for where a refusal says "empty".
    """

    __slots__ = (
        "_at_s",
        "_cut_at_s",
        "_epoch",
        "_full",
        "_learned_at_s",
        "_slice",
        "_taught_at",
        "_window_known",
        "capacity",
        "charged",
        "corrected",
        "headroom_ratio",
        "headroom_s",
        "hidden",
        "learned",
        "level",
        "limit",
        "refill_per_s",
        "share",
        "window_s",
    )

    def __init__(
        self,
        limit: float | None = None,
        *,
        capacity: float | None = None,
        window_s: float = 60.0,
        headroom_ratio: float = 0.1,
        headroom_s: float = inf,
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self.refill_per_s = inf if limit is None else limit / window_s
        """Units that come back to us each second; infinite while the limit is unknown."""
        self.share = 1.0
        """The part of the refill that nobody else takes, as far as refusals show."""
        self.capacity = inf if limit is None else (capacity or limit)
        self.hidden = 0.0 if limit is None else limit - self.capacity
        self.level = self.capacity
        self.headroom_ratio = headroom_ratio
        self.headroom_s = headroom_s
        self.charged = 0.0
        """All charges ever made: two readings of it tell what was charged in between."""
        self.corrected = 0.0
        """The sum of all corrections to the level, for the same purpose."""
        self.learned = False
        """Whether the provider itself named the limit."""
        self._at_s = 0.0
        self._cut_at_s = -inf
        self._slice: Slice | None = None
        self._epoch = 0  # marks of another epoch belong to another limit's level
        self._learned_at_s = 0.0
        self._full = True  # whether the level has reached the capacity since a refusal last told it
        self._taught_at = -inf  # `charged` of the mark that brought the limit: older answers know less
        self._window_known = False

    def wait_s(self, cost: float, now_s: float) -> float:
        """Seconds until `cost` may be spent; 0.0 when it may be spent now.

        A cost above the whole capacity waits for a full bucket: whether it can ever pass is the provider's to say.
        """
        if self.limit is None:
            return 0.0
        self._advance(now_s)
        # The less is ours the less our account knows of the level, so more is left in the bucket.
        headroom = self.capacity * self.headroom_ratio
        if self.learned:
            saved_s = self.headroom_s + _HEADROOM_GAIN * (now_s - self._learned_at_s)
            headroom = min(headroom, self.refill_per_s * saved_s)
        wanted = cost + headroom / self.share
        missing = (wanted if wanted < self.capacity else self.capacity) - self.level
        wait_s = missing / self.refill_per_s if missing > 1e-9 else 0.0
        return wait_s if self._slice is None else max(wait_s, self._slice.wait_s(cost, self.refill_per_s, now_s))

    def capacity_s(self) -> float:
        """Seconds of refill that it holds, as far as it is safe to say."""
        return SLICE_S if self._slice is not None else self.capacity / (self.limit or 1.0) * self.window_s

    def backlog_s(self, cost: float, now_s: float) -> float:
        """Seconds until `cost` has come back, however much more than the capacity it is."""
        self._advance(now_s)
        return 0.0 if self.limit is None else max(0.0, cost - self.level) / self.refill_per_s

    def charge(self, cost: float, now_s: float) -> Mark:
        """Spend `cost`; the level may go below zero, for the provider alone decides what it admits."""
        self.charged += cost
        if self.limit is not None:
            self._advance(now_s)
            self.level -= cost
            if self._slice is not None:
                self._slice.charge(cost, self.refill_per_s, now_s)
        return Mark(self.charged, self.level, self.corrected, self._epoch)

    def refund(self, cost: float, now_s: float) -> None:
        """Give back what was charged and never sent."""
        self.charged -= cost
        if self.limit is not None:
            self._advance(now_s)
            self.level = min(self.capacity, self.level + cost)
            if self._slice is not None:
                self._slice.charge(-cost, self.refill_per_s, now_s)

    def observe(
        self,
        mark: Mark,
        limit: int | None,
        remaining: int | None,
        reset_s: float | None,
        *,
        age_s: float,
        now_s: float,
        window_s: float | None = None,
        less: float = 0.0,
        more: float = 0.0,
    ) -> None:
        """Learn from an answer's headers.

        Args:
            mark: From the charge of the request that was answered.
            limit, remaining, reset_s: As the headers give them; `reset_s` is the time to full.
            age_s: How long ago the provider took the reading (it does so when it admits the request).
            now_s: The time now.
            window_s: What the limit counts over, where it is said outright.
            less, more: How far below and above `remaining` the level may be and still agree with it, >= 0: for readings
                that are rounded, or taken before what is charged was spent.
        """
        if (
            limit is not None
            and limit > 0
            and (limit != self.limit or not self._window_known or (window_s and window_s != self.window_s))
        ):
            if limit != self.limit and self.learned and mark.charged < self._taught_at:
                return  # overtaken: it was read before the limit changed
            self._learn_limit(float(limit), mark, remaining, reset_s, window_s, now_s)
        if self.limit is None or remaining is None:
            return
        self._advance(now_s)
        if self._slice is not None and self._slice.disproved_by_answer(now_s):
            self._slice = None
        reading = remaining - self.hidden
        if mark.epoch != self._epoch:  # sent under another limit: available = remaining + refill * age - sent since
            error = reading + self.refill_per_s * age_s - (self.charged - mark.charged) - self.level
            self._correct(min(error + more, 0.0))
            return
        if reading < -1.0 and self.hidden > 0.0:
            # Admitted below zero: less is hidden than was thought. A part of it only, for `remaining` may be rounded.
            found = min(self.hidden, -0.25 * reading)
            self.hidden -= found
            self.capacity += found
            self._correct(found)
            reading += found
        # Requests travel in the order they were sent, so the reading belongs to the level right after this charge;
        # what has been corrected since must not be corrected again by every answer still under way.
        error = reading - mark.level - (self.corrected - mark.corrected)
        error = min(0.0, error + more) if error < 0.0 else max(0.0, error - less)
        # Down at once: somebody else spends from this bucket too. Up by a tenth: readings carry the network's jitter.
        self._correct(error if error < 0 else 0.1 * error)

    def refused(self, mark: Mark, cost: float, *, level: float, remaining: int | None, now_s: float) -> bool:
        """Learn from a 429; return whether it showed that the capacity is smaller than was thought.

        Args:
            mark: From the refused request's charge.
            cost: What it asked for.
            level: What the bucket held: limit - used, where the text gives it; else what the headers leave.
            remaining: What the same answer's headers claim remains, if they do.
            now_s: The time now. The reading is taken to be this fresh: a refusal takes no work.
        """
        if self.limit is None:
            return False
        self._advance(now_s)
        since = self.charged - mark.charged
        level = max(0.0, level)
        ours = self.level + since
        claimed = remaining - self.hidden if remaining is not None else ours
        # Without headers to contradict, only an account that ran into its ceiling can have missed a lower one; and one
        # that holds hardly more than this request runs into it each time.
        shrunk = claimed >= cost and claimed > level + 1.0
        shrunk = shrunk and (remaining is not None or (self._full and self.capacity > 4.0 * cost))
        if shrunk:
            self.hidden = min(self.hidden + claimed - level, self.limit - max(1.0, min(cost, self.limit)))
            self.capacity = self.limit - self.hidden
        elif ours >= 0.0 and now_s - self._cut_at_s >= _CUT_GAP_S:  # somebody else took it
            self._cut_at_s = now_s
            self._set_share(self.share * _SHARE_CUT)
        self._full = False
        self._slice = None  # now it is known
        self._correct(level - since - self.level)
        return shrunk

    def _correct(self, error: float) -> None:
        before = self.level
        self.level = min(self.capacity, before + error)
        self.corrected += self.level - before

    def _advance(self, now_s: float) -> None:
        elapsed_s = now_s - self._at_s
        if elapsed_s > 0.0:
            self._at_s = now_s
            level = self.level + elapsed_s * self.refill_per_s
            if level < self.capacity:
                self.level = level
            else:
                self.level = self.capacity
                self._full = True
            if self._slice is not None:
                self._slice.advance(elapsed_s, self.refill_per_s)
            if self.share < 1.0:
                self._set_share(self.share * (1.0 + _SHARE_GAIN_PER_S * elapsed_s))

    def _set_share(self, share: float) -> None:
        if self.limit is not None:
            self.share = min(1.0, max(_SHARE_MIN, share))
            self.refill_per_s = self.limit / self.window_s * self.share

    def _learn_limit(
        self,
        limit: float,
        mark: Mark,
        remaining: int | None,
        reset_s: float | None,
        window_s: float | None,
        now_s: float,
    ) -> None:
        used = limit - remaining if remaining is not None else 0.0
        if window_s:
            self.window_s, self._window_known = window_s, True
        elif used >= 10 and reset_s:
            # reset = used / limit * window, so the window follows; snapped, for both are rounded.
            measured_s = reset_s * limit / used
            snapped_s = min(_WINDOWS_S, key=lambda known: abs(log(known / measured_s)))
            self.window_s = snapped_s if self.window_s <= 60.0 else max(60.0, snapped_s)
            # A window that starts afresh on the minute looks like an hour while little is used: look again.
            self._window_known = self.window_s <= 60.0
        known = self.limit
        if known != limit:
            if known is None:
                self.level, self._at_s = limit, now_s
                self._slice = Slice(limit / self.window_s) if remaining is not None else None
            else:
                self._advance(now_s)
            # Slices stay slices: what is known of the capacity is how many seconds of refill it holds.
            self.capacity = limit if known is None else limit * self.capacity / known
            self.limit, self.hidden = limit, limit - self.capacity
            if known is None or abs(limit - known) > _SAME_LIMIT * known:
                self._epoch += 1
                self._taught_at = mark.charged
                self._full = remaining is not None
                self.share = 1.0
                if remaining is not None:
                    self.level = self.capacity  # the reading that came along says how much of it is there
            self.level = min(self.level, self.capacity)
        if not self.learned:
            self.learned, self._learned_at_s = True, now_s
        self._set_share(self.share)
