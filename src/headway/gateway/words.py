"""What the gateway says of itself, and to whom it sends its traces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from headway.config import Settings, load_settings
from headway.engine.said import Said
from headway.errors import ConfigError
from headway.gateway.settings import ServeSettings

__all__ = ["said_of", "traced"]


def said_of(settings: ServeSettings) -> Said:
    """The structured log for a process that has no engine; as by default where the configuration is wrong."""
    try:
        found = load_settings(settings.engine, file=settings.config or None)
    except ConfigError:
        found = Settings()
    return Said(found.log_level, found.log_format)


@asynccontextmanager
async def traced(settings: Settings) -> AsyncIterator[None]:
    """The gateway's own SDK of OpenTelemetry, where `otel` is on.

    Raises:
        ConfigError: It is not installed, or an OTEL_* variable names what there is not.
    """
    if settings.otel == "off":
        yield
        return
    from headway.telemetry.sdk import exporting

    async with exporting():
        yield
