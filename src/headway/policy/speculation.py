"""Whether to fetch what nobody has asked for yet: when the saving that is likely beats the waste that is likely.

A guess is launched when

    likelihood * saving_s * usd_per_s * (share of the budget that is left)  >  (1 - likelihood) * cost_usd

and its whole cost fits into what may be wasted: a share of the dollars that were really spent, and a small allowance
to begin with. The last factor is a price on the budget: the less of it is left, the surer a guess has to be, so that
poor guesses do not take what a good one will need a moment later. What is under way, or was fetched and not asked for
so far, counts as wasted until somebody asks for it.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import Literal, TypeAlias, TypeGuard

import msgspec

from headway.errors import ConfigError

__all__ = ["Guess", "Purse", "Refusal", "SpeculationSettings", "Trust", "is_amount", "lower_bound"]

Refusal: TypeAlias = Literal["", "not worth it", "budget", "busy"]
"""Why a guess is not launched; "" when it is."""


class SpeculationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What speculation may do.

    Raises:
        ConfigError: A value is out of range; the message names it.
    """

    usd_per_s: float = 0.002
    """What a second that somebody does not wait is worth in US dollars, >= 0. The default is some 7 dollars an hour,
    well below a wage, for who waits a second or two loses less than that of work: with it, guesses for 0.1 cent have to
    be likelier than one in four if they save 1.5 s. On `bench/bench_prefetch.py` (60 %) five times as much saves 1 %
    more seconds for a quarter more waste, and a quarter of it saves a twelfth less."""
    wasted_share_max: float = 0.25
    """What may be wasted, as a share of the dollars really spent, >= 0."""
    allowance_usd: float = 0.01
    """What may be wasted beyond that share, >= 0: before anything was spent there is nothing to take a share of. A
    cent is some ten answers of a small model."""
    under_way_max: int = 4
    """Guesses fetched at once, 1 to 16."""
    patience_s: float = 300.0
    """How long after it was fetched a guess may still be asked for, > 0 s; then it is booked as wasted."""
    saving_s_assumed: float = 2.0
    """What a step is taken to last before it was seen once, >= 0 s."""
    cost_usd_assumed: float = 0.001
    """What a step is taken to cost before it was seen once, >= 0 dollars."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("usd_per_s", "wasted_share_max", "allowance_usd", "saving_s_assumed", "cost_usd_assumed"):
            value = getattr(self, name)
            if not is_amount(value):
                raise ConfigError(f"speculation: {name} must be a number from 0, not {value!r}")
        if not is_amount(self.under_way_max) or not 1 <= self.under_way_max <= 16:
            raise ConfigError(f"speculation: under_way_max must be 1 to 16, not {self.under_way_max!r}")
        if not is_amount(self.patience_s) or self.patience_s <= 0.0:
            raise ConfigError(f"speculation: patience_s must be a number of seconds above 0, not {self.patience_s!r}")


class Guess(msgspec.Struct, frozen=True):
    """A next step, and what it would bring and take."""

    likelihood: float
    """That somebody asks for it, 0 to 1."""
    saving_s: float
    """What is not waited then, >= 0 s."""
    cost_usd: float
    """What is wasted otherwise, >= 0 dollars."""


class Purse:
    """The dollars of speculation, from launch to use or waste.

    `reserved_usd` + `unused_usd` never rises above ``wasted_share_max * real_usd + allowance_usd`` by a launch, nor by
    `grow`, by which the worst case of each request is set aside before it is sent.
    """

    __slots__ = ("_settings", "reserved_usd", "under_way", "unused_usd")

    def __init__(self, settings: SpeculationSettings) -> None:
        self._settings = settings
        self.under_way = 0
        self.reserved_usd = 0.0
        """Of those under way: what they are expected to cost, or may by now."""
        self.unused_usd = 0.0
        """What ended ones cost that nobody has asked for."""

    def judge(self, guess: Guess, real_usd: float) -> Refusal:
        """Whether to launch.

        Args:
            guess: What it is about.
            real_usd: Dollars spent on what was asked for, >= 0.
        """
        settings = self._settings
        if self.under_way >= settings.under_way_max:
            return "busy"
        bound_usd = self._bound_usd(real_usd)
        left_usd = bound_usd - self.unused_usd - self.reserved_usd
        share_left = max(0.0, left_usd) / bound_usd if bound_usd > 0.0 else float(guess.cost_usd == 0.0)
        gain_usd = guess.likelihood * guess.saving_s * settings.usd_per_s
        loss_usd = (1.0 - guess.likelihood) * guess.cost_usd
        if gain_usd <= loss_usd:
            return "not worth it"
        return "" if guess.cost_usd <= left_usd and gain_usd * share_left > loss_usd else "budget"

    def grow(self, more_usd: float, real_usd: float) -> bool:
        """One under way may cost so much more than was set aside for it; False where that is not left.

        Args:
            more_usd: In dollars; 0 or less always fits.
            real_usd: As for `judge`.
        """
        if not self.fits(more_usd, real_usd):
            return False
        self.reserved_usd += max(0.0, more_usd)
        return True

    def fits(self, usd: float, real_usd: float) -> bool:
        """Whether so much is left; see `grow`."""
        return usd <= 0.0 or self.unused_usd + self.reserved_usd + usd <= self._bound_usd(real_usd)

    def _bound_usd(self, real_usd: float) -> float:
        return self._settings.wasted_share_max * real_usd + self._settings.allowance_usd

    def launch(self, cost_usd: float) -> None:
        """One more is under way; it is expected to cost that."""
        self.under_way += 1
        self.reserved_usd += cost_usd

    def end(self, cost_usd: float, actual_usd: float) -> None:
        """One has ended: what was set aside for it (by `launch` and `grow`), and what it did cost."""
        self.under_way -= 1
        # Sums of floats keep a residue, which must not be taken for money.
        self.reserved_usd = max(0.0, self.reserved_usd - cost_usd) if self.under_way else 0.0
        self.unused_usd += actual_usd

    def use(self, actual_usd: float) -> None:
        """One that has ended was asked for: nothing of it was wasted."""
        self.unused_usd = max(0.0, self.unused_usd - actual_usd)


class Trust:
    """How often what was called likely came: likelihoods are multiplied by comings seen per coming promised.

    Recent ones count more: the weight of one halves with every 35 that follow it.
    """

    __slots__ = ("_came", "_promised")

    def __init__(self) -> None:
        self._came = 0.0
        self._promised = 0.0

    def of(self, likelihood: float) -> float:
        """The likelihood as experience has it, 0 to 1."""
        return min(1.0, likelihood * (self._came + _FAITH) / (self._promised + _FAITH))

    def learn(self, likelihood: float, *, came: bool) -> None:
        """What was promised with that likelihood, 0 to 1, came or did not."""
        self._came = _KEPT * self._came + came
        self._promised = _KEPT * self._promised + likelihood


_FAITH = 3.0
"""Comings that are taken for granted: three misses in a row halve a likelihood of one, and no more."""
_KEPT = 0.98


def is_amount(value: object) -> TypeGuard[float]:
    """Whether it is a number, 0 or more, and not infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0.0


def lower_bound(mean: float, weight: float, deviations: float = 1.0) -> float:
    """A share that the true one is likely not below: the mean of a Beta distribution less its standard deviation.

    Five times in six the true share is above it (one deviation of a bell curve). With 1 of 1 seen, and a prior of one
    in two that weighs as much as two sights, the mean is 0.67 and the bound 0.43.

    Args:
        mean: Of the posterior, 0 to 1.
        weight: Sights behind it, the prior's included, >= 0.
        deviations: How many to take off.
    """
    return max(0.0, mean - deviations * sqrt(max(0.0, mean * (1.0 - mean)) / (weight + 1.0)))
