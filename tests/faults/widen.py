"""What some seeds draw besides, from dice of their own: the draws of `scenario` stay what they are for every seed."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec.structs import replace

from headway.sim import Fault, SimSettings

from .plans import Plan, Scenario, StandIn

STATES = ("well", "slow", "erring", "erring", "refusing", "dead", "unknown", "keyless")
NAMES = ("berlin", "lyon")
SPACES = ("", "faq", "news")
FORMATS_SHARE = 0.35
"""Of the groups that ask another format where one does."""


def widened(plain: Scenario) -> Scenario:
    """Some seeds stay as they are; each of the others gets some of what there is."""
    rng = Random(f"faults/{plain.seed}/wide")
    if rng.random() < 0.3:
        return plain
    hedging, mild = rng.random() < 0.3, rng.random() < 0.4
    if hedging or mild:
        plain = _milder(plain, rng)
    if hedging:
        plain = _hedging(plain, rng)
    engine, callers, others = dict(plain.engine), plain.callers, ()
    if rng.random() < 0.35:
        callers = _formats(plain.seed, callers)
    if rng.random() < 0.35:
        others = tuple(_stand_in(name, plain.seed, rng) for name in NAMES[: rng.choice((1, 2))])
        engine["upstreams"] = [entry for other in others for entry in other.entries()]
    if rng.random() < 0.3:
        engine["cache_replay"] = "paced"
    if rng.random() < 0.3 and engine["cache"] != "off":
        engine["caches"] = {name: {"ttl_s": rng.choice((2.0, 600.0))} for name in SPACES if name}
        callers = tuple(replace(plan, namespace=rng.choice(SPACES)) for plan in callers)
    if rng.random() < 0.3:
        callers = tuple(_prefetching(plan, rng) for plan in callers)
    doors = rng.random()
    if doors < 0.4:
        callers = tuple(_elsewhere(plan, "handle", rng) if rng.random() < 0.5 else plan for plan in callers)
    if 0.2 < doors < 0.75:
        callers = tuple(_elsewhere(plan, "sdk", rng) if rng.random() < 0.7 else plan for plan in callers)
    return replace(plain, engine=engine, callers=callers, others=others)


def _milder(plain: Scenario, rng: Random) -> Scenario:
    """Faults are the exception, and nothing else is short: what needs answers to work on gets them."""
    most = rng.choice((0.05, 0.2))
    sim = replace(
        plain.sim,
        latency_scale=max(0.2, plain.sim.latency_scale),
        faults=tuple(replace(fault, rate=min(most, fault.rate)) for fault in plain.sim.faults),
    )
    return replace(
        plain,
        engine=plain.engine | {"budget_usd": None, "budget_tokens": None, "queue_max": 100_000},
        sim=sim,
        network=tuple(replace(fault, rate=min(most, fault.rate)) for fault in plain.network),
    )


def _hedging(plain: Scenario, rng: Random) -> Scenario:
    """Calls are late now and then; and more callers of one kind than there were, for what is late is learned."""
    first = plain.callers[0]
    more = [
        replace(
            plain.callers[index % len(plain.callers)],
            number=len(plain.callers) + index,
            group=1_000 + index,
            path="/v1/chat/completions",
            body={
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": f"Question {1_000 + index}: write 12 words."}],
                "max_tokens": rng.choice((20, 40)),
                **({"stream": True} if first.stream else {}),
            },
        )
        for index in range(24)
    ]
    late = Fault(kind=rng.choice(("slow", "slow", "stall")), rate=rng.choice((0.1, 0.3)))
    settings = {"hedge_ratio": rng.choice((0.05, 0.3, 1.0)), "attempts_max": max(2, plain.engine["attempts_max"])}
    return replace(
        plain,
        engine=plain.engine | settings,
        sim=replace(plain.sim, faults=(late, *plain.sim.faults)),
        callers=(*plain.callers, *more),
    )


def _formats(seed: int, callers: tuple[Plan, ...]) -> tuple[Plan, ...]:
    """Some groups ask for Anthropic's Messages or for embeddings instead."""
    found = []
    for plan in callers:
        dice = Random(f"faults/{seed}/format/{plan.group}").random()
        if dice < 0.7 * FORMATS_SHARE:
            plan = replace(plan, path="/v1/messages", body=_message(plan))
        elif dice < FORMATS_SHARE:
            plan = replace(plan, path="/v1/embeddings", body=_embedding(plan))
        found.append(plan)
    return tuple(found)


def _text(plan: Plan) -> str:
    return str(plan.body["input"] if "input" in plan.body else plan.body["messages"][0]["content"])


def _message(plan: Plan) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "claude-haiku-4-5",
        "max_tokens": 40,
        "messages": [{"role": "user", "content": _text(plan)}],
    }
    return body | {"stream": True} if plan.stream else body


def _embedding(plan: Plan) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": _text(plan), "dimensions": 8, "encoding_format": "float"}


def _stand_in(name: str, seed: int, rng: Random) -> StandIn:
    state = rng.choice(STATES)
    faults: tuple[Fault, ...] = ()
    if state == "erring":
        faults = (
            Fault(kind=rng.choice(("500", "503", "429", "quota", "reset", "event")), rate=rng.choice((0.5, 1.0))),
        )
    return StandIn(
        name=name,
        state=state,
        sim=SimSettings(
            seed=seed + 1_000_000 * (1 + NAMES.index(name)),
            rpm=rng.choice((None, 600)),
            latency_scale={"slow": 5.0}.get(state, rng.choice((0.0, 0.5))),
            quality=None,
            api_keys=("another",) if state == "refusing" else None,
            faults=faults,
        ),
        renames=rng.random() < 0.3,
        usd=rng.choice((None, None, (1.0, 3.0))),
    )


def _prefetching(plan: Plan, rng: Random) -> Plan:
    if plan.namespace or rng.random() < 0.5:
        return plan
    return replace(plan, prefetch_s=rng.choice((0.0, 0.05, 3.0)))


def _elsewhere(plan: Plan, door: Any, rng: Random) -> Plan:
    """A caller at another door; a prefetch is `Engine.send`'s."""
    timeouts = None
    if rng.random() < 0.4:
        timeouts = {"connect_s": rng.choice((0.1, 2.0)), "idle_s": rng.choice((0.3, 3.0, 30.0))}
        if door == "handle":
            timeouts |= {"first_byte_s": rng.choice((0.5, 5.0, 40.0)), "first_event_s": rng.choice((0.5, 5.0))}
    return replace(
        plan,
        door=door,
        sample=rng.choice(("", "", "one", "two")),
        timeouts=timeouts,
        retries=rng.choice((0, 2, 2, 5)) if door == "sdk" else 0,
        prefetch_s=None,
        leave_at_end=plan.leave_at_end or door == "sdk",  # they do
    )
