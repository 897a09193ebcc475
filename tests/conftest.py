"""Nothing a test does may reach the user's own caches, logs, keys or settings; and how a whole run goes quickly."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WAITING = tuple(f"{HERE / name}{os.sep}" for name in ("cli", "faults", "gateway", "integration", "jobs", "telemetry"))
"""Where tests start processes, and wait for them."""


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    base = tmp_path_factory.mktemp("homes")
    return (str(base / f"{number}") for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_surroundings(_homes: Iterator[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own for each test, that is made when something is written there: for most it never is."""
    for name in list(os.environ):
        if name.startswith(("HEADWAY_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWAY_HOME", next(_homes))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: some tests wait for other processes, and meanwhile others can be run."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays until the end: the garbage collector need not look at it time and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests wait go by turns with the others, and are through first: at the end all processes are busy."""
    files = list(dict.fromkeys(item.path for item in items))
    waiting = [file for file in files if str(file).startswith(WAITING)]
    others = [file for file in files if file not in set(waiting)]
    turn = max(1, len(others) * 3 // 4 // max(1, len(waiting)))
    order: list[Path] = []
    for number, file in enumerate(waiting):
        order += [file, *others[number * turn : (number + 1) * turn]]
    place = {file: number for number, file in enumerate([*order, *others[len(waiting) * turn :]])}
    items.sort(key=lambda item: place[item.path])


@pytest.fixture(params=["asyncio", "uvloop"])
def each_loop(request, monkeypatch):
    """`asyncio.run` on either loop that a gateway may run on."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        from headway.gateway.loops import loop_factory

        monkeypatch.setattr(asyncio.events, "new_event_loop", loop_factory("uvloop"))
    return request.param
