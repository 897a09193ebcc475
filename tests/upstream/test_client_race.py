"""A host of several addresses, where the loop does not race them itself."""

from __future__ import annotations

import asyncio
import socket

import pytest

from headway.testing import virtual_run
from headway.upstream.link import HAPPY_EYEBALLS_S, race

V6, V4 = socket.AF_INET6, socket.AF_INET


def addresses(*hosts: str) -> list[tuple]:
    return [(V6 if ":" in host else V4, socket.SOCK_STREAM, 6, "", (host, 1)) for host in hosts]


class Net:
    """How long each host takes; None: it refuses."""

    def __init__(self, **takes_s: float | None) -> None:
        self.takes_s = {host.replace("_", ":"): s for host, s in takes_s.items()}
        self.dialled: list[str] = []
        self.at_s: list[float] = []
        self.sockets: dict[str, socket.socket] = {}

    async def __call__(self, address):
        host, loop = address[4][0], asyncio.get_running_loop()
        self.dialled.append(host)
        self.at_s.append(loop.time())
        took_s = self.takes_s[host]
        if took_s is None:
            raise ConnectionRefusedError(host)
        await asyncio.sleep(took_s)
        self.sockets[host] = socket.socket()
        return self.sockets[host]


def raced(net: Net, *hosts: str) -> str:
    """Who has won."""

    async def main() -> str:
        try:
            won = await race(net, addresses(*hosts))
            await asyncio.sleep(10)
            assert [own.fileno() for own in net.sockets.values() if own is not won] == [-1] * (len(net.sockets) - 1)
            won.close()
        except OSError as error:
            return str(error)
        return next(host for host, own in net.sockets.items() if own is won)

    return virtual_run(main)


def test_an_address_that_is_silent_is_overtaken():
    """The other family's turn comes after the head start, and not after the kernel's two minutes."""
    net = Net(a_1=130.0, a_2=130.0, b=0.01)
    assert raced(net, "a:1", "a:2", "b") == "b"
    assert net.dialled == ["a:1", "b"]
    assert net.at_s[1] - net.at_s[0] == pytest.approx(HAPPY_EYEBALLS_S)


def test_an_address_that_refuses_is_followed_at_once():
    """By all others; the last refusal is what is said when none is left."""
    net = Net(a_1=None, b=None)
    assert raced(net, "a:1", "b") == "b"  # its refusal
    assert net.at_s[1] == net.at_s[0]
    assert raced(Net()) == "the host has no address"


def test_a_slow_first_may_still_win_and_the_other_is_closed():
    """Both connect in the same moment: one is used, one is closed."""
    net = Net(a_1=0.3, b=0.3 - HAPPY_EYEBALLS_S)
    assert raced(net, "a:1", "b") in ("a:1", "b")
    assert len(net.sockets) == 2


def test_who_leaves_has_nothing_dialled_any_more():
    """Cancelled in the middle: so are the attempts."""
    net = Net(a_1=5.0, b=5.0)

    async def main():
        asking = asyncio.create_task(race(net, addresses("a:1", "b")))
        await asyncio.sleep(1)
        asking.cancel()
        await asyncio.sleep(10)
        return asking.cancelled()

    assert virtual_run(main)
    assert net.sockets == {}
