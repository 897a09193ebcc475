"""What is declared about a step and about a pipeline."""

from __future__ import annotations

from copy import deepcopy
from math import isfinite
from typing import Any, Final

import msgspec

from headway.errors import BudgetExceeded, Closed, ConfigError, DeadlineExceeded
from headway.pipeline.experience import Experience
from headway.pipeline.source import KEPT_BYTES_MAX
from headway.policy.backoff import Backoff
from headway.policy.degrade import Degrade

__all__ = ["MISSING", "RunOptions", "StepOptions", "check_count"]


class _Missing:
    """No default was given; None is one."""

    def __repr__(self) -> str:
        return "..."


MISSING: Final = _Missing()
_FINAL = (BudgetExceeded, Closed, ConfigError, DeadlineExceeded)
"""Failures that another try meets again."""


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """See `headway.step`."""

    optional: bool = False
    default: Any = MISSING
    timeout_s: float | None = None
    retries: int = 0
    retry_on: tuple[type[Exception], ...] = (Exception,)
    backoff: Backoff = Backoff()
    cache_s: float | None = None
    cache_version: str = ""
    concurrency: int | None = None
    pure: bool = False
    smaller: dict[str, str] = {}
    kept_bytes_max: int = KEPT_BYTES_MAX

    @property
    def is_tolerant(self) -> bool:
        """Whether the run goes on without it."""
        return self.optional or self.default is not MISSING

    @property
    def stand_in(self) -> Any:
        """Its value where it has none of its own; a new one each time where it can be changed."""
        return None if self.default is MISSING else _own(self.default)

    def is_worth_it(self, failure: Exception, *, timed_out: bool) -> bool:
        """Whether another try may end better. A step's own timeout is a `TimeoutError` to `retry_on` as well."""
        if timed_out:
            return any(issubclass(kind, self.retry_on) for kind in (DeadlineExceeded, TimeoutError))
        return isinstance(failure, self.retry_on) and not isinstance(failure, _FINAL)

    def check(self, name: str) -> None:
        """Raises ConfigError: one of them is out of its range, or of another type."""
        who = f"step {name!r}"
        check_above_0(who, timeout_s=self.timeout_s, cache_s=self.cache_s)
        check_count(who, "concurrency", 1 if self.concurrency is None else self.concurrency, least=1)
        check_count(who, "retries", self.retries, least=0)
        check_count(who, "kept_bytes_max", self.kept_bytes_max, least=1)
        for key, flag in (("optional", self.optional), ("pure", self.pure)):
            if not isinstance(flag, bool):
                raise ConfigError(f"{who}: {key} must be True or False, not {flag!r}")
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in self.retry_on):
            raise ConfigError(f"{who}: retry_on takes classes of exceptions, not {self.retry_on!r}")
        if not all(isinstance(model, str) for model in (*self.smaller, *self.smaller.values())):
            raise ConfigError(f"{who}: smaller takes names of models by names of models, not {self.smaller!r}")
        if not isinstance(self.cache_version, str):
            raise ConfigError(f"{who}: cache_version must be a text such as '1', not {self.cache_version!r}")
        if self.cache_version and self.cache_s is None:
            raise ConfigError(f"{who}: cache_version needs cache_s=, the seconds that results are kept")
        try:
            _own(self.default)
        except TypeError as error:
            raise ConfigError(
                f"{who}: its default, a {type(self.default).__name__}, can be changed but not copied, so runs would "
                "share it; give None, and make the object where it is used"
            ) from error


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one run is made; see `Pipeline.run`."""

    deadline_s: float | None = None
    budget_usd: float | None = None
    degrade: Degrade | None = None
    experience: Experience = msgspec.field(default_factory=Experience)
    engine: Any = None
    session: str = ""
    log: bool = True

    def check(self, name: str) -> None:
        """Raises ConfigError: one of them is out of its range, or of another type."""
        check_above_0(f"pipeline {name!r}", deadline_s=self.deadline_s, budget_usd=self.budget_usd)


def check_above_0(who: str, **values: object) -> None:
    """Raises ConfigError: one of them, where it is given, is no finite number above 0."""
    for key, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not (value > 0 and isfinite(value)):
            raise ConfigError(f"{who}: {key} must be above 0, not {value!r}: a finite number, or nothing for no bound")


def check_count(who: str, key: str, value: object, *, least: int) -> None:
    """Raises ConfigError: it is no whole number of at least so much."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{who}: {key} must be {least} or more, not {value!r}: a whole number")


def _own(value: Any) -> Any:
    """It, or a copy of what can be changed, which is what cannot be hashed."""
    try:
        hash(value)
    except TypeError:
        return deepcopy(value)
    return value
