"""What the file of keys holds: records, digests of secrets, and what was spent. It is readable by its owner only.

A key has one secret, or several while it is being rotated; limits and spending are the key's. One number (`edits`)
shows whether keys have changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path

import msgspec

from headway.config import state_dir
from headway.errors import ConfigError, InputError
from headway.gateway.keys.ledger import TABLES
from headway.policy.keys import Key, ends_wall_s
from headway.store.database import DatabaseFile, Layout
from headway.store.writer import log_warning

__all__ = ["DEPTH_MAX", "Known", "SecretRow", "SpendRow", "default_path", "key_file", "read_known"]

LAYOUT = Layout(
    kind="file of keys",
    application_id=0x48574B31,  # "HWK1"
    version=1,
    schema=(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE secrets (id TEXT PRIMARY KEY, key TEXT NOT NULL, digest BLOB NOT NULL,
            created_wall_s REAL NOT NULL, until_wall_s REAL, replaces TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE edits (count INTEGER NOT NULL)",
        "INSERT INTO edits VALUES (0)",
        *TABLES,
    ),
    older="keep",
)
DEPTH_MAX = 8
"""Keys below keys."""
_SECRETS = "SELECT id, key, digest, created_wall_s, until_wall_s, replaces FROM secrets ORDER BY created_wall_s"


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key."""

    id: str
    """The public part of the key's text."""
    key: str
    digest: bytes
    created_wall_s: float
    until_wall_s: float = inf
    """When it ends, where another has taken its place."""
    replaces: str = ""

    def __repr__(self) -> str:
        return f"SecretRow(id={self.id!r}, key={self.key!r})"


class SpendRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a key's requests took in a month; those of the keys below it are among them."""

    month: str
    key: str
    name: str
    dollars: float
    tokens: int
    requests: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All keys, as they were at one moment."""

    edits: int
    keys: dict[str, Key]
    secrets: dict[str, SecretRow]

    def chain(self, id_: str) -> tuple[Key, ...]:
        """A key, its parent, the parent's parent ...; () where one of them is missing."""
        found: list[Key] = []
        while id_:
            key = self.keys.get(id_)
            if key is None or len(found) >= DEPTH_MAX:
                return ()
            found.append(key)
            id_ = key.parent
        return tuple(found)

    def usable(self, now_wall_s: float) -> int:
        """How many keys can be used."""
        chains = map(self.chain, self.keys)
        return sum(ends_wall_s(chain) > now_wall_s for chain in chains if chain)

    def find(self, name: str) -> Key:
        """The key of that id, or of that name: the one that still stands, else the youngest.

        Raises:
            InputError: There is none.
        """
        named = [key for key in self.keys.values() if name in (key.id, key.name)]
        if not named:
            raise InputError(f"there is no key called {name!r}; `headway keys list` shows all")
        return max(named, key=lambda key: (key.id == name, key.revoked_wall_s, key.created_wall_s))


def default_path(environ: Mapping[str, str]) -> Path:
    """keys.sqlite in the state directory."""
    return state_dir(environ) / "keys.sqlite"


def key_file(path: Path, warn: Callable[[str], None] = log_warning) -> DatabaseFile:
    """The file at a path, to be opened."""
    return DatabaseFile(path, LAYOUT, warn)


def read_known(connection: sqlite3.Connection) -> Known:
    """All keys, as of one moment. Raises `sqlite3.Error`, and `ConfigError` where a record is broken."""
    alone = not connection.in_transaction
    if alone:
        connection.execute("BEGIN")
    try:
        edits = connection.execute("SELECT count FROM edits").fetchone()[0]
        rows = connection.execute("SELECT data FROM keys").fetchall()
        secrets = connection.execute(_SECRETS).fetchall()
    finally:
        if alone:
            connection.execute("COMMIT")
    try:
        keys = [msgspec.json.decode(data, type=Key) for (data,) in rows]
    except msgspec.MsgspecError as error:
        raise ConfigError(f"a record in the file of keys cannot be read ({error}); mend it, or use a copy") from error
    return Known(
        edits=edits, keys={key.id: key for key in keys}, secrets={secret.id: secret for secret in map(_secret, secrets)}
    )


def _secret(row: tuple[str, str, bytes, float, float | None, str]) -> SecretRow:
    id_, key, digest, created_wall_s, until_wall_s, replaces = row
    return SecretRow(
        id=id_,
        key=key,
        digest=digest,
        created_wall_s=created_wall_s,
        until_wall_s=inf if until_wall_s is None else until_wall_s,
        replaces=replaces,
    )
