"""Keys and what they spent, for the operator's page; these may wait for the disk, so they run on a thread."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import msgspec

from headway.gateway.keys import KeyStore
from headway.policy.keys import Key, ends_wall_s

__all__ = ["KeyLine", "KeyLines", "keys_of", "spend_csv"]

KEYS_MAX = 1_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula's beginning. Source: OWASP, "CSV Injection"."""


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A key, its limits (None: none), and what it spent. Nothing that lets anybody in is in it."""

    id: str
    name: str
    state: str
    """"stands", "expired" or "revoked"; a key also ends with the one above it."""
    created_wall_s: float
    expires_wall_s: float | None
    parent: str
    models: list[str]
    paths: list[str]
    requests_per_min: float | None
    tokens_per_min: float | None
    dollars_per_day: float | None
    dollars_per_month: float | None
    priority: int
    share: str
    admin: bool
    day_dollars: float
    """Today (UTC), and this month."""
    month_dollars: float
    month_requests: int
    month_tokens: int


class KeyLines(msgspec.Struct, frozen=True, kw_only=True):
    """All keys by name, those that stand first; at most 1,000."""

    keys: list[KeyLine]
    more: bool
    """Whether there are more."""


def keys_of(path: Path) -> KeyLines:
    """The keys of a file. Raises `ConfigError` where it cannot be read."""
    now_s = time.time()
    now = datetime.fromtimestamp(now_s, UTC)
    with KeyStore(path, only_reads=True) as store:
        known = store.known()
        month = {row.key: row for row in store.spend(now.strftime("%Y-%m"))}
        today = store.spend_of_day(now.strftime("%Y-%m-%d"))
    lines = []
    for key in known.keys.values():
        chain, spent = known.chain(key.id), month.get(key.id)
        lines.append(
            KeyLine(
                id=key.id,
                name=key.name,
                state=_state(chain, now_s),
                created_wall_s=key.created_wall_s,
                expires_wall_s=_or_none(key.expires_wall_s),
                parent=key.parent,
                models=list(key.models),
                paths=list(key.paths),
                requests_per_min=_or_none(key.requests_per_min),
                tokens_per_min=_or_none(key.tokens_per_min),
                dollars_per_day=_or_none(key.dollars_per_day),
                dollars_per_month=_or_none(key.dollars_per_month),
                priority=key.priority,
                share=key.share,
                admin=key.admin,
                day_dollars=today.get(key.id, 0.0),
                month_dollars=spent.dollars if spent is not None else 0.0,
                month_requests=spent.requests if spent is not None else 0,
                month_tokens=spent.tokens if spent is not None else 0,
            )
        )
    lines.sort(key=lambda line: (line.state != "stands", line.name, line.created_wall_s))
    return KeyLines(keys=lines[:KEYS_MAX], more=len(lines) > KEYS_MAX)


def spend_csv(path: Path, month: str) -> str:
    """What each key spent in each month, as `headway keys spend` has it, safe for spreadsheets."""
    with KeyStore(path, only_reads=True) as store:
        rows = store.spend(month)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["month", "key", "name", "dollars", "tokens", "requests"])
    for row in rows:
        name = f"'{row.name}" if row.name.startswith(_FORMULA) else row.name
        writer.writerow((row.month, row.key, name, f"{row.dollars:.6f}", row.tokens, row.requests))
    return text.getvalue()


def _state(chain: tuple[Key, ...], now_s: float) -> str:
    if not chain or ends_wall_s(chain) <= now_s:
        return "revoked" if not chain or any(key.revoked_wall_s <= now_s for key in chain) else "expired"
    return "stands"


def _or_none(value: float) -> float | None:
    return None if value == inf else value
