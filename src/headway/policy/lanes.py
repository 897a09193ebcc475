"""Which lane a row takes: at once, at the flex tier, or in a batch; and when batched rows have to be called back.

Pure: what is known goes in as an `Outlook`, a decision comes out. Prices and waiting times are FACTS sections 2 and 3:
flex and batch cost half; half of all batches are done in 7 minutes, nine in ten within the hour, some take 24.
"""

from __future__ import annotations

from math import inf
from typing import Literal, TypeAlias

import msgspec

__all__ = ["LANES", "LaneName", "LanePolicy", "LaneSettings", "Outlook"]

LaneName: TypeAlias = Literal["online", "flex", "batch"]
LANES: tuple[LaneName, ...] = ("online", "flex", "batch")

PROBE_ROWS = 32
"""In `auto`, so many rows go online first: they tell what a row costs, and how fast rows can go."""
BATCH_WORTH_S = 1800.0
"""Slack that makes a batch worth trying: about three batches in four are done by then."""
FLEX_SLOWER = 3.0
"""A flex answer takes about so many times as long. Source: OpenAI, "Flex processing" (slower, no figure): assumed."""
SAFETY = 1.25
"""What an estimate of time is multiplied by before it is trusted."""
CANCEL_S = 600.0
"""What cancelling a batch may take. Source: OpenAI, "Batch API", cancelling (up to 10 minutes)."""
MARGIN_RATIO = 0.1
"""Of short deadlines, this share at most is kept for cancelling."""
RATE_UNKNOWN_PER_S = 8.0
"""Rows a second online that are counted on before one is known: the 500 RPM of a first paid tier (FACTS section 2)."""


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for. `deadline_s` counts from the start of the run; infinite where there is none."""

    lane: Literal["online", "flex", "batch", "auto"] = "online"
    deadline_s: float = inf
    rows_per_s: float | None = None
    """Rows a second that the online lane is known to do, from configured limits; None: learned."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands. Rows; seconds from its start; dollars."""

    now_s: float = 0.0
    rows_left: int | None = None
    """Not read or not placed yet; None while nobody knows."""
    online_out: int = 0
    """In the online and flex lanes, not done."""
    batch_out: int = 0
    """In the batch lane, not done."""
    answered: int = 0
    """Answered online so far, hits not counted."""
    online_per_s: float | None = None
    """Rows a second that the online lane has been doing."""
    row_dollars: float | None = None
    """Mean cost of a row online."""
    dollars_left: float = inf
    """Of the budget, what is neither spent nor reserved."""


class LanePolicy:
    """Decides for one run.

    Args:
        settings: What the user asked for.
        offers: The lanes that there are for this task and provider; "online" always is.
    """

    def __init__(self, settings: LaneSettings, offers: frozenset[LaneName]) -> None:
        self._settings = settings
        self._offers = set(offers)
        self._recalled = False
        self._probes = 0

    @property
    def recalled(self) -> bool:
        """Whether batched rows were called back; from then on none goes into a batch."""
        return self._recalled

    @property
    def asked(self) -> str:
        """What the user asked for: a lane, or "auto"."""
        return self._settings.lane

    @property
    def fixed(self) -> LaneName | None:
        """The lane of every row, where nothing that happens changes it; saves working out an `Outlook` for each."""
        return "online" if self._settings.lane == "online" or self._offers == {"online"} else None

    def without(self, lane: LaneName) -> None:
        """A lane turned out not to be there."""
        self._offers.discard(lane)

    def choose(self, look: Outlook) -> LaneName:
        """The lane of the next row."""
        asked = self._settings.lane
        if asked != "auto":
            late = asked == "batch" and self._recalled
            return asked if asked in self._offers and not late else "online"
        if self._probes < PROBE_ROWS:
            self._probes += 1
            return "online"
        return self._cheapest_in_time(look)

    def recall(self, look: Outlook) -> bool:
        """Whether batched rows have to be called back now to be done online by the deadline. True once."""
        if self._recalled or not look.batch_out or self._settings.deadline_s == inf:
            return False
        margin_s = min(CANCEL_S, MARGIN_RATIO * self._settings.deadline_s)
        needed_s = self.online_s(look, look.batch_out + look.online_out)
        if self._settings.deadline_s - look.now_s > needed_s + margin_s:
            return False
        if look.row_dollars is not None and look.batch_out * look.row_dollars > look.dollars_left:
            return False  # they can be afforded in the batch only: the budget is hard, the deadline is not
        self._recalled = True
        return True

    def online_s(self, look: Outlook, rows: int) -> float:
        """Seconds that so many rows take online, with a margin."""
        rate = look.online_per_s or self._settings.rows_per_s or RATE_UNKNOWN_PER_S
        return SAFETY * rows / rate

    def _cheapest_in_time(self, look: Outlook) -> LaneName:
        time_left_s = self._settings.deadline_s - look.now_s
        left = look.rows_left or 0
        needed_s = self.online_s(look, left + look.online_out + look.batch_out)  # what is called back comes on top
        batch = "batch" in self._offers and not self._recalled
        if batch and time_left_s - needed_s >= BATCH_WORTH_S:
            return "batch"
        if "flex" in self._offers and time_left_s >= FLEX_SLOWER * needed_s:
            return "flex"
        if needed_s > time_left_s and batch and self.online_s(look, look.online_out) > time_left_s:
            return "batch"  # online is full until the deadline: a batch may still make it, and costs half
        dear = look.row_dollars is not None and look.row_dollars * max(left, 1) > look.dollars_left
        if dear and batch:
            return "batch"
        return "flex" if dear and "flex" in self._offers else "online"
