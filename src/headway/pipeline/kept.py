"""What a step gave for the same arguments before (`cache_s`), kept as `headway.cached` keeps it.

They are in the memory of the process, and end with it. What a step gives hangs on more than its own code: on prompts
that are constants of the module, on helpers, on the model. No digest tells of all that, so a result that outlived
the process would be served by programs that would make another one. Hence only a step whose author names what it does
now (`cache_version`) is kept in the current engine's cache, where that is on: in a file or Redis that others share.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.caller.spaces import Space
from headway.engine.current import current_engine
from headway.engine.memo import space_of
from headway.engine.memo_base import Memo
from headway.errors import ConfigError
from headway.pipeline.cycle import check_cycle
from headway.pipeline.function import Function

if TYPE_CHECKING:
    from headway.pipeline.node import Node

__all__ = ["Kept"]


class Kept:
    """The kept results of one step, in all runs of the process; in memory 64 MiB, the least used go first.

    Of a step that streams its chunks are kept. Whoever gets a kept result gets a copy of its own.

    Args:
        function: The step's.
        name: The step's.
        ttl_s: Seconds, > 0, that a result is fresh, give or take 10 %.
        version: What the step does now, for the cache of the current engine; "": memory only.

    Raises:
        ConfigError: There is a version, and what the function does hangs on values around it or on an object.
    """

    __slots__ = ("_is_shared", "_memo", "_under_way")

    def __init__(self, function: Function, name: str, ttl_s: float, version: str = "") -> None:
        def kept() -> None: ...

        call = function.call
        kept.__module__, kept.__qualname__ = getattr(call, "__module__", "") or "", name
        kept.__annotations__ = {"return": function.kept_type}
        kept.__signature__ = function.signature  # type: ignore[attr-defined]
        shared = _shared_name(call, name, version) if version else ""
        self._is_shared = bool(shared)
        self._memo: Memo[Any] = Memo(kept, ttl_s, "", None, shared, label=f"step {name!r}")
        self._under_way: dict[tuple[object, bytes, bool], _UnderWay] = {}

    async def once(
        self,
        args: tuple[Any, ...],
        named: dict[str, Any],
        make: Callable[[], Awaitable[Any]],
        node: Node,
    ) -> tuple[Any, bool]:
        """The result that is kept, or that an equal call under way on this loop gives; else a new one, kept from now.

        A call of the same run that fails fails those who wait for it as well; where it was cancelled, or was another
        run's, one of them begins anew. What smaller models said is not kept, and given to their like only.

        Args:
            args: Of the call; so are `named`.
            make: Makes the result; of a step that streams, the list of its chunks.
            node: The call.

        Returns:
            The result, and whether it was there or another call's.

        Raises:
            TypeError: An argument is no plain data, or the result would not come back as it is.
            ConfigError: It would wait for itself.
        """
        key = self._memo.key(args, named)
        smaller = node.record.smaller
        place = asyncio.get_running_loop(), key, smaller
        space = self._space()
        while True:
            found, value = await self._memo.find(space, key)
            if found:
                return value, True
            other = self._under_way.get(place)
            if other is None or other.node.done:  # one that was left behind: see `patience`
                break
            await other.ended(node)
            if other.is_done:
                return deepcopy(other.value), True
            if other.error is not None and other.node.run is node.run:
                raise other.error
        mine = self._under_way[place] = _UnderWay(node)
        try:
            value = await make()
            if not smaller:
                self._memo.keep(space, key, value)
            if mine.waiting:  # a copy, for whoever made it may change it before they look
                mine.value = deepcopy(value)
            mine.is_done = True
        except Exception as error:
            if not node.cause:  # else it was about to be cancelled
                mine.error = error
            raise
        finally:
            if self._under_way.get(place) is mine:
                del self._under_way[place]
            mine.over.set_result(None)
        return value, False

    async def ahead(self, args: tuple[Any, ...], named: dict[str, Any], make: Callable[[], Awaitable[Any]]) -> None:
        """Keep a result before anybody asks for it, if there is none. Nobody waits for it: it has no priority.

        Raises:
            TypeError: As `once`.
        """
        key, space = self._memo.key(args, named), self._space()
        if not (await self._memo.find(space, key))[0]:
            self._memo.keep(space, key, await make())

    def _space(self) -> Space:
        if self._is_shared and (engine := current_engine()).settings.cache != "off":
            return space_of(engine, "")
        return self._memo.own


class _UnderWay:
    """A call that others wait for."""

    __slots__ = ("error", "is_done", "node", "over", "value", "waiting")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.value: Any = None
        self.is_done = False
        self.error: Exception | None = None
        self.waiting = 0

    async def ended(self, node: Node) -> None:
        """Wait until it has, or its step has without it. Raises ConfigError: it waits for `node` itself."""
        check_cycle(self.node, node)
        left = self.node.future(chunk=False)
        node.awaits.append(self.node)
        self.waiting += 1
        try:
            await asyncio.wait((self.over, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.waiting -= 1
            left.cancel()
            node.awaits.remove(self.node)
            self.node.look_again()


def _shared_name(call: Callable[..., Any], name: str, version: str) -> str:
    """What the step is called in a cache that others use, too. Raises ConfigError: a name cannot tell what it does."""
    if not inspect.isfunction(call) or call.__closure__:
        raise ConfigError(
            f"step {name!r}: cache_version is for a plain function that hangs on nothing but its arguments; what this "
            "one does hangs on values around it or on an object, so pass them as arguments, or leave cache_version out"
        )
    module = Path(call.__code__.co_filename).name if call.__module__ == "__main__" else call.__module__
    return f"{module}.{call.__qualname__}.{name}#{version}"
