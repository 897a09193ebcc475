"""What one writes in an afternoon: an ASGI function under uvicorn that sends every request on with aiohttp."""

from __future__ import annotations

import sys

import aiohttp
import uvicorn

PORT, UPSTREAM = int(sys.argv[1]), sys.argv[2]
DROPPED = {b"host", b"content-length", b"connection", b"transfer-encoding"}
session: dict[str, aiohttp.ClientSession] = {}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if not session:
        connector = aiohttp.TCPConnector(limit=0)
        session["one"] = aiohttp.ClientSession(connector=connector, auto_decompress=False)
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"] if k not in DROPPED}
    url = UPSTREAM + scope["raw_path"].decode("ascii")
    async with session["one"].request(scope["method"], url, data=body, headers=headers) as answer:
        kept = [(k.lower(), v) for k, v in answer.raw_headers if k.lower() not in (b"transfer-encoding", b"connection")]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", access_log=False, lifespan="off")
