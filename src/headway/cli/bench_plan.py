"""What the texts of `headway bench`'s options mean, and which of them do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from headway.cli.amounts import cap_of, seconds_of
from headway.cli.bench_options import RUNS
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.measure.bench.run_types import Load, Slo

__all__ = ["check_money", "check_search", "check_seen", "cost_told", "loads_of", "models_of", "slo_of", "usd_of"]

SLO_KEYS = {"ttft": "ttft_s", "e2e": "e2e_s", "itl": "itl_s", "tpot": "tpot_s"}
WARMUP_MAX = 16


def models_of(given: list[str] | None, default: str) -> list[str]:
    """The models' names, each once.

    Raises:
        ConfigError: A name is empty.
    """
    names = [name.strip() for one in given or [default] for name in one.split(",")]
    if not all(names):
        raise ConfigError("--model has an empty name; write e.g. --model gpt-5.4-mini,gpt-4o-mini")
    return list(dict.fromkeys(names))


def slo_of(text: str | None) -> Slo | None:
    """The SLO of "ttft=1s,e2e=8s".

    Raises:
        ConfigError: A name or a time is none.
    """
    from headway.measure.bench.run_types import Slo

    if text is None:
        return None
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in SLO_KEYS or not value:
            raise ConfigError(
                f"--slo must be limits such as ttft=1s,e2e=8s ({', '.join(SLO_KEYS)}), not {part.strip()!r}"
            )
        if SLO_KEYS[name] in limits:
            raise ConfigError(f"--slo says {name} twice; leave one out")
        limits[SLO_KEYS[name]] = _seconds(value.strip(), f"--slo {name}")
    return Slo(**limits)


def loads_of(
    concurrency: str | None,
    rate: str | None,
    arrivals: str | None,
    runs: int | None,
    duration: str | None,
    warmup: str | None,
    seed: int,
) -> list[Load]:
    """The loads: one a rate where rates are given, one a concurrency otherwise.

    Raises:
        ConfigError: A number is none, or out of range; or options contradict each other.
        InputError: The trace cannot be read.
    """
    from headway.measure.bench.arrivals import read_trace
    from headway.measure.bench.run_types import Load

    duration_s = None if duration is None else _seconds(duration, "--duration")
    count = runs if runs is not None or duration_s is not None else RUNS
    warmup_s, warmup_count = _warmup(warmup)
    trace = arrivals not in (None, "poisson", "constant")
    if concurrency is not None and (trace or rate is not None):
        raise ConfigError("--concurrency is for closed loops, --rate and traces are for open ones; leave one out")
    if arrivals is not None and not trace and rate is None:
        raise ConfigError(f"--arrivals {arrivals} is for open loops; give their --rate, such as --rate 20")
    if not trace and rate is None:
        return [
            Load(
                concurrency=places,
                count=count,
                duration_s=duration_s,
                warmup_count=min(places, WARMUP_MAX) if warmup is None else warmup_count,
                warmup_s=warmup_s,
                seed=seed,
            )
            for places in dict.fromkeys(_whole(text) for text in (concurrency or "1").split(","))
        ]
    offsets = read_trace(Path(arrivals or "")) if trace else ()
    if trace and runs is None and duration_s is None:
        count = len(offsets)
    rates: list[float | None] = [None] if rate is None else list(dict.fromkeys(map(_number, rate.split(","))))
    return [
        Load(
            rate_per_s=per_s,
            arrivals="trace" if trace else "constant" if arrivals == "constant" else "poisson",
            offsets_s=tuple(offsets),
            count=count,
            duration_s=duration_s,
            warmup_count=1 if warmup is None else warmup_count,
            warmup_s=warmup_s,
            seed=seed,
        )
        for per_s in rates
    ]


def check_search(
    slo: Slo | None,
    concurrency: str | None,
    rate: str | None,
    arrivals: str | None,
    runs: int | None,
    warmup: str | None,
    definitions: str,
    report: Path | None,
) -> None:
    """Refuse what --find-max would leave aside. Raises `ConfigError`."""
    if slo is None:
        raise ConfigError("--find-max needs limits to keep: give --slo, e.g. --slo ttft=1s,e2e=8s")
    given = {
        "--concurrency": concurrency,
        "--arrivals": arrivals if arrivals != "poisson" else None,
        "--runs": runs,
        "--warmup": warmup,
        "--definitions": definitions if definitions != "headway" else None,
        "--report": report,
    }
    odd = [name for name, value in given.items() if value is not None]
    if odd:
        raise ConfigError(f"--find-max has no use for {odd[0]}: it tries Poisson arrivals at rates of its own")
    if rate is not None and "," in rate:
        raise ConfigError("--find-max starts from one --rate; leave the others out")


def check_seen(slo: Slo | None, *, stream: bool) -> None:
    """Refuse limits on what whole answers do not show. Raises `ConfigError`."""
    unseen = [] if slo is None or stream else [name for name in SLO_KEYS if name != "e2e"]
    unseen = [name for name in unseen if getattr(slo, SLO_KEYS[name]) is not None]
    if unseen:
        raise ConfigError(f"--slo {unseen[0]} cannot be seen of whole answers: leave it or --no-stream out")


def usd_of(text: str) -> float:
    """The cap of "1", "$5" or "5usd"; "none" is infinite. Raises `ConfigError`."""
    cap = cap_of(text)
    return inf if cap is None else cap


def cost_told(loads: Sequence[Load], each: Sequence[float | None], most: float | None, usd_max: float) -> str:
    """What a bench may cost, in a sentence: `each` one request to each model, `most` all of it; None is unknown."""
    from headway.measure.bench.questions import requests_of

    models = f"{len(each)} model{'s' if len(each) > 1 else ''}"
    if most is not None:
        count = sum(requests_of(load) or 0 for load in loads) + 1
        return f"{models}, {count:,} requests each, warm-up included: ${most:.4f} at most."
    if None in each:
        ends = "" if usd_max == inf else f"; it ends when ${usd_max:g} are known to be spent"
        return (
            f"{models}: what it may cost cannot be told, for a price or a bound (--max-output-tokens) is unknown{ends}."
        )
    return (
        f"{models}: what it may cost is open."
        if usd_max == inf
        else f"{models}: it ends before ${usd_max:g} are spent."
    )


def check_money(each: Sequence[float | None], most: float | None, usd_max: float) -> None:
    """Refuse what may pass the cap: `most` all of it, or where that is open two requests. Raises `ConfigError`."""
    least = 2 * sum(usd or 0.0 for usd in each)
    if most is not None and most > usd_max:
        raise ConfigError(
            f"this may cost ${most:.4f}, more than --max-usd {usd_max:g}; raise it, or lower --runs, --duration or "
            "--max-output-tokens"
        )
    if most is None and least > usd_max:
        raise ConfigError(f"two requests to each may cost ${least:.4f}, more than --max-usd {usd_max:g}; raise it")


def _warmup(text: str | None) -> tuple[float, int]:
    if text is None:
        return 0.0, 0
    if text.strip().isdecimal():
        return 0.0, int(text)
    return _seconds(text, "--warmup"), 0


def _seconds(text: str, where: str) -> float:
    """As everywhere on the command line, and milliseconds, for limits are that short."""
    if text.endswith("ms"):
        number = text.removesuffix("ms").strip()
        if number.replace(".", "", 1).isdecimal() and float(number) > 0:
            return float(number) / 1e3
        raise ConfigError(f"{where} must be a time such as 50ms or 1s, not {text!r}")
    return seconds_of(text, where)


def _whole(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigError(f"--concurrency must be whole numbers from 1, such as 1,4,16, not {text.strip()!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--rate must be requests a second, such as 20 or 5,20, not {text.strip()!r}") from None
