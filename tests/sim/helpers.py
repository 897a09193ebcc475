"""What the simulator's tests share."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from headway.sim import Simulator
from headway.types import Call, Reply, RequestView, Trace

LABELS = ("billing", "technical_support", "shipping")


def call(path: str, body: dict[str, Any] | bytes, *, key: str = "sk-test", fault: str = "") -> Call:
    """A call as the engine would hand it over."""
    headers = (("authorization", f"Bearer {key}"), *((("x-sim-fault", fault),) if fault else ()))
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    trace = Trace("call", "c1", 0.0, 0.0)
    return Call(origin="https://api.openai.com", path=path, headers=headers, body=raw, view=RequestView(), trace=trace)


async def api(
    simulator: Simulator, method: str, path: str, body: Any = b"", *, key: str = "sk-test",
    kind: str = "application/json",
) -> Reply:  # fmt: skip
    """Any other call of a provider's API, read to the end."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    headers = (("authorization", f"Bearer {key}"), ("content-type", kind))
    reply = await simulator.respond(method, path, headers, raw)
    await reply.read()
    return reply


def form(content: bytes, purpose: str = "batch", name: str = "in.jsonl") -> bytes:
    """A multipart form with a file, at the boundary "edge"."""
    head = 'Content-Disposition: form-data; name="%s"'
    fields = f'--edge\r\n{head % "purpose"}\r\n\r\n{purpose}\r\n--edge\r\n{head % "file"}; filename="{name}"\r\n'
    return fields.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--edge--\r\n"


FORM = "multipart/form-data; boundary=edge"
CHAT = "/v1/chat/completions"


def ticket(number: int, **fields: Any) -> dict[str, Any]:
    """One chat request of many."""
    text = f"Return only the label, one of: {', '.join(LABELS)}. Ticket: parcel {number} never arrived, was it shipped?"
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}


def lines(bodies: list[dict[str, Any]], path: str = CHAT) -> bytes:
    """A batch's input file; the ids are r0, r1, ..."""
    rows = [{"custom_id": f"r{n}", "method": "POST", "url": path, "body": body} for n, body in enumerate(bodies)]
    return b"\n".join(map(msgspec.json.encode, rows)) + b"\n"


async def upload(simulator: Simulator, content: bytes, *, key: str = "sk-test") -> str:
    """A file's id."""
    return json(await api(simulator, "POST", "/v1/files", form(content), kind=FORM, key=key))["id"]


async def submit(simulator: Simulator, content: bytes, *, path: str = CHAT, key: str = "sk-test", **more: Any) -> Reply:
    """The answer to making a batch of a file's content."""
    given = {"input_file_id": await upload(simulator, content, key=key), "endpoint": path, "completion_window": "24h"}
    return await api(simulator, "POST", "/v1/batches", {**given, **more}, key=key)


async def ended(simulator: Simulator, batch: dict[str, Any], *, every_s: float = 600.0) -> dict[str, Any]:
    """The batch when it has ended, looked at every so many seconds."""
    while batch["status"] not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(every_s)
        batch = json(await api(simulator, "GET", f"/v1/batches/{batch['id']}"))
    return batch


async def content(simulator: Simulator, file_id: str | None) -> list[Any]:
    """The lines of a file; none where there is no file."""
    if file_id is None:
        return []
    reply = await api(simulator, "GET", f"/v1/files/{file_id}/content")
    assert reply.status == 200
    return [msgspec.json.decode(line) for line in (reply.body or b"").splitlines()]


async def chat(simulator: Simulator, text: str, *, fault: str = "", key: str = "sk-test", **fields: Any) -> Reply:
    """A chat completion by gpt-4o, read to the end."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **fields}
    reply = await simulator.handler(call("/v1/chat/completions", body, fault=fault, key=key))
    await reply.read()
    return reply


async def respond(simulator: Simulator, prompt: str, *, fault: str = "", **fields: Any) -> Reply:
    """A response by gpt-5.4-mini, read to the end."""
    body = {"model": "gpt-5.4-mini", "input": prompt, **fields}
    reply = await simulator.handler(call("/v1/responses", body, fault=fault))
    await reply.read()
    return reply


def json(reply: Reply) -> Any:
    """The body of a reply that was read."""
    assert reply.body is not None
    return msgspec.json.decode(reply.body)


def chat_text(reply: Reply) -> str:
    """The first choice's text."""
    return json(reply)["choices"][0]["message"]["content"]


def now_s() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()
