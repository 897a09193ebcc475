"""Making, changing and listing keys: for commands and the operator's page. Here one may wait for the disk."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from headway.errors import ConfigError, InputError
from headway.gateway.keys.records import DEPTH_MAX, Known, SpendRow, key_file, read_known
from headway.gateway.keys.text import new_id, new_secret
from headway.policy.keys import Key
from headway.types.secret import Secret

__all__ = ["KeyStore"]

KEYS_MAX = 100_000

T = TypeVar("T")


class KeyStore:
    """Makes, changes and lists keys: for commands and the admin's page. It may wait for the disk.

    Args:
        path: The file; made when it is missing.
        wall_s: Calendar time.
        only_reads: The file is there, and nothing is to be changed: nobody who writes is waited for.

    Raises:
        ConfigError: The file cannot be had, or is not one of keys.
    """

    def __init__(self, path: Path, *, wall_s: Callable[[], float] = time.time, only_reads: bool = False) -> None:
        self.path = path
        self._wall_s = wall_s
        file = key_file(path)
        if only_reads:
            self._connection = self._tried(file.open_to_read)
            return
        self._connection = file.open()
        self._connection.execute("PRAGMA synchronous = FULL")  # who was told that a key is revoked can rely on it

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._connection.close()

    def known(self) -> Known:
        """All keys."""
        return self._tried(lambda: read_known(self._connection))

    def create(self, key: Key) -> tuple[Key, Secret]:
        """Make a key.

        Args:
            key: Its name, rights and limits; `id` and `created_wall_s` are set here, `parent` may be a name.

        Returns:
            The key as it is kept, and its text, which nobody can ever see again.

        Raises:
            InputError: The name is taken, or the parent is none.
        """

        def make() -> tuple[Key, Secret]:
            known, now_s = read_known(self._connection), self._wall_s()
            if len(known.keys) >= KEYS_MAX:
                raise InputError(f"there are {KEYS_MAX} keys already, as many as one file holds")
            if any(other.name == key.name and other.revoked_wall_s == inf for other in known.keys.values()):
                raise InputError(f"there is a key called {key.name!r} already; revoke it, or choose another name")
            parent = ""
            if key.parent:
                above = known.find(key.parent)
                parent = above.id
                if above.revoked_wall_s <= now_s or above.expires_wall_s <= now_s:
                    raise InputError(f"the key {key.parent!r} is revoked or expired; nothing can stand below it")
                if len(known.chain(parent)) >= DEPTH_MAX:
                    raise InputError(f"keys stand at most {DEPTH_MAX} deep; choose a parent higher up")
                if key.admin and not above.admin:
                    raise InputError(f"the key {key.parent!r} is no admin's, so none below it can be")
            made = replace(key, id=new_id(), parent=parent, created_wall_s=now_s)
            self._keep(made)
            return made, self._add_secret(made.id, now_s, "")

        return self._edited(make)

    def revoke(self, key: str) -> Key:
        """End a key, and with it those below it, for good. Raises `InputError` where there is none."""

        def end() -> Key:
            found = read_known(self._connection).find(key)
            ended = replace(found, revoked_wall_s=min(found.revoked_wall_s, self._wall_s()))
            self._keep(ended)
            return ended

        return self._edited(end)

    def rotate(self, key: str, *, grace_s: float) -> tuple[Key, Secret]:
        """Give a key another secret.

        Args:
            key: Its name or id.
            grace_s: How long those that it has are still taken.

        Raises:
            InputError: There is no such key, or it has ended.
        """

        def turn() -> tuple[Key, Secret]:
            known, now_s = read_known(self._connection), self._wall_s()
            found = known.find(key)
            if found.revoked_wall_s <= now_s or found.expires_wall_s <= now_s:
                raise InputError(f"the key {key!r} has ended; create another")
            self._connection.execute("DELETE FROM secrets WHERE key = ? AND until_wall_s <= ?", (found.id, now_s))
            latest = max(
                (row for row in known.secrets.values() if row.key == found.id),
                key=lambda row: (row.until_wall_s == inf, row.created_wall_s),
            )
            self._connection.execute(
                "UPDATE secrets SET until_wall_s = min(coalesce(until_wall_s, 9e99), ?) WHERE key = ?",
                (now_s + grace_s, found.id),
            )
            return found, self._add_secret(found.id, now_s, latest.id)

        return self._edited(turn)

    def spend(self, month: str = "", key: str = "") -> list[SpendRow]:
        """What keys spent, by month and name.

        Args:
            month: Such as "2026-11"; "" for all.
            key: A name or an id; "" for all.

        Raises:
            InputError: There is no such key.
        """
        known = self.known()
        only = known.find(key).id if key else ""
        rows = self._tried(
            lambda: self._connection.execute(
                """SELECT substr(day, 1, 7) AS month, key, sum(dollars), sum(tokens), sum(requests) FROM spend
                WHERE (? = '' OR substr(day, 1, 7) = ?) AND (? = '' OR key = ?) GROUP BY month, key""",
                (month, month, only, only),
            ).fetchall()
        )
        names = {id_: key.name for id_, key in known.keys.items()}
        found = [
            SpendRow(month=at, key=id_, name=names.get(id_, ""), dollars=dollars, tokens=tokens, requests=requests)
            for at, id_, dollars, tokens, requests in rows
        ]
        return sorted(found, key=lambda row: (row.month, row.name, row.key))

    def spend_of_day(self, day: str) -> dict[str, float]:
        """Dollars by key's id, of a day (UTC) such as "2026-11-21"."""
        return dict(
            self._tried(
                lambda: self._connection.execute(
                    "SELECT key, sum(dollars) FROM spend WHERE day = ? GROUP BY key", (day,)
                ).fetchall()
            )
        )

    def _keep(self, key: Key) -> None:
        data = {name: value for name, value in msgspec.structs.asdict(key).items() if value != inf}
        self._connection.execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?)", (key.id, msgspec.json.encode(data).decode())
        )

    def _add_secret(self, key: str, now_s: float, replaces: str) -> Secret:
        id_ = new_id()
        text, digest = new_secret(id_)
        self._connection.execute(
            "INSERT INTO secrets VALUES (?, ?, ?, ?, NULL, ?)", (id_, key, digest, now_s, replaces)
        )
        return text

    def _edited(self, edit: Callable[[], T]) -> T:
        def do() -> T:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                done = edit()
                self._connection.execute("UPDATE edits SET count = count + 1")
            return done

        return self._tried(do)

    def _tried(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except sqlite3.Error as error:
            raise ConfigError(f"the file of keys {self.path} cannot be used: {error}; try again, or mend it") from error
