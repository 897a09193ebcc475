"""The gateway as an ASGI application, for those who run another server, or have an application of their own around it.

    uvicorn --factory headway.gateway.mounted:app

Own connections are faster and bounded in more ways: `headway serve` is the rule, and this is for where it does not fit.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from headway.gateway.app import application
from headway.gateway.data.gate import Gate
from headway.gateway.keys import Keys
from headway.gateway.listening import is_reachable, keys_path
from headway.gateway.serving import Serving
from headway.gateway.settings import ServeSettings
from headway.gateway.standing import Standing, planned
from headway.types import Handler

__all__ = ["app", "opened"]


@asynccontextmanager
async def opened(settings: ServeSettings | None = None, *, handler: Handler | None = None) -> AsyncGenerator[ASGIApp]:
    """The application, for as long as its engine is open; for the lifespan of an application that mounts it.

    Below a path, `/v1` and health answer there; the dashboard and the admin API are at home at the root only.

    Args:
        settings: As for `headway serve`; of `host`, only whether others can reach it counts: then keys are needed.
        handler: Takes the network's place: a simulator or a fake.

    Raises:
        ConfigError: A setting is wrong.
    """
    settings = settings or ServeSettings()
    plan = planned(settings)
    keys = await Keys.open(keys_path(settings))
    try:
        gate = Gate(keys, always=bool(settings.keys) or is_reachable(settings.host))
        standing = Standing(settings, plan, gate, handler)
        serving = Serving(settings, standing.engine, standing.door, homes=standing.homes, gate=gate, keys=keys)
        try:
            yield application(serving)
        finally:
            serving.draining = True
            await standing.aclose()
    finally:
        await keys.aclose()


def app() -> Starlette:
    """The whole application with a lifespan of its own, from ``headway.toml`` and the environment."""

    @asynccontextmanager
    async def lifespan(outer: Starlette) -> AsyncGenerator[None]:
        async with opened() as inner:
            outer.router.routes.append(Mount("/", app=inner))
            yield

    return Starlette(lifespan=lifespan)
