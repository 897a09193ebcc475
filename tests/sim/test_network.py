"""The virtual network: what asyncio promises of transports, what goes wrong on demand, and an SDK on top of it."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import openai
import pytest

from headway.errors import ConfigError
from headway.sim import Network, NetworkFault, SimSettings, Simulator, VirtualLoop, network_faults, run_virtual
from headway.sim.network_faults import NETWORK_FAULTS
from headway.testing import virtual_network

HOST = "server.example"


class Peer(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, *, keep=False, on_data=None):
        self.told, self.data, self.keep, self.on_data = [], b"", keep, on_data
        self.transport = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.told.append("made")
        self.transport = transport

    def data_received(self, data):
        self.data += data
        if self.on_data is not None:
            self.on_data(self, data)

    def eof_received(self):
        self.told.append("eof")
        return self.keep

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        self.told.append("resume")

    def connection_lost(self, exc):
        self.told.append(("lost", type(exc).__name__ if exc else None))
        self.gone.set_result(None)


async def _pair(*faults, server=None, **keywords):
    """A connection's two protocols, the client's first."""
    loop = asyncio.get_running_loop()
    server = server or Peer()
    Network(loop, latency_s=0.01, faults=faults).serve(HOST, 80, lambda: server)
    transport, client = await loop.create_connection(Peer, HOST, 80, **keywords)
    assert client.transport is transport
    return client, server


def test_bytes_arrive_in_order_a_latency_later():
    """What is written at one moment arrives in its order, and not before its time."""

    async def main():
        client, server = await _pair()
        assert asyncio.get_running_loop().time() == pytest.approx(0.02)
        for number in range(50):
            client.transport.write(b"%d," % number)
        await asyncio.sleep(0.0099)
        assert server.data == b""
        await asyncio.sleep(0.0002)
        return server.data

    assert run_virtual(main) == b"".join(b"%d," % number for number in range(50))


def test_closing_sends_what_was_written_and_tells_both_sides_once():
    """The end of file comes behind the bytes; `connection_lost` comes once, on either side."""

    async def main():
        client, server = await _pair()
        client.transport.write(b"x" * 1_000_000)
        client.transport.close()
        client.transport.close()
        client.transport.write(b"not sent")
        assert client.transport.is_closing()
        await asyncio.gather(client.gone, server.gone)
        client.transport.abort()
        await asyncio.sleep(1)
        assert asyncio.get_running_loop().network.open == ()
        return client.told, server.told, len(server.data)

    client, server, size = run_virtual(main)
    assert size == 1_000_000
    assert [each for each in client if isinstance(each, tuple)] == [("lost", None)]
    assert server == ["made", "eof", ("lost", None)]


def test_a_reader_that_pauses_holds_its_writer_back():
    """`pause_writing` comes when the way is full, `resume_writing` when it is not, and nothing is lost between."""

    async def main():
        client, server = await _pair()
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(b"x" * 3_000_000)
        assert client.told == ["made", "pause"]
        await asyncio.sleep(10)
        assert (server.data, client.transport.get_write_buffer_size() > 2_000_000) == (b"", True)
        server.transport.resume_reading()
        await asyncio.sleep(10)
        assert client.transport.get_write_buffer_size() == 0
        return client.told, len(server.data)

    assert run_virtual(main) == (["made", "pause", "resume"], 3_000_000)


def test_write_buffer_limits_are_checked_and_used():
    """Low may not be above high; with a high of 0 everything that is not on its way pauses."""

    async def main():
        client, _ = await _pair()
        with pytest.raises(ValueError, match="must be >= low"):
            client.transport.set_write_buffer_limits(high=1, low=2)
        client.transport.set_write_buffer_limits(0)
        assert client.transport.get_write_buffer_limits() == (0, 0)
        client.transport.write(b"x" * 1_000)
        assert client.told == ["made"]
        client.transport.write(b"x" * 1_000_000)
        assert client.told == ["made", "pause"]

    run_virtual(main)


def test_half_a_connection_goes_on_when_its_protocol_wishes():
    """After `write_eof` the other side may answer; writing again is an error of the caller's."""

    async def main():
        server = Peer(keep=True)
        client, _ = await _pair(server=server)
        client.transport.write(b"question")
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            client.transport.write(b"more")
        await asyncio.sleep(1)
        assert server.told == ["made", "eof"]
        server.transport.write(b"answer")
        server.transport.close()
        await client.gone
        return client.data, client.told

    assert run_virtual(main) == (b"answer", ["made", "eof", ("lost", None)])


def test_who_writes_to_one_that_left_is_reset():
    """The first write after the other end is gone is lost, and the writer is told so."""

    async def main():
        client, server = await _pair(server=Peer(keep=True))
        client.transport.abort()
        await asyncio.sleep(1)
        server.transport.write(b"hello?")
        await server.gone
        return server.told

    assert run_virtual(main) == ["made", "eof", ("lost", "ConnectionResetError")]


def test_a_protocol_that_raises_loses_its_connection():
    """As with a socket: the loop is told why, and the other end sees the end."""

    async def main():
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

        def fail(peer, data):
            raise ValueError("no")

        client, server = await _pair(server=Peer(on_data=fail))
        client.transport.write(b"x")
        await asyncio.gather(client.gone, server.gone)
        return [str(problem) for problem in problems], client.told[-1]

    assert run_virtual(main) == (["no"], ("lost", None))


def test_a_kept_connections_descriptor_says_whether_something_came():
    """HTTP clients poll it: quiet while idle, gone once the server has closed although nobody reads."""

    async def main():
        client, server = await _pair()
        kept = client.transport.get_extra_info("socket")
        assert (kept.getpeername()[1], kept.family) == (80, socket.AF_INET)
        client.transport.pause_reading()
        assert kept.fileno() >= 0
        server.transport.close()
        await asyncio.sleep(1)
        return kept.fileno(), client.told

    assert run_virtual(main) == (-1, ["made"])


def test_tls_is_transparent_and_costs_a_round_trip():
    """`ssl` is accepted, what it stands for is in the transport's extra, and no byte is encrypted."""

    async def main():
        client, server = await _pair(ssl=True, server_hostname=HOST)
        assert asyncio.get_running_loop().time() == pytest.approx(0.04)
        assert client.transport.get_extra_info("ssl_object").selected_alpn_protocol() is None
        client.transport.write(b"plain")
        await asyncio.sleep(1)
        other, _ = await _pair()
        with pytest.raises(ConfigError, match="http://"):
            other.transport.write(b"\x16\x03\x01")  # a handshake of the client's own
        return server.data

    assert run_virtual(main) == b"plain"


@pytest.mark.parametrize(
    ("kind", "told"),
    [("reset", ("lost", "ConnectionResetError")), ("cut", ("lost", None))],
)
def test_a_connection_breaks_at_its_byte(kind, told):
    """Exactly so many bytes come through, then both ends are told."""

    async def main():
        fault = NetworkFault(kind=kind, direction="down", at_bytes=7)
        client, server = await _pair(fault)
        server.transport.write(b"0123456789")
        await asyncio.gather(client.gone, server.gone)
        return client.data, client.told[-1]

    assert run_virtual(main) == (b"0123456", told)


def test_a_stall_lasts_as_long_as_it_says():
    """Up to its byte all is well; the rest comes `stall_s` later."""

    async def main():
        client, server = await _pair(NetworkFault(kind="stall", direction="down", at_bytes=3, stall_s=60))
        server.transport.write(b"abcdef")
        await asyncio.sleep(59)
        early = client.data
        await asyncio.sleep(2)
        return early, client.data

    assert run_virtual(main) == (b"abc", b"abcdef")


def test_a_stale_connection_ends_when_it_is_used_again():
    """The first exchange is answered; the second request is lost, and never seen by the server."""

    async def main():
        server = Peer(on_data=lambda peer, data: peer.transport.write(b"answer"))
        client, _ = await _pair(NetworkFault(kind="stale"), server=server)
        client.transport.write(b"first")
        await asyncio.sleep(1)
        assert client.data == b"answer"
        client.transport.write(b"second")
        await client.gone
        return server.data

    assert run_virtual(main) == b"first"


def test_refused_unknown_and_silent_hosts_fail_as_sockets_do():
    """Each its own `OSError`, at its own time."""

    async def main():
        loop = asyncio.get_running_loop()
        network = Network(loop, latency_s=0.01, faults=(NetworkFault(kind="black_hole", start_s=1.0),))
        network.serve(HOST, 80, Peer)
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("elsewhere.example", 80)
        address = (await loop.getaddrinfo(HOST, 81))[0][4]
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Peer, *address)
        assert loop.time() == pytest.approx(0.02)
        await asyncio.sleep(1)
        with pytest.raises(TimeoutError):
            await loop.create_connection(Peer, HOST, 80)
        return loop.time()

    assert run_virtual(main) == pytest.approx(1.02 + 127)


def test_servers_that_programs_open_themselves_are_on_the_network():
    """`create_server` and `open_connection`, as any asyncio program has them."""

    async def main():
        Network(asyncio.get_running_loop())

        async def echo(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "localhost", 9_000)
        reader, writer = await asyncio.open_connection("localhost", 9_000)
        writer.write(b"hello\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("localhost", 9_000)
        return answer

    assert run_virtual(main) == b"HELLO\n"


def test_a_loop_without_a_network_refuses_connections_with_a_sentence():
    """Nothing reaches the real one by mistake."""

    async def main():
        loop = asyncio.get_running_loop()
        for refused in (loop.create_connection(Peer, HOST, 80), loop.getaddrinfo(HOST, 80), loop.create_server(Peer)):
            with pytest.raises(RuntimeError, match="Network"):
                await refused

    run_virtual(main)


def test_a_timer_that_rings_a_hair_early_does_not_hold_time():
    """Sums of floats: set for a + b, asked whether now - b has reached a, and set again for the same moment."""

    async def main():
        loop = asyncio.get_running_loop()
        since_s, rings = 6.521909999999999, []

        def ring():
            rings.append(loop.time())
            if len(rings) < 1_000 and loop.time() - 30.0 < since_s + 1e-7:
                loop.call_at(since_s + 30.0, ring)

        loop.call_at(since_s + 30.0, ring)
        await asyncio.sleep(60)
        return len(rings)

    assert run_virtual(main) < 1_000


def _streams(seed, faults=()):
    """40 concurrent streams of an unmodified SDK; their texts or errors, the trace, and the books."""

    async def main():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        simulator = Simulator(SimSettings(seed=seed))
        network = virtual_network(simulator, seed=seed, faults=faults)
        trace = []
        network.watch = lambda *event: trace.append((loop.time(), *event))

        async def ask(client, number):
            text = ""
            try:
                stream = await client.chat.completions.create(
                    model="gpt-4o", max_tokens=30, stream=True,
                    messages=[{"role": "user", "content": f"Tell me about the number {number}."}],
                )  # fmt: skip
                async for event in stream:
                    text += event.choices[0].delta.content or ""
            except Exception as error:
                return type(error).__name__
            return text

        async with openai.AsyncOpenAI(base_url="http://api.openai.com/v1", api_key="k", max_retries=0) as client:
            texts = await asyncio.gather(*(ask(client, number) for number in range(40)))
        return texts, trace, simulator.ledger.totals, network.open, loop.time()

    return run_virtual(main)


def test_an_unmodified_sdk_streams_over_it_and_is_deterministic():
    """40 streams at once over openai's own transport: every answer whole, and the same bytes at the same times twice."""
    first = _streams(3)
    texts, trace, totals, still_open, took_s = first
    assert all(f"the number {number}" in text for number, text in enumerate(texts))
    assert (totals.ok, still_open) == (40, ())
    assert sum(event == "open" for _, _, event, _ in trace) == 40
    assert 0.1 < took_s < 10
    second = _streams(3)
    assert first[:2] == second[:2]


def test_an_unmodified_sdk_meets_the_networks_faults():
    """A share of connections fails, each with the SDK's own error; the others are whole; and the same ones twice."""
    refused, reset = (
        NetworkFault(kind="refused", rate=0.2),
        NetworkFault(kind="reset", rate=0.3, direction="down", at_bytes=900),
    )
    texts, trace = _streams(5, (refused, reset))[:2]
    failed = [text for text in texts if text == "APIConnectionError"]
    turned_away = sum(event == "refused" for _, _, event, _ in trace)
    assert 0 < turned_away < len(failed) < 40
    assert all("the number" in text for text in texts if text != "APIConnectionError")
    assert texts == _streams(5, (refused, reset))[0]


def test_every_fault_of_the_network_is_explained():
    """The page's table and the module's are the kinds there are."""
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")
    table = page.split("<!-- network faults -->\n")[1].split("<!-- end -->")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == NETWORK_FAULTS
    assert tuple(re.findall(r"^\| (\w+) \|", network_faults.__doc__, re.MULTILINE)) == ("kind", *NETWORK_FAULTS)


def test_settings_out_of_range_name_themselves():
    """A sentence each."""
    for keywords in ({"kind": "flood"}, {"kind": "reset", "rate": 2}, {"kind": "reset", "at_bytes": -1}):
        with pytest.raises(ConfigError, match="network fault"):
            NetworkFault(**keywords)

    async def main():
        with pytest.raises(ConfigError, match="latency_s"):
            Network(asyncio.get_running_loop(), latency_s=-1)
        virtual_network()
        with pytest.raises(ConfigError, match="served already"):
            virtual_network().serve("api.openai.com", 80, Peer)

    run_virtual(main)
    with pytest.raises(ConfigError, match="virtual loop"):
        asyncio.run(_outside())


async def _outside():
    virtual_network()
