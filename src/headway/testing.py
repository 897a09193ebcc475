"""For tests of programs that use Headway: a scripted provider, and virtual time.

    provider = FakeProvider([429, 200])
    reply = virtual_run(lambda: ask(headway.Engine(handler=provider)))
    assert provider.calls == 2

Where the connection itself matters, or an SDK is under test, `virtual_network` puts the simulator behind real HTTP/1.1
bytes on in-memory connections, still on virtual time.

`FakeProvider` answers like a provider of the format it is asked in, instantly or after a virtual delay. It is a fake,
not a mock: nothing is patched, the engine runs as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from headway.errors import ConfigError
from headway.sim import Network, NetworkFault, Simulator, VirtualLoop, serve_on
from headway.sim.loop import run_virtual as virtual_run
from headway.types import Call, Headers, Reply

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
            stream = _Stream(self, step, step.chunks if step.chunks is not None else _stream(call, step))
            return Reply(step.status, (*_SSE, *step.headers), chunks=stream, close=stream.aclose, trace=call.trace)
        body = step.body if step.body is not None else _body(call, step)
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


def _error(step: Step) -> dict[str, Any]:
    code = {
        401: "invalid_api_key",
        404: "model_not_found",
        429: "rate_limit_exceeded",
        529: "overloaded_error",
    }
    return {"error": {"message": step.text, "type": "error", "param": None, "code": code.get(step.status)}}


def _body(call: Call, step: Step) -> bytes:
    if step.status >= 400:
        return msgspec.json.encode(_error(step))
    if call.path.partition("?")[0].endswith("/chat/completions"):
        return msgspec.json.encode(_chat(call, step))
    return msgspec.json.encode(_response(call, step))


def _chat(call: Call, step: Step) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": call.view.model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": step.text}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": step.input_tokens, "completion_tokens": step.output_tokens,
            "total_tokens": step.input_tokens + step.output_tokens,
        },
    }  # fmt: skip


def _response(call: Call, step: Step) -> dict[str, Any]:
    part = {"type": "output_text", "text": step.text, "annotations": []}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    return {
        "id": "resp_1", "object": "response", "created_at": 0, "status": "completed", "model": call.view.model,
        "output": [message],
        "usage": {
            "input_tokens": step.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": step.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": step.input_tokens + step.output_tokens,
        },
    }  # fmt: skip


def _stream(call: Call, step: Step) -> list[bytes]:
    """One chunk a word, as a provider would."""
    words = [word + " " for word in step.text.split(" ")]
    words[-1] = words[-1][:-1]
    if call.path.partition("?")[0].endswith("/chat/completions"):
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": call.view.model}
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"content": w} for w in words),
        ]
        events = [base | {"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
        events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if b'"include_usage":true' in call.body:
            events.append(base | {"choices": [], "usage": _chat(call, step)["usage"]})
        return [b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
    whole = _response(call, step)
    started: dict[str, Any] = {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = [started]
    events += [{"type": "response.output_text.delta", **place, "delta": word} for word in words]
    events.append({"type": "response.completed", "response": whole})
    return [f"event: {event['type']}\n".encode() + b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events]
