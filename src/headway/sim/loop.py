"""Virtual time: an event loop that never waits, but moves its clock on to whatever is due next.

Unmodified asyncio code runs on it: an hour of sleeping takes as long as the Python between the sleeps, and the
same program with the same seeds does the same things in the same order. What cannot be simulated is refused with
a sentence: threads, executors and real sockets; connections and name look-ups, too, unless the loop has a virtual
network (`headway.sim.network`). Time is kept in whole microseconds, so that sums of
sleeps do not drift.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import socket
import threading
from collections.abc import Callable, Coroutine, Sized
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from headway.sim.network import Network, VirtualServer

__all__ = ["VirtualDeadlock", "VirtualLoop", "run_virtual"]

T = TypeVar("T")

START_WALL_S: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z: where calendar time starts unless another start is asked for."""


_ROUNDS_MAX: Final = 100
"""Rounds of nothing but timers in one moment, until time moves on by its smallest step."""


class VirtualDeadlock(RuntimeError):
    """Every task waits and no timer is set: nothing can ever happen again."""


class _Selector(selectors.SelectSelector):
    """Answers every `select` at once, after moving the loop's clock by what it was asked to wait."""

    def __init__(self, now_us: int) -> None:
        super().__init__()
        self.now_us = now_us
        self.deadlock: Callable[[], VirtualDeadlock] | None = None
        self.ready: Sized = ()
        self._rounds = 0
        self._own = True

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Only the loop's own wake-up pipe, which it registers first, is let in."""
        if not self._own:
            raise RuntimeError(
                "a real socket or pipe cannot wait under virtual time; use an in-process Handler instead"
            )
        self._own = False
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Move time on instead of waiting."""
        if timeout is None:
            raise self.deadlock() if self.deadlock else VirtualDeadlock("nothing is due")
        if timeout > 0:
            self.now_us += max(1, round(timeout * 1_000_000))
            self._rounds = 0
        elif not self.ready:
            # Nothing but timers that are due: one that rings a hair too early for whoever set it, by the sums of
            # floats, and is set again for the same moment, would hold time for ever.
            self._rounds += 1
            if self._rounds > _ROUNDS_MAX:
                self.now_us += 1
                self._rounds = 0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, starting at 0 s.

    Args:
        start_wall_s: Calendar time (Unix seconds) at loop time 0; see `wall_s`.

    Raises:
        VirtualDeadlock: From `run_until_complete`, when all tasks wait for one another.
        RuntimeError: When a thread, an executor or a real socket is used.
    """

    is_virtual = True
    """What uses threads elsewhere asks for this, and works inline instead."""

    def __init__(self, *, start_wall_s: float = START_WALL_S) -> None:
        self._virtual = _Selector(0)
        super().__init__(self._virtual)
        self._virtual.deadlock = self._deadlock
        self._virtual.ready = self._ready  # type: ignore[attr-defined]  # the loop's own queue of callbacks
        self._clock_resolution = 1e-6  # what lies within the clock's step is due
        self._start_wall_s = start_wall_s
        self._owner: int | None = None
        self.network: Network | None = None
        """Set by the `Network` that is made on this loop."""

    @property
    def quiet_fd(self) -> int:
        """A descriptor on which nothing ever arrives: what virtual sockets show to who polls them."""
        return self._csock.fileno()  # type: ignore[attr-defined,no-any-return]  # the loop's own wake-up pipe

    def time(self) -> float:
        """Seconds since the loop was made; moves only while every task waits."""
        return self._virtual.now_us / 1_000_000

    def wall_s(self) -> float:
        """Calendar time in Unix seconds: pass it wherever `wall_s` is asked for."""
        return self._start_wall_s + self._virtual.now_us / 1_000_000

    def run_forever(self) -> None:
        """Run until `stop()`; the thread that runs the loop is the only one that may touch it."""
        self._owner = threading.get_ident()
        super().run_forever()

    def call_soon_threadsafe(  # type: ignore[override]  # typeshed's own has a variadic no subclass can name
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`; from another thread it is refused, for virtual time cannot wait for threads."""
        if self._owner not in (None, threading.get_ident()):
            raise RuntimeError("another thread called into a virtual-time loop; write and do that work inline instead")
        return super().call_soon_threadsafe(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # an executor that is given is not used
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Refused, for a thread's time is real time; on a virtual network run inline, taking no time at all.

        SDKs ask for their platform's name in a thread, before their first call.
        """
        if self.network is None:
            raise RuntimeError(
                f"{getattr(func, '__qualname__', func)} was to run in a thread, which virtual time cannot wait for;"
                " call it inline instead"
            )

        async def inline() -> T:
            return func(*args)

        return self.create_task(inline())

    async def getaddrinfo(  # type: ignore[override]  # hosts are names here, ports numbers
        self,
        host: str | bytes | None,
        port: int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's own name for it
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        """The virtual network's address of a host. Raises `socket.gaierror`."""
        address = self._networked("a name look-up").resolve(host.decode() if isinstance(host, bytes) else host or "")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port or 0)))]

    async def create_connection(  # type: ignore[override]  # what concerns sockets is not offered
        self,
        protocol_factory: Callable[[], Any],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        server_hostname: str | None = None,
        local_addr: Any = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, Any]:
        """Connect over the virtual network; TLS is transparent. Raises `OSError`, as sockets do."""
        network = self._networked("a connection")
        return await network.connect(protocol_factory, host or "", int(port or 0), ssl=ssl)

    async def create_server(  # type: ignore[override]  # what concerns sockets is not offered
        self,
        protocol_factory: Callable[[], Any],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        backlog: int = 100,
        start_serving: bool = True,
    ) -> VirtualServer:
        """Serve a host and a port of the virtual network. Raises `ConfigError`: it is taken."""
        from headway.sim.network import VirtualServer

        network = self._networked("a server")
        network.serve(host or "localhost", int(port or 0), protocol_factory)
        return VirtualServer(network, host or "localhost", int(port or 0))

    def _networked(self, what: str) -> Network:
        if self.network is None:
            raise RuntimeError(
                f"{what} is a real socket's business, which cannot wait under virtual time; make a"
                " headway.sim.Network on this loop, or use an in-process Handler instead"
            )
        return self.network

    def _deadlock(self) -> VirtualDeadlock:
        pending = sorted((len(task.get_name()), task.get_name(), _where(task)) for task in asyncio.all_tasks(self))
        names = ", ".join(f"{name} ({where})" for _, name, where in pending[:10])
        more = f" and {len(pending) - 10} more" if len(pending) > 10 else ""
        return VirtualDeadlock(
            f"deadlock at {self.time():.6f} s of virtual time: {len(pending)} tasks wait and no timer is set:"
            f" {names}{more}"
        )


def _where(task: asyncio.Task[Any]) -> str:
    """The coroutine's name and, where it can be told, the line it waits in."""
    name = getattr(task.get_coro(), "__qualname__", "?")
    frames = task.get_stack(limit=1)
    return f"{name}, line {frames[0].f_lineno}" if frames else name


def run_virtual(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]], *, start_wall_s: float = START_WALL_S
) -> T:
    """Run a coroutine (or what makes one) to its end on a fresh `VirtualLoop`, as `asyncio.run` would.

    Raises:
        VirtualDeadlock: All tasks wait for one another; the message names up to ten of them.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_wall_s=start_wall_s)) as runner:
        return runner.run(main() if callable(main) else main)
