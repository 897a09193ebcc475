"""What a seed stands for: an engine's settings, a provider and a network that go wrong, and callers that come and go."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

from headway.sim import Fault, NetworkFault, SimSettings

from .plans import CLIENT_KEY, HOST, Plan, Scenario
from .widen import widened

RETRY_AFTER = ("0", "1", "121", "date", "soon", "-5", "1e9", "")

SIM_KINDS = (
    "429", "500", "503", "529", "quota", "billing", "html", "html200", "reset", "stall", "pings", "truncated",
    "malformed", "empty", "slow", "event",
)  # fmt: skip
NETWORK_KINDS = ("refused", "black_hole", "reset", "cut", "stall", "split", "slow", "stale")


def scenario_of(seed: int) -> Scenario:
    """The same for the same seed, in every process."""
    rng = Random(f"faults/{seed}")
    span_s = rng.choice((0.0, 0.5, 5.0, 30.0))
    callers = tuple(_plan(number, span_s, rng) for number in range(rng.randint(8, 36)))
    plain = Scenario(
        seed=seed,
        engine=_engine(seed, rng),
        sim=_sim(seed, span_s, rng),
        keep_alive_s=rng.choice((1, 5, 75)),
        latency_s=rng.choice((0.0, 0.0005, 0.02, 0.15)),
        network=_network_faults(span_s, rng),
        callers=callers,
        close_s=_spread(0.001, span_s + 10, rng) if rng.random() < 0.1 else None,
    )
    return widened(plain)


def _engine(seed: int, rng: Random) -> dict[str, Any]:
    return {
        "base_url": f"http://{HOST}/v1",
        "api_key": CLIENT_KEY,
        "seed": seed,
        "log_level": "off",
        "cache": rng.choice(("off", "memory", "memory", "disk")),
        "cache_ttl_s": rng.choice((86_400.0, 2.0)),
        "cache_stale_while_revalidate_s": rng.choice((0.0, 20.0)),
        "attempts_max": rng.choice((1, 2, 3, 3, 5)),
        "budget_usd": rng.choice((None, None, None, 0.001, 0.05)),
        "budget_tokens": rng.choice((None, None, None, 300)),
        "requests_per_min": rng.choice((None, None, 600.0, 60.0)),
        "connections_max": rng.choice((1, 3, 1_024, 1_024)),
        "queue_max": rng.choice((3, 100_000, 100_000)),
        "timeout_s": rng.choice((20.0, 60.0, 600.0)),
        "connect_timeout_s": rng.choice((0.2, 5.0)),
        "first_byte_timeout_s": rng.choice((2.0, 30.0)),
        "first_event_timeout_s": rng.choice((2.0, 20.0)),
        "idle_timeout_s": rng.choice((1.0, 10.0, 60.0)),
    }


def _sim(seed: int, span_s: float, rng: Random) -> SimSettings:
    kinds = rng.sample(SIM_KINDS, rng.choice((0, 1, 2, 3)))
    return SimSettings(
        seed=seed,
        rpm=rng.choice((None, 60, 600, 10_000)),
        tpm=rng.choice((None, 30_000, 30_000_000)),
        capacity_s=rng.choice((1.0, 60.0)),
        headers=rng.random() < 0.8,
        retry_after=rng.random() < 0.5,
        latency_scale=rng.choice((0.0, 0.2, 1.0)),
        stall_s=rng.choice((3.0, 40.0, 900.0)),
        quality=None,
        faults=tuple(_sim_fault(kind, span_s, rng) for kind in kinds),
    )


def _sim_fault(kind: str, span_s: float, rng: Random) -> Fault:
    rate, start_s, end_s = _when(span_s, rng)
    return Fault(
        kind=kind,
        rate=rate,
        start_s=start_s,
        end_s=None if end_s == inf else end_s,
        retry_after=tuple(rng.sample(RETRY_AFTER, rng.choice((0, 1, 4)))) if kind in ("429", "503", "529") else (),
    )


def _network_faults(span_s: float, rng: Random) -> tuple[NetworkFault, ...]:
    found = []
    for kind in rng.sample(NETWORK_KINDS, rng.choice((0, 1, 2, 3))):
        rate, start_s, end_s = _when(span_s, rng)
        found.append(
            NetworkFault(
                kind=kind,
                rate=rate,
                start_s=start_s,
                end_s=end_s,
                stall_s=rng.choice((0.5, 5.0, inf)),
                pause_s=rng.choice((0.001, 0.2)),
                at_bytes=rng.choice((None, None, 0, rng.randint(1, 3_000))),
            )
        )
    return tuple(found)


def _when(span_s: float, rng: Random) -> tuple[float, float, float]:
    """Rate, start and end: now and then, a burst of all, or all the time."""
    shape = rng.randrange(4)
    if shape == 0:
        start_s = rng.uniform(0, span_s)
        return 1.0, start_s, start_s + rng.choice((0.3, 2.0, 15.0))
    return (1.0 if shape == 1 else rng.uniform(0.05, 0.6)), 0.0, inf


def _plan(number: int, span_s: float, rng: Random) -> Plan:
    group = rng.randrange(rng.choice((3, 12, 40)))
    asked = Random(f"group/{group}")
    text = f"Question {group}: write {asked.choice((3, 12, 30))} words about the number {group}."
    if asked.random() < 0.03:
        text += " Consider: " + "elsewhere " * 14_000
    stream = rng.random() < 0.6
    tokens = asked.choice((16, 40, 64))
    if asked.random() < 0.5:
        path = "/v1/responses"
        body: dict[str, Any] = {"model": "gpt-4.1-nano", "input": text, "max_output_tokens": tokens, "store": False}
    else:
        path = "/v1/chat/completions"
        body = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
        }
        if stream and rng.random() < 0.3:
            body["stream_options"] = {"include_usage": True}
    if stream:
        body["stream"] = True
    leaves = rng.random()
    return Plan(
        number=number,
        group=group,
        arrive_s=rng.uniform(0, span_s),
        path=path,
        body=body,
        cache=rng.choice((None, None, None, "off", "refresh")),
        deadline_s=_spread(0.001, 60, rng) if rng.random() < 0.4 else None,
        priority=rng.choice((-1, 0, 0, 0, 1)),
        leave_s=_spread(0.0001, 30, rng) if leaves < 0.25 else None,
        leave_chunks=rng.randint(0, 12) if 0.25 <= leaves < 0.35 else None,
        leave_at_end=rng.random() < 0.4,
        dawdle_s=rng.choice((0.0, 0.0, 0.0, 0.01, 1.0)),
    )


def _spread(least: float, most: float, rng: Random) -> float:
    """Each magnitude as likely."""
    return least * (most / least) ** rng.random()
