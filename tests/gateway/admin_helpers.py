"""A gateway in front of the simulator with a call log of its own, and a client that is no SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from headway.gateway.keys import KeyStore
from headway.policy.keys import Key
from headway.sim import SimSettings, Simulator
from tests.gateway.helpers import gateway

SIM = "http://sim.invalid/v1"
MODEL = "gpt-5.4-mini"


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway."""
    simulator = Simulator(SimSettings(latency_scale=0.0, rpm=None, tpm=None))
    settings = {"base_url": SIM, "log": str(folder / "calls.sqlite")} | settings
    async with gateway(simulator.handler, **settings) as url, httpx2.AsyncClient(base_url=url, timeout=20) as client:
        yield client


async def ask(client: httpx2.AsyncClient, text: str = "Hello", key: str = "", **more: Any) -> None:
    """A call through the gateway that is answered."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": text}], **more}
    reply = await client.post("/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 200, reply.text


async def get(client: httpx2.AsyncClient, path: str, status: int = 200, **more: Any) -> Any:
    """A document, of that status."""
    reply = await client.get(path, **more)
    assert reply.status_code == status, reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"
    return reply.json()


async def when(client: httpx2.AsyncClient, path: str, true: Any) -> Any:
    """The document, as soon as that is true of it: rows are on disk a moment after their calls."""
    while True:
        document = await get(client, path)
        if true(document):
            return document
        await asyncio.sleep(0.02)


def made(path: Path, name: str = "app", **rights: Any) -> str:
    """Make a key; its text."""
    with KeyStore(path) as store:
        return store.create(Key(id="", name=name, **rights))[1].reveal()
