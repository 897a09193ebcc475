"""For tests of programs that use Headway: a scripted provider, and virtual time.

    provider = FakeProvider([429, 200])
    reply = virtual_run(lambda: ask(headway.Engine(handler=provider)))
    assert provider.calls == 2

Where the connection itself matters, or an SDK is under test, `virtual_network` puts the simulator behind real HTTP/1.1
bytes on in-memory connections, still on virtual time.

`FakeProvider` answers like a provider of the format it is asked in (Responses, Chat Completions, Messages, Embeddings),
instantly or after a virtual delay. It is a fake, not a mock: nothing is patched, the engine runs as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from headway.errors import ConfigError
from headway.sim import Network, NetworkFault, Simulator, VirtualLoop, serve_on
from headway.sim.loop import run_virtual as virtual_run
from headway.sim.scripted import scripted_events, scripted_whole
from headway.types import Call, Headers, Reply, Usage

__all__ = ["FakeProvider", "Step", "virtual_network", "virtual_run"]

_JSON: Headers = (("content-type", "application/json"),)
_SSE: Headers = (("content-type", "text/event-stream"),)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One scripted answer.

    Delays are in seconds of the loop's clock: `delay_s` before the headers, `chunk_delay_s` before each chunk.
    """

    status: int = 200
    text: str = "ok"
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    headers: Headers = ()
    body: bytes | None = None
    """Stands in for the answer that would be made from `text`."""
    chunks: tuple[bytes, ...] | None = None
    """The stream's chunks, verbatim."""
    error: Exception | None = None
    """Raised instead of a reply, or after the chunks when there are any."""
    input_tokens: int = 10
    output_tokens: int = 2


class FakeProvider:
    """A `Handler` that plays a script: statuses, exceptions or `Step`s; the last one is repeated.

    Args:
        script: E.g. ``[429, 200]``, ``[Step(text="billing")]``, ``[ConnectFailed("down"), 200]``.
    """

    def __init__(self, script: Sequence[int | Exception | Step] = (200,)) -> None:
        self._script = [_step(item) for item in script]
        self.seen: list[Call] = []
        self.open = 0
        """Replies handed out and not closed yet."""
        self.aborted = 0
        """Calls cancelled, and streams closed, before they were through."""

    @property
    def calls(self) -> int:
        """How many calls came in."""
        return len(self.seen)

    async def __call__(self, call: Call) -> Reply:
        step = self._script[min(len(self.seen), len(self._script) - 1)]
        self.seen.append(call)
        if step.delay_s:
            try:
                await asyncio.sleep(step.delay_s)
            except asyncio.CancelledError:
                self.aborted += 1
                raise
        if step.error is not None and step.chunks is None:
            raise step.error
        if step.status < 400 and (call.view.stream or step.chunks is not None):
            stream = _Stream(self, step, step.chunks if step.chunks is not None else _events(call, step))
            return Reply(step.status, (*_SSE, *step.headers), chunks=stream, close=stream.aclose, trace=call.trace)
        body = step.body if step.body is not None else scripted_whole(call, step.status, step.text, _usage(step))
        return Reply(step.status, (*_JSON, *step.headers), body, trace=call.trace)


def virtual_network(
    simulator: Simulator | None = None,
    *,
    host: str = "api.openai.com",
    seed: int = 0,
    latency_s: float = 0.0005,
    faults: Sequence[NetworkFault] = (),
) -> Network:
    """A network of in-memory connections on the running virtual loop, with a simulator at ``http://{host}/v1``.

    ``https`` works for clients whose TLS is asyncio's, such as the engine's own; see `headway.sim.network`.

    Args:
        simulator: The provider; a default one when None.
        host: Where it is.
        seed: Of the network's dice.
        latency_s: One way.
        faults: What befalls connections.

    Raises:
        ConfigError: The running loop is not a virtual one, or the extra `sim` is not installed.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise ConfigError("virtual_network needs a virtual loop; run the test with headway.testing.virtual_run")
    network = Network(loop, seed=seed, latency_s=latency_s, faults=faults)
    played = simulator or Simulator()
    for port in (80, 443):
        serve_on(network, host, port, played)
    return network


class _Stream:
    def __init__(self, provider: FakeProvider, step: Step, chunks: Sequence[bytes]) -> None:
        self._provider = provider
        self._step = step
        self._left = list(chunks)
        self._open = True
        provider.open += 1

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left and self._step.chunk_delay_s:
            await asyncio.sleep(self._step.chunk_delay_s)
        if self._left:
            return self._left.pop(0)
        if self._step.error is not None:
            raise self._step.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._provider.open -= 1
            self._provider.aborted += bool(self._left)


def _step(item: int | Exception | Step) -> Step:
    if isinstance(item, Step):
        return item
    return Step(error=item) if isinstance(item, Exception) else Step(status=item)


def _events(call: Call, step: Step) -> list[bytes]:
    return scripted_events(call, step.text, _usage(step))


def _usage(step: Step) -> Usage:
    return Usage(input_tokens=step.input_tokens, output_tokens=step.output_tokens)
