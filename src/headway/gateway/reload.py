"""Another configuration takes the place of the one in service, and no request is dropped.

It is read and checked first: a wrong one changes nothing. Then another engine is made, which goes on where the old one
stands, and from one moment to the next requests go to that. What the old one is answering it answers; then it ends.
Old ones end in their order, for each has handed on to the next what is to be closed last.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from headway.config import Settings
from headway.errors import ConfigError, HeadwayError
from headway.gateway.environment import EnvFile
from headway.gateway.hangup import STAYS
from headway.gateway.serving import Serving
from headway.gateway.standing import Plan, Standing, planned

__all__ = ["Reloader", "Task"]

RETIRED_MAX = 32
"""Older configurations that are still answering; before one more, the oldest has to end."""
_LOOK_S = 0.25
AT_START = frozenset(("otel", "metrics_keys"))
"""Settings that the process is made with."""

_ODD: Final = (ValueError, OverflowError, RecursionError, OSError, sqlite3.Error)
"""What a configuration that was not foreseen may raise on its way into service."""

Task: TypeAlias = "asyncio.Future[Any]"


class Reloader:
    """See the module.

    Args:
        serving: Where the one in service stands.
        standing: The first one.
        env: Read anew as well.
        make: Makes another one of a plan, in the place of a given one.
        answering: What is being answered at the moment: requests of the data plane, and all others.
        drain_s: How long those others, among them pages that stay open, may hold an old configuration.
    """

    def __init__(
        self,
        serving: Serving,
        standing: Standing,
        env: EnvFile,
        make: Callable[[Plan, Standing], Standing],
        answering: Callable[[], tuple[Iterable[Task], Iterable[Task]]],
        drain_s: float,
    ) -> None:
        self._serving = serving
        self._standing = standing
        self._env = env
        self._make = make
        self._answering = answering
        self._drain_s = drain_s
        self._lock = asyncio.Lock()
        self._again = False
        self._asked: Task | None = None
        self._retired: list[tuple[Standing, Task]] = []

    async def reload(self) -> str:
        """Read the configuration anew, and put it into service.

        Returns:
            A sentence: what has changed.

        Raises:
            ConfigError: It is wrong, and nothing has changed.
        """
        async with self._lock:
            if len(self._retired) >= RETIRED_MAX:
                said = f"{RETIRED_MAX} earlier configurations still answer; a reload waits until the oldest has ended"
                self._serving.said.tell("reload", said, level="warning")
            while len(self._retired) >= RETIRED_MAX:
                await asyncio.wait((self._retired[0][1],))
            before = self._env.taken()
            try:
                plan = await self._plan()
                changed = _changed(self._standing.plan.settings, plan.settings)
                if changed:
                    self._swap(self._make(plan, self._standing))
            except _ODD as error:
                self._env.put_back(before)
                raise _wrong(error) from error
            except BaseException:
                self._env.put_back(before)
                raise
        if not changed:
            return "the configuration is as it was"
        later = [name for name in changed if name in AT_START]
        rest = f"; {' and '.join(later)} from the next start on" if later else ""
        return f"the configuration was read anew: {', '.join(changed)}{rest}"

    async def check(self) -> str:
        """Read the configuration anew, and change nothing. Returns "".

        Raises:
            ConfigError: It is wrong.
        """
        async with self._lock:
            before = self._env.taken()
            try:
                await self._plan()
            except _ODD as error:
                raise _wrong(error) from error
            finally:
                self._env.put_back(before)
        return ""

    async def _plan(self) -> Plan:
        self._env.load()
        return await asyncio.to_thread(planned, self._serving.settings)

    def ask(self) -> None:
        """Reload soon; what came of it is said on stderr. Asked while it is busy, it does so once more."""
        self._again = True
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_task(self._tend())

    async def _tend(self) -> None:
        try:
            while self._again:
                self._again = False
                try:
                    said, level = await self.reload(), "info"
                except HeadwayError as error:
                    said, level = f"{STAYS}: {error}", "warning"
                self._serving.said.tell("reload", said, level=level)  # type: ignore[arg-type]  # one of two words
        finally:
            self._asked = None

    async def aclose(self) -> None:
        """Close all, the oldest first."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)
        for standing, ending in self._retired[:]:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            await standing.aclose()
        await self._standing.aclose()

    def _swap(self, standing: Standing) -> None:
        old, self._standing = self._standing, standing
        requests, others = self._answering()
        self._serving.put(standing.engine, standing.door, standing.homes)
        before = self._retired[-1][1] if self._retired else None
        ending = asyncio.get_running_loop().create_task(self._end(old, set(requests), set(others), before))
        self._retired.append((old, ending))
        self._serving.retired.append(old.engine)

    async def _end(self, old: Standing, requests: set[Task], others: set[Task], before: Task | None) -> None:
        """Close it when it has answered everything, and those before it are closed."""
        if requests:
            await asyncio.wait(requests)
        if others:
            await asyncio.wait(others, timeout=self._drain_s)
        while old.engine.snapshot()["in_flight"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_LOOK_S)
        if before is not None:
            await asyncio.wait((before,))
        self._serving.retired.remove(old.engine)
        await old.aclose()
        self._retired = [pair for pair in self._retired if pair[0] is not old]


def _wrong(error: Exception) -> ConfigError:
    return ConfigError(f"it cannot be put into service ({type(error).__name__}: {error}); mend what it names")


def _changed(old: Settings, new: Settings) -> list[str]:
    """The names of settings that differ, never their values."""
    return [name for name in Settings.__struct_fields__ if getattr(old, name) != getattr(new, name)]
