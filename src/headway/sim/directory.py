"""The answers that are neither limited nor booked: models, health, the ledger, and what is not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headway.sim.ledger import Ledger
from headway.sim.profiles import PROFILES
from headway.sim.refusals import model_not_found, not_found, wrong_key

__all__ = ["check_key", "look_up"]

_MODELS: Final = "/v1/models"


def look_up(method: str, path: str, key: str, keys: Sequence[str] | None, ledger: Ledger) -> bytes:
    """The JSON at a path. ``DELETE /sim/ledger`` gives the books one last time and starts new ones.

    Raises:
        Refused: 401 for models without an accepted key, 404 for everything unknown.
    """
    if path == "/healthz" and method == "GET":
        return b'{"status":"ok","simulator":true}'
    if path == "/sim/ledger" and method in ("GET", "DELETE"):
        books = ledger.export()
        if method == "DELETE":
            ledger.reset()
        return books
    if path.startswith(_MODELS) and method == "GET":
        check_key(key, keys)
        name = path.removeprefix(_MODELS).removeprefix("/")
        if not name:
            return msgspec.json.encode({"object": "list", "data": [_model(name) for name in PROFILES]})
        if name not in PROFILES:
            raise model_not_found(name)
        return msgspec.json.encode(_model(name))
    raise not_found(method, path)


def check_key(key: str, keys: Sequence[str] | None) -> None:
    """Any key that is not empty will do unless keys are named. Raises `Refused` (401)."""
    if not key or (keys is not None and key not in keys):
        raise wrong_key(bool(key))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
