"""What an engine still holds when nobody asks anything of it: nothing. The one place that looks into its private parts."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

import headway
from headway.sim import Network, VirtualLoop

HEDGE_SAMPLES_MIN = 4
"""Answers after which a backup may be sent: as few callers as there are here would else never see one."""
THEIRS = ("headway.sim", "uvicorn", "tests.")
"""Modules whose tasks and timers belong to the provider's side, the network's, or the test's."""
IDLE = ("headway.upstream", "headway.flight.deadlines", "httpcore2", "httpx2", "anyio")
"""Modules that may keep a timer at rest: for idle connections, and one for deadlines that finds nothing to do."""


@dataclass
class Rest:
    """What was still there, each in words; all empty, if all is well."""

    held: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    timers: list[str] = field(default_factory=list)


def hedge_early(engine: headway.Engine) -> None:
    """Open the engine, and have its hedges learn from fewer answers than they would."""
    hedges = engine._open()._hedges
    if hedges is not None:
        hedges._settings = replace(hedges._settings, samples_min=HEDGE_SAMPLES_MIN)


def at_rest(engine: headway.Engine, loop: VirtualLoop) -> Rest:
    """What the engine holds although no call is under way."""
    rest = Rest(tasks=_tasks(loop), timers=_timers(loop))
    if engine._refresher._tasks:
        rest.held.append(f"{len(engine._refresher._tasks)} refreshes")
    if engine.prefetch._tasks:
        rest.held.append(f"{len(engine.prefetch._tasks)} prefetches")
    stack = engine._stack
    assert stack is not None
    if stack._join._flights:
        rest.held.append(f"{len(stack._join._flights)} flights")
    if stack._join._joinable:
        rest.held.append(f"{len(stack._join._joinable)} places to join")
    for key, lane in stack._pace.lanes.items():
        if lane.queue:
            rest.held.append(f"{len(lane.queue)} waiters for {key[2]}")
    for name in ("busy", "waiting"):  # connections in use, and calls in line for one
        if count := getattr(stack._upstream, name, 0):
            rest.held.append(f"{count} {name} in the pool")
    if stack._router is not None:
        for (name, _, model), way in stack._router.choice.lanes.items():
            if way.load.pending:
                rest.held.append(f"{way.load.pending} tries under way for {model} at {name}")
    budget = _layer(stack, "Budget")
    if budget is not None:
        cap, line = budget.cap, budget._line
        if line._waiting or cap._open or cap.tokens_reserved or cap.dollars_reserved:
            rest.held.append(f"{cap._open} reservations of {cap.tokens_reserved} tokens, {len(line._waiting)} wait")
    return rest


def after_close(loop: VirtualLoop, network: Network) -> list[str]:
    """What a closed engine left behind."""
    return [*(f"connection {one.number}" for one in network.open), *_tasks(loop), *_timers(loop, idle=())]


def _layer(stack: Any, name: str) -> Any:
    """An attempt layer by its class's name; None where it is not in the stack."""
    layer = stack._attempt
    while layer is not None and type(layer).__name__ != name:
        layer = getattr(layer, "_next", None)
    return layer


def _tasks(loop: VirtualLoop) -> list[str]:
    gc.collect(0)
    here = asyncio.current_task(loop)
    tasks = [task for task in asyncio.all_tasks(loop) if task is not here]
    return sorted(name for task in tasks if not (name := _where(task.get_coro())).startswith(THEIRS))


def _timers(loop: VirtualLoop, idle: tuple[str, ...] = IDLE) -> list[str]:
    names = (_owner(handle) for handle in loop._scheduled if not handle.cancelled())  # type: ignore[attr-defined]
    return sorted(name for name in names if not name.startswith((*THEIRS, *idle)))


def _owner(handle: Any) -> str:
    """Whose timer it is: a sleep's is that of the task that sleeps."""
    for found in handle._args or ():
        for callback, _ in getattr(found, "_callbacks", None) or ():
            task = getattr(callback, "__self__", None)
            if isinstance(task, asyncio.Task):
                return _where(task.get_coro())
    return _where(handle._callback)


def _where(found: Any) -> str:
    """module.name of a coroutine or a callback."""
    code = getattr(found, "cr_code", None)
    if code is not None:
        module = code.co_filename.replace("/", ".")
        for known in ("headway.", "uvicorn.", "tests."):
            if (at := module.find(f".{known}")) >= 0:
                module = module[at + 1 :]
        return f"{module.removesuffix('.py')}.{code.co_qualname}"
    found = getattr(found, "func", found)
    owner = getattr(found, "__self__", None)
    module = getattr(found, "__module__", None) or type(owner).__module__
    if isinstance(owner, asyncio.Task):
        return _where(owner.get_coro())
    return f"{module}.{getattr(found, '__qualname__', found)}"
