"""What all processes of a machine know of the keys' spending: one transaction for all that a process has to settle.

- `spend`: dollars, tokens and requests by key and day; what the caps are held against, and the monthly bill.
- `held`: dollars that a process may spend without asking again (`policy/key_spend.py`). What a process held that was
  not heard of for a minute is booked as spent, for nobody knows what became of it.
- `levels`: token buckets of requests and tokens a minute, on calendar time. Processes take what they need for the next
  moments, and give back what they did not use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from math import inf

import msgspec

from headway.policy.key_spend import part

__all__ = ["LOST_S", "TABLES", "Ask", "Given", "exchange"]

LOST_S = 60.0
SLICE_S = 0.1
"""How long a process waits at least before it asks again for what the bucket does not hold: a slice of its rate."""
_RESERVE_RATIO = 0.25
"""How much of a full bucket a process takes along at once."""

TABLES = (
    """CREATE TABLE spend (key TEXT NOT NULL, day TEXT NOT NULL, dollars REAL NOT NULL, tokens INTEGER NOT NULL,
        requests INTEGER NOT NULL, PRIMARY KEY (key, day)) WITHOUT ROWID""",
    """CREATE TABLE held (key TEXT NOT NULL, process TEXT NOT NULL, dollars REAL NOT NULL, seen_wall_s REAL NOT NULL,
        PRIMARY KEY (key, process)) WITHOUT ROWID""",
    """CREATE TABLE levels (key TEXT PRIMARY KEY, requests REAL NOT NULL, tokens REAL NOT NULL, at_wall_s REAL NOT NULL)
        WITHOUT ROWID""",
)


class Ask(msgspec.Struct, kw_only=True):
    """What one process has to settle about one key."""

    key: str
    dollars: float = 0.0
    """Spent since the last time; so are `tokens` and `requests`."""
    tokens: int = 0
    requests: int = 0
    per_day: float = inf
    per_month: float = inf
    keep: float = 0.0
    """See `part`; so are `needed` and `welcome`."""
    needed: float = 0.0
    welcome: float = 0.0
    limits: tuple[float, float] = (inf, inf)
    """Requests and tokens a minute."""
    back: tuple[float, float] = (0.0, 0.0)
    """Given back; less than nothing where more was used than was taken."""
    next: tuple[float, float] = (0.0, 0.0)
    """Short of that for the request that goes next."""
    line: tuple[float, float] = (0.0, 0.0)
    """Short of that for all that wait."""


class Given(msgspec.Struct, kw_only=True):
    """What came of it."""

    held: float = 0.0
    spent_day: float = 0.0
    spent_month: float = 0.0
    taken: tuple[float, float] = (0.0, 0.0)
    """Requests and tokens."""
    levels: tuple[float, float] = (inf, inf)
    """Left in the buckets."""
    wait_s: float = 0.0
    """Until what is next may be there; 0.0 where it was."""


def exchange(
    connection: sqlite3.Connection, process: str, day: str, asks: Sequence[Ask], now_wall_s: float
) -> list[Given]:
    """Settle all asks in one transaction. Raises `sqlite3.Error`, and then nothing is done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        given = [_dollars(connection, process, day, ask, now_wall_s) for ask in asks]
        for ask, answer in zip(asks, given, strict=True):
            if ask.limits != (inf, inf):
                _rates(connection, ask, answer, now_wall_s)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return given


def _dollars(connection: sqlite3.Connection, process: str, day: str, ask: Ask, now_wall_s: float) -> Given:
    key, capped = ask.key, ask.per_day < inf or ask.per_month < inf
    lost = connection.execute(
        "SELECT coalesce(sum(dollars), 0.0) FROM held WHERE key = ? AND process != ? AND seen_wall_s < ?",
        (key, process, now_wall_s - LOST_S),
    ).fetchone()[0]
    if lost:
        connection.execute(
            "DELETE FROM held WHERE key = ? AND process != ? AND seen_wall_s < ?", (key, process, now_wall_s - LOST_S)
        )
    if lost or ask.dollars or ask.tokens or ask.requests:
        connection.execute(
            """INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET dollars = dollars + excluded.dollars,
                tokens = tokens + excluded.tokens, requests = requests + excluded.requests""",
            (key, day, ask.dollars + lost, ask.tokens, ask.requests),
        )
    spent_day, spent_month = connection.execute(
        """SELECT coalesce(sum(CASE WHEN day = ? THEN dollars END), 0.0), coalesce(sum(dollars), 0.0) FROM spend
            WHERE key = ? AND day BETWEEN ? AND ?""",
        (day, key, f"{day[:7]}-01", f"{day[:7]}-31"),
    ).fetchone()
    if not capped:
        return Given(spent_day=spent_day, spent_month=spent_month)
    others = connection.execute(
        "SELECT coalesce(sum(dollars), 0.0) FROM held WHERE key = ? AND process != ?", (key, process)
    ).fetchone()[0]
    room = min(ask.per_day - spent_day, ask.per_month - spent_month) - others
    held = part(room=room, keep=ask.keep, needed=ask.needed, welcome=ask.welcome)
    if held > 0.0:
        connection.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)", (key, process, held, now_wall_s))
    else:
        connection.execute("DELETE FROM held WHERE key = ? AND process = ?", (key, process))
    return Given(held=held, spent_day=spent_day, spent_month=spent_month)


def _rates(connection: sqlite3.Connection, ask: Ask, given: Given, now_wall_s: float) -> None:
    """Both buckets hold a minute's worth, and refill continuously. Source: FACTS section 2 (how providers do it)."""
    row = connection.execute("SELECT requests, tokens, at_wall_s FROM levels WHERE key = ?", (ask.key,)).fetchone()
    *before, at_wall_s = row or (*ask.limits, now_wall_s)
    elapsed_s = max(0.0, now_wall_s - at_wall_s)
    levels, waits_s = [], []
    for nth, limit in enumerate(ask.limits):
        level = inf
        if limit < inf:
            refilled = (before[nth] if before[nth] < inf else limit) + elapsed_s * limit / 60.0 + ask.back[nth]
            level = min(limit, refilled)
            missing = min(ask.next[nth], limit) - level
            waits_s.append(missing * 60.0 / limit if missing > 1e-9 else 0.0)
        levels.append(level)
    taken = [0.0, 0.0]
    wait_s = max(waits_s)
    if wait_s > 0.0:
        given.wait_s = max(wait_s, SLICE_S)
    elif ask.next != (0.0, 0.0):
        for nth, limit in enumerate(ask.limits):
            if limit < inf:
                spare = max(0.0, min(levels[nth], max(ask.line[nth], _RESERVE_RATIO * levels[nth])))
                taken[nth] = max(ask.next[nth], spare)
                levels[nth] -= taken[nth]
    given.taken, given.levels = (taken[0], taken[1]), (levels[0], levels[1])
    kept = [level if level < inf else 0.0 for level in levels]
    connection.execute(
        "INSERT OR REPLACE INTO levels VALUES (?, ?, ?, ?)", (ask.key, *kept, max(now_wall_s, at_wall_s))
    )
