"""Whether small requests of one task are worth sending several to a prompt: tried, measured, and given up where not.

Under a limit on requests, six rows in one prompt are six rows for the price of one request, and the instructions are
read once. It goes wrong where the model leaves items out or writes more than it saves, so what a group took is compared
with what its members would have taken alone, and a task whose members have to be asked again too often, or whose
groups cost more than they save, goes back to single requests; some time later it is tried once more.

Source: Cheng, Kasai, Yu, "Batch Prompting" (EMNLP Industry 2023), where accuracy holds for up to about six items;
FACTS section 7 (at most 6 homogeneous, independent, short items; a fallback threshold, for want of which a field
report paid 37 % more).
"""

from __future__ import annotations

from headway.types import Usage

__all__ = ["HOLD_RETRY_S", "HOLD_S", "MEMBERS_MAX", "GroupingCase", "alone", "small"]

MEMBERS_MAX = 6
HOLD_S = 0.05
"""How long a member waits for others, in seconds. Source: a choice; a tenth of a short answer."""
HOLD_RETRY_S = 1.0
"""The same for members of a group that was refused: their back-offs scatter them, and they have waited before."""
ITEM_CHARS_MAX = 4_000
BOUND_TOKENS_MAX = 512
"""A longer item, or an answer that may become longer, is not small: all members wait for the whole answer."""
WINDOW = 60
"""Members by which a task is judged, then judged anew."""
EARLY, EARLY_SHARE = 12, 0.5
"""So many members, of which that share had to be asked again, are enough to stop before the window is full."""
FALLBACKS_MAX = 0.10
UNPROVEN_GROUPS_MAX = 12
"""Groups under way at once until a window has been passed: what a task that cannot be grouped may cost."""
OFF_S, OFF_S_MAX = 60.0, 3_600.0
"""How long it stays off after the first failure, doubled with each further one."""


def small(item_chars: int, output_tokens_max: int | None) -> bool:
    """Whether a request is small enough: its item, and the answer it allows. One without a bound may be any length."""
    return item_chars <= ITEM_CHARS_MAX and output_tokens_max is not None and output_tokens_max <= BOUND_TOKENS_MAX


class GroupingCase:
    """One task's case for being grouped: what groups took, what they saved, and whether to go on.

    Money counts where the model's price is known, tokens where it is not.
    """

    __slots__ = (
        "_fallbacks",
        "_in_flight",
        "_members",
        "_off_s",
        "_off_until_s",
        "_proven",
        "_saved",
        "why",
    )

    def __init__(self) -> None:
        self.why = ""
        """Why it is off; "" while it is on."""
        self._members = 0
        self._fallbacks = 0
        self._saved = 0.0
        self._in_flight = 0
        self._proven = False
        self._off_s = OFF_S
        self._off_until_s = 0.0

    def on(self, now_s: float) -> bool:
        """Whether requests are grouped."""
        if self.why and now_s >= self._off_until_s:
            self.why, self._proven = "", False
            self._start()
        return not self.why

    @property
    def room(self) -> bool:
        """Whether one more group may be sent; until grouping has proven itself, others wait for what becomes of it."""
        return self._proven or self._in_flight < UNPROVEN_GROUPS_MAX

    def sent(self) -> None:
        """A group is on its way."""
        self._in_flight += 1

    def ended(self, members: int, fallbacks: int, saved: float, now_s: float) -> None:
        """A group is over.

        Args:
            members: Who was in it; 0 when it failed for reasons that say nothing about grouping (a 429).
            fallbacks: How many of them have to be asked again by themselves.
            saved: Dollars, or tokens where the price is unknown, less than single requests; negative when it took more.
            now_s: The loop's clock.
        """
        self._in_flight -= 1
        self._members += members
        self._fallbacks += fallbacks
        self._saved += saved
        if self.why or not self._members:
            return
        share = self._fallbacks / self._members
        whole = self._members >= WINDOW
        if (whole and share > FALLBACKS_MAX) or (self._members >= EARLY and share >= EARLY_SHARE):
            self._close(f"{self._fallbacks} of {self._members} members had to be asked again", now_s)
        elif whole and self._saved < 0:
            self._close("groups took more than single requests would have", now_s)
        elif whole:
            self._proven, self._off_s = True, OFF_S
            self._start()

    def _start(self) -> None:
        self._members = self._fallbacks = 0
        self._saved = 0.0

    def _close(self, why: str, now_s: float) -> None:
        self.why = why
        self._off_until_s = now_s + self._off_s
        self._off_s = min(2 * self._off_s, OFF_S_MAX)


def alone(prompt_tokens: int, output_tokens: int, group: Usage, members: int) -> Usage:
    """What members would have taken by themselves.

    Args:
        prompt_tokens: Their single requests' prompts together, in the provider's measure.
        output_tokens: Their answers together.
        group: What the group took. What of its prompt was cached, each of them would have found cached, too.
        members: How many they are.
    """
    cached = min(prompt_tokens, group.cached_tokens * members)
    return Usage(input_tokens=prompt_tokens, cached_tokens=cached, output_tokens=output_tokens)
