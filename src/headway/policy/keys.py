"""What a virtual key may do, by its record and those of the keys it stands below. What is not allowed is denied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import inf

import msgspec

__all__ = ["PATHS", "Denied", "Key", "allows", "bounded_priority", "ends_wall_s", "may_ask"]

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/models/*",
    "/v1/responses",
)
"""What a key may ask for when nothing else is said: models. Files and batches are the whole account's, so that one key
would see another's; they have to be named."""

_COSTLESS = frozenset(("/v1/files", "/v1/messages/count_tokens"))
"""Paths that no reader knows, and whose POST costs nothing."""
_PLAIN = re.compile(r"(?:/(?!\.\.?(?:/|$))(?:[A-Za-z0-9._~@:!$&'()*+,=-]|%3[Aa])+)+")
"""No empty or dotted segment, and nothing that means something else when it is decoded, but a colon."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key's record. It holds nothing that would let anybody in: digests of secrets are kept elsewhere."""

    id: str
    """12 hex digits; it stays when the secret is rotated."""
    name: str
    created_wall_s: float = 0.0
    expires_wall_s: float = inf
    revoked_wall_s: float = inf
    parent: str = ""
    """Id of the key whose rights and limits bound its own; "" for none."""
    models: tuple[str, ...] = ("*",)
    """Globs; case matters."""
    paths: tuple[str, ...] = PATHS
    """Globs over the raw path without its query; "*" stands for slashes, too."""
    requests_per_min: float = inf
    tokens_per_min: float = inf
    dollars_per_day: float = inf
    dollars_per_month: float = inf
    """Calendar days and months, UTC."""
    priority: int = 0
    """Its requests'; a request may ask for less, not for more."""
    share: str = ""
    """Keys of one group share kept answers and answers under way; "": with nobody."""
    admin: bool = False
    """May see the dashboard and what else is the operator's."""

    @property
    def has_cap(self) -> bool:
        """Whether dollars are counted against a bound."""
        return self.dollars_per_day < inf or self.dollars_per_month < inf


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """Why not."""

    status: int
    code: str
    reason: str
    """A sentence for the client, without anything secret."""


def ends_wall_s(chain: Sequence[Key]) -> float:
    """When the key stops to be one: the earliest expiry or revocation of it and those above it."""
    return min(min(key.expires_wall_s, key.revoked_wall_s) for key in chain)


def allows(
    chain: Sequence[Key], path: str, model: str | None, *, now_wall_s: float, readable: bool = True
) -> Denied | None:
    """Whether a request may be made; None when it may.

    Args:
        chain: The key, its parent, the parent's parent ...; all of them have to allow it.
        path: As the client wrote it, without the query.
        model: The model that is asked; "" where the request names none, None where that is not known (yet).
        now_wall_s: The time now.
        readable: Whether its model and its cost can be told before it is sent: a GET, or a path that a reader knows.
    """
    if not chain:
        return Denied(status=401, code="invalid_key", reason="this gateway does not know the key")
    if any(key.revoked_wall_s <= now_wall_s for key in chain):
        return Denied(status=401, code="key_revoked", reason="this key was revoked; ask for another")
    if any(key.expires_wall_s <= now_wall_s for key in chain):
        return Denied(status=401, code="key_expired", reason="this key has expired; ask for another")
    if _PLAIN.fullmatch(path) is None or not all(_matches(path, key.paths) for key in chain):
        return Denied(status=403, code="path_not_allowed", reason=f"this key may not use {path[:200]!r}")
    if model is not None and not may_ask(chain, model):
        named = f"the model {model[:100]!r}" if model else "requests that name no model"
        return Denied(status=403, code="model_not_allowed", reason=f"this key may not use {named}")
    if not readable and path not in _COSTLESS and any(key.has_cap or "*" not in key.models for key in chain):
        return Denied(
            status=403,
            code="cost_unknown",
            reason=f"what a request to {path[:200]!r} asks for and costs cannot be told beforehand, and this key is "
            "bound to models or dollars",
        )
    return None


def may_ask(chain: Sequence[Key], model: str) -> bool:
    """Whether the key, and all above it, have the model; "" stands for a request that names none."""
    return all(_matches(model, key.models) for key in chain)


def bounded_priority(chain: Sequence[Key], asked: int) -> int:
    """The priority of a request that asks for one, 0 for none: the least of it and of the keys'."""
    most = min(key.priority for key in chain)
    return min(asked, most) if asked else most


def _matches(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)
