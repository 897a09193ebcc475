"""What a step gave for the same arguments before (`cache_s`), kept as `headway.cached` keeps it, in memory."""

from __future__ import annotations

from typing import Any

from headway.engine.memo_base import Memo
from headway.pipeline.function import Function

__all__ = ["Kept"]


class Kept:
    """The kept results of one step, in all runs of the process: 64 MiB, the least used go first.

    Of a step that streams its chunks are kept.

    Args:
        function: The step's.
        name: The step's.
        ttl_s: Seconds, > 0, that a result is fresh, give or take 10 %.
    """

    __slots__ = ("_memo",)

    def __init__(self, function: Function, name: str, ttl_s: float) -> None:
        def kept() -> None: ...

        kept.__module__, kept.__qualname__ = getattr(function.call, "__module__", "") or "", name
        kept.__annotations__ = {"return": function.kept_type}
        kept.__signature__ = function.signature  # type: ignore[attr-defined]
        self._memo: Memo[Any] = Memo(kept, ttl_s, "", None, f"step {name!r}")

    def key(self, args: tuple[Any, ...], named: dict[str, Any]) -> bytes:
        """What a call's result is kept under. Raises TypeError: an argument is no plain data."""
        return self._memo._key(args, named)  # the one place beside `cached` that keeps results of functions

    def find(self, key: bytes) -> tuple[bool, Any]:
        """Whether there is a fresh result, and the result."""
        return self._memo._value(self._memo._look(self._memo._own, key))

    def keep(self, key: bytes, value: Any) -> None:
        """Keep it. Raises TypeError: it would not come back as it is."""
        self._memo._own.keep(key, self._memo._entry(value))
