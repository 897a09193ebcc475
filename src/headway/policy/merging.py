"""When several outputs about one row are worth one call: an estimate beforehand, and a case that is judged as it goes.

Calls that run side by side take as long as the longest of them, a merged one as long as all of them together:

    parallel   = max(ttft + tokens_i * tpot)
    sequential = sum(ttft + tokens_i * tpot)
    merged     = ttft + sum(tokens_i) * tpot

so merging saves requests and the input that every call repeats, and waiting only against calls in sequence. It goes
wrong where the model drops keys: then the merged call is paid for, and so are those that ask again. Hence a threshold.

Source: FACTS section 7 (at most 6 homogeneous, independent, short outputs of one source; one field report paid 37 %
more and waited 136 s instead of 30 for want of a fallback threshold).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from headway.errors import ConfigError

__all__ = [
    "OUTPUTS_MAX",
    "MergeCase",
    "MergeEstimate",
    "MergeMode",
    "MergeOrder",
    "MergeSettings",
    "Turn",
    "merge_estimate",
]

MergeMode: TypeAlias = Literal["auto", "merged", "separate"]
MergeOrder: TypeAlias = Literal["parallel", "sequential"]

OUTPUTS_MAX = 6
"""More than so many outputs in one answer are more than a model does well. Source: FACTS section 7."""

WINDOW = 100
"""Merged rows by which the share of fallbacks is judged, then judged anew: judged with every answer, a share that is
allowed would be exceeded by chance sooner or later."""
EARLY = 12
"""In the first window so many are enough to stop, where twice the share that is allowed has been seen."""
PROBE_EVERY, PROBE_EVERY_MAX = 20, 320
"""While calls are separate, one row in so many is asked merged, to see whether that works by now; half as often after
each attempt to go back that failed. At most a twentieth of the rows pay for looking."""
PROBES = 10
"""Probes by which going back is judged: at most half the share that is allowed may fall back."""


class MergeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a task with several outputs is asked."""

    mode: MergeMode = "auto"
    """One call, one call for each output, or one call until `fallback_max` is exceeded."""
    order: MergeOrder = "parallel"
    """How separate calls of one row run."""
    fallback_max: float = 0.2
    """Share of merged answers, 0 to 1, that may need a second question before calls are separate again."""

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        if not 0 <= self.fallback_max <= 1:
            raise ConfigError(f"fallback_max must be a number from 0 to 1, not {self.fallback_max}")


class Turn(NamedTuple):
    """How one row is asked; a probe is asked merged, too."""

    way: Literal["merged", "probe", "separate"]
    window: int = 0
    """Which rows it is judged with."""


class MergeCase:
    """One run's case for merging: which way the next row is asked, and what came of those that were asked merged.

    Rows are judged with those that began with them: rows that ask again end later than others, and come in clusters.

    Args:
        settings: What was asked for.
    """

    __slots__ = ("_begun", "_every", "_open", "_probes", "_proven", "_returned", "_separate", "_settings", "_since",
                 "fallback_share", "reverts")  # fmt: skip

    def __init__(self, settings: MergeSettings) -> None:
        self._settings = settings
        self._begun = 0
        self._open: dict[int, list[int]] = {}  # window -> rows ended and fallbacks; bounded by the rows under way
        self._probes: deque[bool] = deque(maxlen=PROBES)
        self._separate = False
        self._proven = False
        self._returned = False
        self._since = 0
        self._every = PROBE_EVERY
        self.reverts = 0
        """How often merging was given up."""
        self.fallback_share = 0.0
        """Share of the merged answers that needed a second question, 0 to 1, when it was last judged."""

    @property
    def separate(self) -> bool:
        """Whether calls are separate now, a probe now and then apart."""
        return self._settings.mode == "separate" or self._separate

    @property
    def learning(self) -> bool:
        """Whether it is worth waiting for the first answers before many rows are asked."""
        return self._settings.mode == "auto" and not (self._separate or self._proven)

    def choose(self) -> Turn:
        """How the next row is asked; `ended` is owed for it."""
        if self._settings.mode != "auto":
            return Turn(self._settings.mode)
        if not self._separate:
            window = self._begun // WINDOW
            self._begun += 1
            self._open.setdefault(window, [0, 0])
            return Turn("merged", window)
        self._since += 1
        if self._since < self._every:
            return Turn("separate")
        self._since = 0
        return Turn("probe")

    def ended(self, turn: Turn, *, fell_back: bool) -> Literal["", "reverted", "returned"]:
        """A row is over; what that changes for the next ones. Rows that were under way at a change count for nothing.

        Args:
            turn: As `choose` said for it.
            fell_back: Whether it needed a second question.
        """
        if turn.way == "probe" and self._separate:
            return self._probed(fell_back=fell_back)
        counts = self._open.get(turn.window)
        if turn.way != "merged" or counts is None:
            return ""
        counts[0] += 1
        counts[1] += fell_back
        rows, fallbacks = counts
        early = not self._proven and rows >= EARLY and fallbacks > 2 * self._settings.fallback_max * rows
        if early or fallbacks > self._settings.fallback_max * WINDOW:  # no rest of the window can mend that
            self.fallback_share = fallbacks / rows
            self._revert()
            return "reverted"
        if rows == WINDOW:
            self.fallback_share = fallbacks / rows
            self._proven = True
            del self._open[turn.window]
        return ""

    def _revert(self) -> None:
        if self._returned:
            self._every = min(2 * self._every, PROBE_EVERY_MAX)
        self._separate, self._since = True, 0
        self._probes.clear()
        self._open.clear()
        self.reverts += 1

    def _probed(self, *, fell_back: bool) -> Literal["", "returned"]:
        self._probes.append(fell_back)
        if len(self._probes) < PROBES or sum(self._probes) > PROBES * self._settings.fallback_max / 2:
            return ""
        self._separate, self._returned = False, True
        self._begun = (self._begun // WINDOW + 1) * WINDOW  # a window of its own
        return "returned"


class MergeEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and tokens of one row, three ways."""

    merged_s: float
    parallel_s: float
    sequential_s: float
    merged_input_tokens: int
    separate_input_tokens: int
    calls_saved: int
    advice: str
    """One sentence."""

    @property
    def input_saved(self) -> float:
        """Share of the input that merging saves, 0 to 1; below 0 where it takes more."""
        return 1 - self.merged_input_tokens / self.separate_input_tokens if self.separate_input_tokens else 0.0


def merge_estimate(
    output_tokens: Mapping[str, float],
    *,
    ttft_s: float,
    tpot_s: float,
    source_tokens: int = 0,
    ask_tokens: int = 0,
    order: MergeOrder = "parallel",
) -> MergeEstimate:
    """What merging the outputs would come to; see the module for the model.

    Args:
        output_tokens: Name of the output -> its mean length in tokens.
        ttft_s: Time to the first token, seconds.
        tpot_s: Time per further token, seconds.
        source_tokens: Input that every separate call repeats: the system text and the row.
        ask_tokens: Input that asks for one output.
        order: How the calls run now.

    Raises:
        ConfigError: No output, or a number below 0.
    """
    lengths = list(output_tokens.values())
    if not lengths or min(*lengths, ttft_s, tpot_s, source_tokens, ask_tokens, 0) < 0:
        raise ConfigError("merge_estimate needs at least one output, and numbers from 0")
    each = [ttft_s + tokens * tpot_s for tokens in lengths]
    merged_s, parallel_s, sequential_s = ttft_s + sum(lengths) * tpot_s, max(each), sum(each)
    now_s = parallel_s if order == "parallel" else sequential_s
    return MergeEstimate(
        merged_s=merged_s,
        parallel_s=parallel_s,
        sequential_s=sequential_s,
        merged_input_tokens=source_tokens + len(lengths) * ask_tokens,
        separate_input_tokens=len(lengths) * (source_tokens + ask_tokens),
        calls_saved=len(lengths) - 1,
        advice=_advice(len(lengths), merged_s, now_s, order),
    )


def _advice(outputs: int, merged_s: float, now_s: float, order: MergeOrder) -> str:
    if outputs == 1:
        return "There is nothing to merge: it is one call already."
    if outputs > OUTPUTS_MAX:
        return f"Do not merge {outputs} outputs: beyond {OUTPUTS_MAX} models drop keys and do each of them worse."
    how = "side by side" if order == "parallel" else "one after the other"
    if merged_s <= now_s:
        return f"Merge: {merged_s:.2f} s instead of {now_s:.2f} s {how}, and {outputs - 1} requests fewer a row."
    return (
        f"Merge only for requests and dollars: {merged_s:.2f} s instead of {now_s:.2f} s {how}, "
        f"for {outputs - 1} requests fewer a row."
    )
