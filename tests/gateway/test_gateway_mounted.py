"""The gateway within another application."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx2
from starlette.applications import Starlette
from starlette.routing import Mount

from headway.gateway.mounted import app, opened
from headway.gateway.settings import ServeSettings
from headway.sim import SimSettings, Simulator
from tests.gateway.helpers import within

ASK = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Name three colours."}]}


def test_it_answers_below_a_path_of_an_application_around_it():
    """The data plane and health, under a prefix that the provider never sees."""

    async def main() -> None:
        sim = Simulator(SimSettings(seed=1))
        settings = ServeSettings(engine={"base_url": "http://sim.test/v1", "api_key": "sk-sim"})

        @asynccontextmanager
        async def lifespan(outer: Starlette):
            async with opened(settings, handler=sim.handler) as inner:
                outer.router.routes.append(Mount("/llm", app=inner))
                yield

        outer = Starlette(lifespan=lifespan)
        async with outer.router.lifespan_context(outer):
            transport = httpx2.ASGITransport(outer)
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/llm") as client:
                reply = await client.post("/v1/chat/completions", json=ASK)
                assert reply.status_code == 200, reply.text
                assert reply.json()["choices"][0]["message"]["content"]
                assert (await client.get("/healthz")).text == "ok\n"
                assert (await client.post("/v1/../v1/chat/completions", json=ASK)).status_code in (200, 400, 404)
                foreign = await client.post("/v1/chat/completions", json=ASK, headers={"host": "evil.test"})
                assert foreign.status_code in (403, 421)

    within(main())


def test_a_server_of_another_make_can_run_the_whole(monkeypatch):
    """The factory opens its engine with the server's lifespan and closes it again."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any")

    async def main() -> None:
        whole = app()
        async with (
            whole.router.lifespan_context(whole),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(whole), base_url="http://localhost") as client,
        ):
            assert (await client.get("/readyz")).json()["ready"] is True
            assert (await client.get("/api/overview")).json()["live"]["workers"] == 1

    within(main())
