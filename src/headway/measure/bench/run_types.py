"""What a run under load is: whom it asks, how hard, what came of it, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import inf, isfinite
from typing import Any, Literal, get_args

import msgspec

from headway.engine import Engine
from headway.errors import ConfigError
from headway.measure.bench.equation import tpot_s
from headway.measure.probe import Probe

__all__ = ["Arrivals", "Found", "Lag", "Load", "OwnError", "Progress", "Run", "Skipped", "Slo", "Target", "Trial"]

Arrivals = Literal["poisson", "constant", "trace"]
COUNT_MAX = 200_000
"""Requests of one run to one target, warm-up included: what bounds a run's memory, at about 1 kB a request. Gaps
between tokens have a bound of their own, `load_lane.GAPS_MAX`."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a run asks: a model, or the same one reached another way."""

    name: str
    """As tables show it: the model, or a label; told apart by it, so no two of a run may share one."""
    path: str
    """E.g. "/v1/chat/completions"."""
    body: Callable[[int], bytes]
    """The body of the request of that index, from 0; the warm-up's come first and count on."""
    headers: Mapping[str, str] | None = None
    engine: Engine | None = None
    """What it goes through; None: the run's own engine."""
    accept: Callable[[str], Any] | None = None
    """Takes an answer's text and raises `ValueError` where it is not what was asked for (`Task.accept` is one)."""
    cache: Literal["on", "off", "refresh"] | None = "off"
    """As for `Engine.send`; None: as the engine is set, to measure what an application gets."""
    model: str = ""
    """The model that is asked, for prices; "" if the name is it."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How hard a run asks: each of its targets gets this load.

    Closed loop (`rate_per_s` and `offsets_s` None): `concurrency` requests are always under way. Open loop: requests
    are due at moments that do not depend on the answers, and latency counts from those moments.
    """

    concurrency: int = 1
    """Closed loop: requests under way, > 0. Without meaning in an open loop."""
    rate_per_s: float | None = None
    """Open loop: requests a second, > 0. With "trace": the trace is stretched to it; None: as it was recorded."""
    arrivals: Arrivals = "poisson"
    offsets_s: tuple[float, ...] = ()
    """With "trace": when requests are due, in seconds from its start, ascending. See `arrivals.trace_offsets`."""
    concurrency_max: int = 1024
    """Open loop: requests under way at the most; those that are due wait for their turn, on the clock."""
    count: int | None = None
    """Requests that count, > 0; None: as many as `duration_s` holds."""
    duration_s: float | None = None
    """How long requests that count are started, > 0; what is under way then is waited for."""
    late_max_s: float = inf
    """Open loop: a request that could not be started for so long is skipped, and counted as such."""
    warmup_count: int = 0
    """Requests ahead of those that count; they are kept apart."""
    warmup_s: float = 0.0
    """Or: how long such requests are started."""
    ramp_s: float = 0.0
    """Closed loop: over which time the first requests are spread, so that they do not run in step."""
    seed: int = 0
    """Of the arrivals and of the order within a round."""
    deadline_s: float | None = None
    """Of each request, from when it is started; None: as the engine is set."""
    texts: bool = False
    """Keep the answers' texts."""

    def __post_init__(self) -> None:
        """Raises `ConfigError`: a value is out of range, or what is needed is missing."""
        if self.count is None and self.duration_s is None:
            raise ConfigError("a load needs count or duration_s; give one of them, e.g. count=100")
        if self.arrivals not in get_args(Arrivals):
            raise ConfigError(f'arrivals must be "poisson", "constant" or "trace", not {self.arrivals!r}')
        for name in ("concurrency", "concurrency_max"):
            _range(name, getattr(self, name), 1, 100_000)
        for name in ("rate_per_s", "duration_s", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be a number above 0, not {value!r}")
        for name in ("warmup_s", "ramp_s"):
            _range(name, getattr(self, name), 0, 86_400)
        if not self.late_max_s > 0:
            raise ConfigError(f"late_max_s must be a number above 0, not {self.late_max_s!r}")
        _range("count", 1 if self.count is None else self.count, 1, COUNT_MAX)
        _range("warmup_count", self.warmup_count, 0, COUNT_MAX)
        self._check_trace()

    def _check_trace(self) -> None:
        if self.arrivals != "trace":
            if self.offsets_s:
                raise ConfigError(f'offsets_s are for arrivals="trace", not for "{self.arrivals}"')
            return
        offsets = self.offsets_s
        if not offsets or not all(map(isfinite, offsets)) or any(b < a for a, b in pairwise(offsets)):
            raise ConfigError("offsets_s must hold one moment at least, in seconds and in ascending order")

    @property
    def closed(self) -> bool:
        """Whether it is a closed loop."""
        return self.rate_per_s is None and self.arrivals != "trace"

    @property
    def label(self) -> str:
        """In a word or two: "4 at once", "20/s poisson"."""
        if self.closed:
            return f"{self.concurrency} at once"
        return "trace" if self.rate_per_s is None else f"{self.rate_per_s:g}/s {self.arrivals}"


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer has to keep to be good, all counted from the intended start; None: no limit.

    A share of `share_min` of all requests, failures and skipped ones included, has to keep all limits; 0.99 by default,
    as p99 targets are written.
    """

    ttft_s: float | None = None
    e2e_s: float | None = None
    itl_s: float | None = None
    """The mean gap between the content events of an answer, from first to last."""
    tpot_s: float | None = None
    """From first to last content, over the output tokens less one."""
    share_min: float = 0.99

    def __post_init__(self) -> None:
        """Raises `ConfigError`: a limit is out of range."""
        for name in ("ttft_s", "e2e_s", "itl_s", "tpot_s"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise ConfigError(f"the SLO's {name} must be a number of seconds above 0, not {value!r}")
        if not 0.0 < self.share_min <= 1.0:
            raise ConfigError(f"the SLO's share_min must be above 0 and at most 1, not {self.share_min!r}")

    def kept_by(self, probe: Probe) -> bool:
        """Whether one request was good. What a limit needs and nobody can tell (TTFT of a whole answer) is not good."""
        return probe.ok and all(
            limit_s is None or (value_s is not None and value_s <= limit_s)
            for limit_s, value_s in (
                (self.ttft_s, probe.ttft_s),
                (self.e2e_s, probe.latency_s),
                (self.itl_s, _itl_s(probe)),
                (self.tpot_s, tpot_s(probe)),
            )
        )


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that were due and never started; they count as failed, and say why."""

    reason: str
    """One sentence."""
    count: int


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """How late something was, in seconds: quantiles to 1 %."""

    p50_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0
    count: int = 0


class OwnError(msgspec.Struct, frozen=True, kw_only=True):
    """What the measurement itself got wrong under this load, against a null server whose true times are known.

    Each is measured less true, in seconds: the median, and the 99th percentile (None below 100 requests). `ttft` and
    `itl` are None where answers were not streamed.
    """

    latency_p50_s: float
    latency_p99_s: float | None = None
    ttft_p50_s: float | None = None
    ttft_p99_s: float | None = None
    itl_mean_s: float | None = None
    requests: int = 0
    true_ttft_s: float | None = None
    """The medians of the server's own account."""
    true_latency_s: float = 0.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One target under one load: every request that was due, and how well the run kept to its plan."""

    target: str
    model: str = ""
    load: Load
    probes: tuple[Probe, ...] = ()
    """Those that count, in the order in which they were due; failures are among them."""
    warmup: tuple[Probe, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    duration_s: float = 0.0
    """From the first intended start that counts to the last end."""
    asked_rate_per_s: float | None = None
    """Of the schedule, over the requests that count; None for closed loops."""
    achieved_rate_per_s: float | None = None
    """Of their starts; None below two."""
    asked_cv: float | None = None
    """Coefficient of variation of the gaps in the schedule: 1 for Poisson arrivals, 0 for constant ones; None below
    three requests, and for closed loops."""
    achieved_cv: float | None = None
    start_lag: Lag = Lag()
    """How long after they were due requests were started."""
    loop_lag: Lag = Lag()
    """How late timers fired in this process meanwhile: up to 1 ms of it is their resolution, the rest was busy."""
    own_error: OwnError | None = None
    """None: it was not calibrated."""
    began_wall_s: float = 0.0
    """Unix seconds; the origin of its probes' times is `origin_s` on the loop's clock."""
    origin_s: float = 0.0
    cancelled: bool = False
    """It was interrupted: what had ended by then is there."""
    notes: tuple[str, ...] = ()
    """What a reader has to know, a sentence each."""

    @property
    def skipped_count(self) -> int:
        """All of them."""
        return sum(one.count for one in self.skipped)

    @property
    def due(self) -> int:
        """Requests that were due: the denominator of shares."""
        return len(self.probes) + self.skipped_count

    @property
    def answered(self) -> int:
        """Requests that the provider answered, whatever their answers are worth."""
        return sum(probe.answered for probe in self.probes)


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One rate that `find_max` tried."""

    rate_per_s: float
    kept: bool
    share: float
    """Of the requests that were due: those that kept the SLO."""
    due: int
    early: bool = False
    """Stopped before its end, for so many had failed that it could not be kept any more."""
    confirms: bool = False
    """A second look at the rate that had been found."""
    run: Run


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate that kept the SLO."""

    rate_per_s: float | None
    """None: not even the lowest rate that was tried did."""
    bounded: bool = True
    """Whether a higher rate was seen to fail; False: the search ended before the server did."""
    trials: tuple[Trial, ...] = ()
    """In the order in which they were made."""
    sentence: str = ""
    """What was found, in words."""


Progress = Callable[[int, int | None], None]
"""Told how many requests have ended and how many there will be (None: that depends on the clock)."""


def _itl_s(probe: Probe) -> float | None:
    first_s, last_s, events = probe.first_answer_s, probe.last_content_s, probe.content_events
    return None if first_s is None or last_s is None or events < 2 else (last_s - first_s) / (events - 1)


def _range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must be between {least:,} and {most:,}, not {value!r}")
