"""One process, or several that listen on one port.

Each worker has an engine of its own on a socket of its own; the system spreads connections over them (SO_REUSEPORT).
What they share lies outside of them: the cache and the call log in SQLite, or in Redis, and with Redis the provider's
limits as well. A worker that dies is started anew; one that dies again and again ends the whole.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from headway.errors import ConfigError
from headway.gateway.server import listen, run, url_of
from headway.gateway.settings import ServeSettings

__all__ = ["serve_forever", "work"]

READY_S: Final = 30.0
DEATHS_MAX: Final = 5
"""In a row, each within `YOUNG_S` of its beginning."""
YOUNG_S: Final = 5.0
WATCH_S: Final = 0.1
DESCRIPTORS: Final = 256
"""Open files beside connections."""
ALLOCATIONS: Final = 50_000
"""Between two looks of the garbage collector: a request makes hundreds of objects that live for its time only."""


def serve_forever(settings: ServeSettings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal.

    Args:
        settings: See `ServeSettings`.
        ready: Called with the URL ("http://127.0.0.1:8080") when requests are taken.

    Raises:
        ConfigError: A setting is wrong, or the workers do not start.
    """
    if settings.workers > 1:
        _Workers(settings).run(ready)
        return
    listener = listen(settings)
    url = url_of(listener)
    try:
        _serve(settings, listener, lambda: ready(url) if ready is not None else None)
    finally:
        listener.close()


def work() -> None:
    """The process of one worker: settings come in as a line of JSON, a line goes out when it is ready.

    The end of its input is the end of the process that started it, and so its own.
    """
    line = b""
    while not line.endswith(b"\n") and (more := os.read(0, 65_536)):
        line += more
    settings = msgspec.json.decode(line, type=ServeSettings)

    def until_end_of_input() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    listener = listen(settings, shared=True)
    threading.Thread(target=until_end_of_input, daemon=True).start()
    try:
        _serve(settings, listener, lambda: os.write(1, b"ready\n"))
    finally:
        listener.close()


def _serve(settings: ServeSettings, listener: socket.socket, ready: Callable[[], object]) -> None:
    _raise_descriptors(2 * settings.limits.connections_max + DESCRIPTORS)

    def begun() -> None:
        gc.collect()
        gc.freeze()  # what stands now stands to the end: nobody need look at it again
        gc.set_threshold(ALLOCATIONS, 20, 50)
        ready()

    asyncio.run(run(settings, listener, ready=begun))


def _raise_descriptors(wanted: int) -> None:
    """Let the process have that many open files: a client's connection and a provider's for each, where it may."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class _Workers:
    """The processes, and whoever watches over them."""

    def __init__(self, settings: ServeSettings) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise ConfigError("several workers cannot share a port on this system; use --workers 1")
        # Bound and never listening: it keeps the port for them, and nothing is sent to it.
        self._place = listen(settings, shared=True, backlog=None)
        self._settings = replace(settings, port=self._place.getsockname()[1])
        self._children: list[subprocess.Popen[bytes]] = []
        self._born_s: dict[int, float] = {}
        self._deaths = 0
        self._ending = False

    def run(self, ready: Callable[[str], None] | None) -> None:
        """Until a signal; then until all have ended."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._end) for number in numbers}
        try:
            self._children = [self._start() for _ in range(self._settings.workers)]
            if all(map(self._is_ready, self._children)) and ready is not None:
                ready(url_of(self._place))
            while not self._ending:
                time.sleep(WATCH_S)
                self._watch()
        finally:
            self._stop()
            self._place.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: object) -> None:
        if self._ending:  # the second one is in a hurry
            for child in self._children:
                child.send_signal(signal.SIGTERM)
        self._ending = True

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", "headway.gateway"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours to hand on
        )
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(self._settings) + b"\n")
        child.stdin.flush()
        self._born_s[child.pid] = time.monotonic()
        return child

    def _is_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait until it takes requests; a worker that cannot start has said why on stderr."""
        assert child.stdout is not None
        if child.stdout.readline() == b"ready\n" or self._ending:
            return not self._ending
        raise ConfigError("a worker did not start; see what it said above")

    def _watch(self) -> None:
        for place, child in enumerate(self._children):
            if child.poll() is None or self._ending:
                continue
            young = time.monotonic() - self._born_s.pop(child.pid) < YOUNG_S
            self._deaths = self._deaths + 1 if young else 0
            if self._deaths >= DEATHS_MAX:
                raise ConfigError(f"workers end as soon as they start (exit code {child.returncode}); see above")
            sys.stderr.write(f"headway serve: a worker ended with exit code {child.returncode}; starting another\n")
            _forget(child)
            self._children[place] = self._start()

    def _stop(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        until_s = time.monotonic() + self._settings.drain_s + READY_S
        for child in self._children:
            try:
                child.wait(max(0.0, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _forget(child)


def _forget(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
