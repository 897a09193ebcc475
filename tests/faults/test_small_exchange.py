"""One small exchange, broken at every byte of it, in either direction and in every way a connection can break."""

from __future__ import annotations

import pytest

import headway
from headway.errors import ConnectionLost, ProviderError, ProviderTimeout
from headway.sim import NetworkFault, SimSettings, Simulator
from headway.testing import virtual_network, virtual_run

HOST = "api.example.com"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


async def _exchange(fault, *, stream):
    """One try: its answer or its error, and what the provider's books say."""
    simulator = Simulator(SimSettings(latency_scale=0, quality=None, headers=False))
    faults = () if fault is None else (fault,)
    network = virtual_network(simulator, host=HOST, faults=faults)
    engine = headway.Engine(
        base_url=f"http://{HOST}/v1", api_key="k", log="off", log_level="off", attempts_max=1, seed=1,
        first_byte_timeout_s=3, first_event_timeout_s=3, idle_timeout_s=3,
    )  # fmt: skip
    seen = {"up": 0, "down": 0}

    def count(_, event, data):
        if event in seen:
            seen[event] += len(data)

    network.watch = count
    answer = error = None
    got = b""
    async with engine:
        try:
            reply = await engine.send("/v1/chat/completions", {**BODY, "stream": stream})
            async for chunk in reply:
                got += chunk
            answer = got
        except ProviderError as failure:
            error = failure
    assert network.open == ()
    return answer, error, got, seen, simulator.ledger.totals


WAYS = [("reset", "up"), ("reset", "down"), ("cut", "down"), ("stall", "down")]


@pytest.mark.parametrize(("kind", "direction"), WAYS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_that_breaks_is_an_error_or_whole(kind, direction, stream):
    """Never half an answer, never a hang, never a leak; and what may have been billed is said to be."""
    # A whole answer's reset, at every byte of it; the rest by samples here, at every byte in the soak.
    _breaks(kind, direction, stream, step=1 if kind == "reset" and not stream else 17)


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "direction"), WAYS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_that_breaks_at_any_byte_is_an_error_or_whole(kind, direction, stream):
    """The same, at every byte."""
    _breaks(kind, direction, stream, step=1)


def _breaks(kind, direction, stream, step):
    whole, _, _, seen, _ = virtual_run(lambda: _exchange(None, stream=stream))
    places = range(0, seen[direction], step)
    errors = 0
    for place in places:
        fault = NetworkFault(kind=kind, direction=direction, at_bytes=place)
        answer, error, got, _, totals = virtual_run(lambda fault=fault: _exchange(fault, stream=stream))
        assert (answer is None) != (error is None), place
        if answer is not None:
            assert answer == whole, place  # what was still to come was the framing's last bytes
            continue
        errors += 1
        assert type(error) is (ProviderTimeout if kind == "stall" else ConnectionLost), place
        assert whole.startswith(got), place
        assert error.maybe_billed >= (totals.output_tokens > 0), place
    assert errors > len(places) * 0.9
    beyond = NetworkFault(kind=kind, direction=direction, at_bytes=seen[direction] + 1)
    assert virtual_run(lambda: _exchange(beyond, stream=stream))[0] == whole


@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_in_any_pieces_is_the_same(stream):
    """In pieces of all sizes, or in small ones at leisure: the same answer as all at once."""
    whole = virtual_run(lambda: _exchange(None, stream=stream))[0]
    for fault in (NetworkFault(kind="split"), NetworkFault(kind="slow", pause_s=0.001)):
        assert virtual_run(lambda fault=fault: _exchange(fault, stream=stream))[0] == whole


def test_the_engines_own_tls_is_transparent():
    """The default base URL, https and all, on the virtual network."""

    async def main():
        simulator = Simulator(SimSettings(latency_scale=0))
        virtual_network(simulator)
        async with headway.Engine(api_key="k", log="off") as engine:
            reply = await engine.send("/v1/chat/completions", BODY)
            return reply.status, await reply.read(), simulator.ledger.totals.ok

    status, body, ok = virtual_run(main)
    assert (status, ok) == (200, 1)
    assert b"assistant" in body
