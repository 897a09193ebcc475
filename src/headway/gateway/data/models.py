"""``GET /v1/models``: one list out of all upstreams' lists, kept for a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from headway.errors import HeadwayError
from headway.gateway.data.homes import Home, Homes
from headway.gateway.request import Refused
from headway.types import Reply

__all__ = ["Models"]

KEPT_S: Final = 60.0
FAILED_S: Final = 5.0
"""Where an upstream did not answer: it may be back soon."""
MODELS_MAX: Final = 10_000


class Models:
    """The lists of all homes.

    Args:
        homes: Whose.
        fetch: Asks one for its list.
    """

    def __init__(self, homes: Homes, fetch: Callable[[Home], Awaitable[Reply]]) -> None:
        self._homes = homes
        self._fetch = fetch
        self._lists: dict[str, list[dict[str, Any]]] = {}
        self._until_s = 0.0
        self._lock = asyncio.Lock()

    async def reply(self, *, messages: bool, allowed: Callable[[str], bool] | None = None) -> Reply:
        """The merged list, in the shape that the asking API has.

        Args:
            messages: Whether that is the Messages API, whose clients are told of the models that speak it.
            allowed: Which of them whoever asks may ask; None: all.

        Raises:
            Refused: No upstream gave a list.
        """
        await self._refresh()
        if messages:
            found = [
                model
                for home in self._homes.all
                if home.has("/v1/messages")
                for model in self._of(home)
                if allowed is None or allowed(model["id"])
            ]
            ids = [model["id"] for model in found]
            whole = {"data": found, "has_more": False}
            whole |= {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
        else:
            by_id: dict[str, dict[str, Any]] = {}
            for home in self._homes.all:
                for model in self._of(home):
                    if allowed is None or allowed(model["id"]):
                        by_id.setdefault(model["id"], _as_openai(model, home.name))
            whole = {"object": "list", "data": list(by_id.values())}
        return Reply(200, (("content-type", "application/json"),), msgspec.json.encode(whole))

    async def home_of(self, model: str) -> str:
        """The name of the home that has a model; "" where none does."""
        await self._refresh()
        return next((home.name for home in self._homes.all if any(one["id"] == model for one in self._of(home))), "")

    def _of(self, home: Home) -> list[dict[str, Any]]:
        listed = self._lists.get(home.name, [])
        known = {model["id"] for model in listed}
        return [*listed, *({"id": name, "object": "model"} for name in sorted(home.models - known))]

    async def _refresh(self) -> None:
        async with self._lock:
            loop = asyncio.get_running_loop()
            if loop.time() < self._until_s:
                return
            lists = await asyncio.gather(*(self._list(home) for home in self._homes.all))
            found = {
                home.name: listed for home, listed in zip(self._homes.all, lists, strict=True) if listed is not None
            }
            if not found and not any(home.models for home in self._homes.all):
                raise Refused(502, "no upstream gave a list of its models; try again in a moment", "no_models")
            self._lists = found
            self._until_s = loop.time() + (KEPT_S if len(found) == len(lists) else FAILED_S)

    async def _list(self, home: Home) -> list[dict[str, Any]] | None:
        """One home's list; None where it gave none."""
        try:
            reply = await self._fetch(home)
            body = await reply.read()
        except HeadwayError:
            return None  # its row in the call log says so
        if reply.status != 200:
            return None
        try:
            found = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return None
        data = found.get("data") if isinstance(found, dict) else None
        if not isinstance(data, list):
            return None
        return [model for model in data[:MODELS_MAX] if isinstance(model, dict) and isinstance(model.get("id"), str)]


def _as_openai(model: dict[str, Any], owner: str) -> dict[str, Any]:
    """A model as OpenAI's list has it, with all that the upstream says beside it."""
    return {"object": "model", "created": 0, "owned_by": owner} | {k: v for k, v in model.items() if k != "type"}
