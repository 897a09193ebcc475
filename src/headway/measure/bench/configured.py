"""The engine as an application has it: `headway bench --as-configured`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from headway.engine import Engine
from headway.types import Reply, Tags

__all__ = ["ConfiguredEngine"]


class ConfiguredEngine(Engine):
    """An engine whose calls use its cache although a measurement would go past it; all else is as it is."""

    async def send(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        *,
        headers: Mapping[str, str] | None = None,
        cache: Literal["on", "off", "refresh"] | None = None,
        key_body: bytes | None = None,
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
        namespace: str = "",
    ) -> Reply:
        """As `Engine.send`; `cache` is left to the settings."""
        return await super().send(
            path, body, headers=headers, key_body=key_body, deadline_s=deadline_s, priority=priority, tags=tags,
            namespace=namespace,
        )  # fmt: skip
