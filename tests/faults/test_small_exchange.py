"""One small exchange, broken at every byte of it, in either direction and in every way a connection can break."""

from __future__ import annotations

import pytest

import headway
from headway.errors import ConnectionLost, ProviderError, ProviderTimeout
from headway.sim import NetworkFault, Simulator, SimSettings
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


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("kind", "direction"), [("reset", "up"), ("reset", "down"), ("cut", "down"), ("stall", "down")])
def test_an_exchange_that_breaks_at_any_byte_is_an_error_or_whole(kind, direction, stream):
    """Never half an answer, never a hang, never a leak; and what may have been billed is said to be."""
    whole, _, _, seen, _ = virtual_run(lambda: _exchange(None, stream=stream))
    errors = 0
    for place in range(seen[direction]):
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
    assert errors > seen[direction] * 0.9
    assert virtual_run(lambda: _exchange(NetworkFault(kind=kind, at_bytes=10**9), stream=stream))[0] == whole


@pytest.mark.parametrize("stream", [False, True])
def test_an_exchange_in_any_pieces_is_the_same(stream):
    """Byte by byte, in small pieces at leisure, or all at once: the same answer."""
    whole = virtual_run(lambda: _exchange(None, stream=stream))[0]
    for fault in (NetworkFault(kind="split"), NetworkFault(kind="slow", pause_s=0.001)):
        assert virtual_run(lambda fault=fault: _exchange(fault, stream=stream))[0] == whole
