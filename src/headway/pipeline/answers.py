"""What a function gives without having waited for it: an answer to come is awaited, or handed on piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from headway.errors import HeadwayError
from headway.pipeline.stream import Stream

__all__ = ["let_go", "pieces_of", "settled"]


async def settled(value: Any) -> Any:
    """It; what is to be awaited, such as an answer of `headway.ask` or a coroutine, is. Handles stay as they are."""
    if isinstance(value, Awaitable) and not isinstance(value, Stream):
        return await value
    return value


async def pieces_of(chunk: Any, told: str) -> AsyncGenerator[Any, None]:
    """What a generator's chunk stands for: an answer or a handle for its pieces as they come, anything else for itself.

    Raises:
        HeadwayError: It is to be awaited and has no pieces.
    """
    if not isinstance(chunk, Awaitable):
        yield chunk
    elif hasattr(chunk, "__aiter__"):
        pieces: Any = chunk.__aiter__()
        try:
            async for piece in pieces:
                yield piece
        finally:
            if hasattr(pieces, "aclose"):
                await pieces.aclose()
    else:
        let_go(chunk)
        raise HeadwayError(f"{told} yielded something to be awaited; await it, and yield what it gives")


def let_go(value: Any) -> None:
    """Close what nobody will await: a coroutine would warn of that."""
    if hasattr(value, "close"):
        value.close()
