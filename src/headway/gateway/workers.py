"""One process, or several that listen on one port.

Each worker has an engine of its own on a socket of its own; the system spreads connections over them (SO_REUSEPORT).
What they share lies in files (cache, call log, keys), and in the process that started them: the provider's limits, live
figures, the word to read the configuration anew (`gateway.hub`). A worker that dies, or hangs, is replaced; where none
comes to serve, that is the end of the whole.
"""

from __future__ import annotations

import faulthandler
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

from headway.gateway.environment import EnvFile
from headway.gateway.hub.link import read_one
from headway.gateway.hub.messages import Start
from headway.gateway.listening import listen, url_of
from headway.gateway.loops import loop_factory, run_on
from headway.gateway.memory import settle
from headway.gateway.settings import ServeSettings
from headway.gateway.watching import Workers

__all__ = ["serve_forever", "work"]

DESCRIPTORS: Final = 256
"""Open files beside connections."""


def serve_forever(settings: ServeSettings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal.

    Args:
        settings: See `ServeSettings`.
        ready: Called with the URL ("http://127.0.0.1:8080") when requests are taken.

    Raises:
        ConfigError: A setting is wrong, or the workers do not start.
    """
    loop_factory(settings.loop)  # what it raises, it raises before anything is open
    if settings.workers > 1:
        run_on(settings.loop, Workers(settings).run(ready))
        return
    from headway.gateway.server import run

    env = EnvFile(settings.env_file)
    env.load()
    listener = listen(settings)
    url = url_of(listener)

    def begun() -> None:
        settle()
        if ready is not None:
            ready(url)

    try:
        _prepare(settings)
        run_on(settings.loop, run(settings, listener, ready=begun, env=env))
    finally:
        listener.close()


def work(number: int) -> None:
    """The process of one worker.

    Args:
        number: The descriptor of a socket to the process that started it. The first word that comes from there is what
            to serve; its end is the end of that process, and so of this one.
    """
    faulthandler.enable()  # one that hangs is ended by a signal that has it say where
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # whoever started it hears that, and tells it
    with socket.socket(fileno=number) as sock:
        try:
            settings = read_one(sock, Start).settings
        except EOFError:
            return
        env = EnvFile(settings.env_file)
        env.load()
        listener = listen(settings, shared=True)
        _prepare(settings)
        try:
            run_on(settings.loop, _work(settings, listener, sock, env))
        finally:
            listener.close()


async def _work(settings: ServeSettings, listener: socket.socket, sock: socket.socket, env: EnvFile) -> None:
    from headway.gateway.hub.member import Member
    from headway.gateway.server import run

    member = Member(sock)
    await member.open()

    def begun() -> None:
        settle()
        member.ready()

    await run(settings, listener, ready=begun, member=member, env=env)


def _prepare(settings: ServeSettings) -> None:
    """Let the process have enough open files: a client's connection and a provider's for each, where it may."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:  # a dump would hold keys and prompts
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    wanted = 2 * settings.limits.connections_max + DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def worker_of(arguments: list[str]) -> int:
    """The descriptor that a worker is started with."""
    if len(arguments) != 2 or not arguments[1].isdecimal():
        sys.stderr.write("this is a part of `headway serve --workers N`; run that\n")
        sys.exit(2)
    return int(arguments[1])
