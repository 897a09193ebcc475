"""What handles and streams read: the chunks of one call as they come, and its value in the end.

A source knows nothing of how its value is made; `node.Node` is the source that runs a step. Everything happens on the
run's own loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from sys import getsizeof
from types import coroutine
from typing import TYPE_CHECKING, Any, Protocol

from headway.errors import ConfigError, HeadwayError
from headway.pipeline.current import Frame
from headway.pipeline.cycle import check_cycle
from headway.types.steps import EdgeKind

if TYPE_CHECKING:
    from headway.pipeline.crew import Crew

__all__ = ["KEPT_BYTES_MAX", "Dependant", "Source", "waited"]

KEPT_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of chunks that one handle keeps for those who read it from the beginning."""


class Dependant(Protocol):
    """What cannot begin before something of a source is there."""

    def arrived(self) -> None:
        """One of the things it needs is there."""
        ...  # fmt: skip


class Source:
    """The chunks and the value of one call of a run.

    Args:
        run: Whose it is.
        name: For messages: the step's name and index, "outline#0".
        index: The step's index in the run.
        edge: What waiting for its value is called in the report.
        kept_bytes_max: Of all its chunks, as Python counts them (`sys.getsizeof`).
    """

    __slots__ = (
        "_chunk_waiters",
        "_dependants",
        "_followers",
        "_taps",
        "_waiters",
        "chunks",
        "done",
        "edge",
        "end_at_s",
        "error",
        "first_at_s",
        "handles",
        "index",
        "is_default",
        "kept_bytes",
        "kept_bytes_max",
        "left",
        "name",
        "readers",
        "run",
        "value",
    )

    def __init__(
        self, run: Crew, name: str, index: int, *, edge: EdgeKind = "value", kept_bytes_max: int = KEPT_BYTES_MAX
    ) -> None:
        self.run = run
        self.name = name
        self.index = index
        self.edge: EdgeKind = edge
        self.kept_bytes_max = kept_bytes_max
        self.kept_bytes = 0
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None
        """Why there is no value; a `CancelledError` where it was cancelled."""
        self.is_default = False
        self.chunks: list[Any] | None = None
        """None: it does not stream."""
        self.first_at_s: float | None = None
        self.end_at_s = 0.0
        self.readers = 0
        self.handles = 0
        self.left = False
        """A reader has left before the end."""
        self._waiters: list[asyncio.Future[None]] | None = None
        self._chunk_waiters: list[asyncio.Future[None]] | None = None
        self._dependants: list[Dependant] | None = None
        self._followers: list[Dependant] | None = None
        self._taps: list[Callable[[Any], None]] | None = None

    # -- written by who makes the value ----------------------------------------------------------------------------

    def push(self, chunk: Any) -> None:
        """One more chunk. Raises HeadwayError: more than it may keep."""
        if self.chunks is None:
            self.chunks = []
        self.kept_bytes += getsizeof(chunk)
        if self.kept_bytes > self.kept_bytes_max:
            raise HeadwayError(
                f"{self.told()} streamed more than the {self.kept_bytes_max:,} bytes that a handle keeps for its "
                "readers; stream less, or raise kept_bytes_max= of the step"
            )
        self.chunks.append(chunk)
        if self.first_at_s is None:
            self.first_at_s = self.run.loop.time()
            self._tell_followers()
        if self._taps is not None:
            for tap in self._taps:
                tap(chunk)
        self.wake_readers()

    def settle(self, value: Any, error: BaseException | None = None, *, is_default: bool = False) -> None:
        """The end, once: a value, or why there is none."""
        if not self.done:
            self.conclude(value, error, is_default=is_default)
            self.announce()

    def conclude(self, value: Any, error: BaseException | None, *, is_default: bool) -> None:
        """The end, of which nobody has been told yet."""
        self.done = True
        self.value = value
        self.error = error
        self.is_default = is_default
        self.end_at_s = self.run.loop.time()
        if self.first_at_s is None:
            self.first_at_s = self.end_at_s

    def announce(self) -> None:
        """Tell whoever waits for the end."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self.wake_readers()
        self._taps = None
        self._tell_followers()
        dependants, self._dependants = self._dependants, None
        for dependant in dependants or ():
            dependant.arrived()

    def wake_readers(self) -> None:
        """Have whoever waits for a chunk look again."""
        waiters, self._chunk_waiters = self._chunk_waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _tell_followers(self) -> None:
        followers, self._followers = self._followers, None
        for follower in followers or ():
            follower.arrived()

    # -- read by who wants it --------------------------------------------------------------------------------------

    def needed_by(self, dependant: Dependant, *, stream: bool) -> bool:
        """Whether what it needs (the first chunk of a stream, else the end) is still to come; it is told then."""
        if self.done or (stream and self.first_at_s is not None):
            return False
        if stream:
            if self._followers is None:
                self._followers = []
            self._followers.append(dependant)
        else:
            if self._dependants is None:
                self._dependants = []
            self._dependants.append(dependant)
        return True

    def tap(self, on_chunk: Callable[[Any], None]) -> None:
        """Have it called with every chunk, those that have come already first."""
        for chunk in self.chunks or ():
            on_chunk(chunk)
        if not self.done:
            self._taps = [*(self._taps or ()), on_chunk]

    def untap(self, on_chunk: Callable[[Any], None], dependant: Dependant) -> None:
        """Call it no more, and tell the dependant nothing of the end."""
        self._taps = [tap for tap in self._taps or () if tap != on_chunk] or None
        self._dependants = [one for one in self._dependants or () if one is not dependant] or None

    def future(self, *, chunk: bool) -> asyncio.Future[None]:
        """Done at the next chunk or else at the end."""
        waiter: asyncio.Future[None] = self.run.loop.create_future()
        if chunk:
            if self._chunk_waiters is None:
                self._chunk_waiters = []
            self._chunk_waiters.append(waiter)
        else:
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
        return waiter

    def result(self) -> Any:
        """The value. Raises why there is none."""
        if self.error is None:
            return self.value
        if isinstance(self.error, asyncio.CancelledError) and not self.run.stopping:
            raise HeadwayError(
                f"{self.told()} was cancelled, so it has no value: its last reader had left it, or what called it had "
                "ended; read it to its end where others need it"
            )
        raise self.error

    def leave(self, *, early: bool) -> None:
        """A reader less."""
        self.readers -= 1
        if early and not self.done:
            self.left = True
            self.look_again()

    def look_again(self) -> None:
        """Whether it is still wanted, at the loop's next turn: forgotten objects may tell of it at any moment."""
        if self.left and not self.done and not self.run.over and not self.run.loop.is_closed():
            self.run.loop.call_soon_threadsafe(self.drop_if_unwanted)

    def drop_if_unwanted(self) -> None:
        """Cancel it if a reader left it early and nobody can ask for it any more."""
        if (
            self.left
            and not self.done
            and not (self.handles or self.readers)
            and not (self._dependants or self._followers or self._taps)
            and not self.is_awaited
        ):
            self.drop()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for its end just now."""
        return any(not waiter.done() for waiter in self._waiters or ())

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody may wait for it, or for anything of it."""
        return bool(self._waiters or self._chunk_waiters or self._dependants or self._followers)

    def drop(self) -> None:
        """Nobody wants it any more."""

    def waits_for(self) -> Iterable[Source]:
        """What has to be there before it can end."""
        return ()

    def held_up_by(self) -> Iterable[Source]:
        """Whose places it stands in line for: it goes on when any of them ends."""
        return ()

    def told(self) -> str:
        """It, in a message."""
        return f"step {self.name!r} of {self.run.told()}" if self.index >= 0 else self.run.told()

    def check_run(self, run: Crew, who: str) -> None:
        """Raises ConfigError: it is of another run than that."""
        if self.run is not run:
            raise ConfigError(
                f"{who} of {run.told()} was given a handle of {self.told()}; a handle belongs to one run, so take the "
                "other run's result and give that"
            )

    def check_use(self) -> None:
        """Raises ConfigError: its run is over, or belongs to another loop."""
        run = self.run
        if run.over:
            raise ConfigError(
                f"the handle of {self.told()} was used after its run had ended; await it inside of the pipeline, or "
                "return it and take run.result()"
            )
        if asyncio.get_running_loop() is not run.loop:
            raise ConfigError(
                f"the handle of {self.told()} was awaited on another event loop than its run's; await it inside of "
                "the pipeline, and hand its value to the other loop"
            )


@coroutine
def waited(source: Source, frame: Frame | None, *, chunk: bool) -> Generator[Any, Any, None]:
    """Wait for the next chunk or for the end. Raises ConfigError: that would be a wait for itself."""
    node = frame.node if frame is not None else None
    if node is None or node.index < 0:
        yield from source.future(chunk=chunk)
        source.look_again()
        return
    check_cycle(source, node)
    node.awaits.append(source)
    try:
        yield from source.future(chunk=chunk)
    finally:
        node.awaits.remove(source)
        source.look_again()
