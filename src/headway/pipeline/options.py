"""What is declared about a step and about a pipeline."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.errors import ConfigError
from headway.pipeline.experience import Experience
from headway.pipeline.source import KEPT_BYTES_MAX
from headway.policy.backoff import Backoff
from headway.policy.degrade import Degrade

__all__ = ["MISSING", "PATIENCE_S", "RunOptions", "StepOptions"]

PATIENCE_S: Final = 5.0
"""How long a run waits for steps that it has cancelled, before it goes on without them."""


class _Missing:
    """No default was given; None is one."""

    def __repr__(self) -> str:
        return "..."


MISSING: Final = _Missing()


class StepOptions(msgspec.Struct, frozen=True, kw_only=True):
    """See `headway.step`."""

    optional: bool = False
    default: Any = MISSING
    timeout_s: float | None = None
    retries: int = 0
    retry_on: tuple[type[Exception], ...] = (Exception,)
    backoff: Backoff = Backoff()
    cache_s: float | None = None
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
        """Its value where it has none of its own."""
        return None if self.default is MISSING else self.default

    def check(self, name: str) -> None:
        """Raises ConfigError: one of them is out of its range."""
        for key, value, least in (
            ("timeout_s", self.timeout_s, 0.0),
            ("cache_s", self.cache_s, 0.0),
            ("kept_bytes_max", self.kept_bytes_max, 0.0),
        ):
            if value is not None and not value > least:
                raise ConfigError(f"step {name!r}: {key} must be above 0, not {value!r}")
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigError(f"step {name!r}: concurrency must be 1 or more, not {self.concurrency!r}")
        if self.retries < 0:
            raise ConfigError(f"step {name!r}: retries must be 0 or more, not {self.retries!r}")
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in self.retry_on):
            raise ConfigError(f"step {name!r}: retry_on takes classes of exceptions, not {self.retry_on!r}")


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
        """Raises ConfigError: one of them is out of its range."""
        for key, value in (("deadline_s", self.deadline_s), ("budget_usd", self.budget_usd)):
            if value is not None and not value > 0:
                raise ConfigError(f"pipeline {name!r}: {key} must be above 0, not {value!r}")
