"""The filter of keys: it may call present what is not, and absent only what others put in the last seconds."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.store import presence
from headway.store.base import Entry
from headway.store.presence import KeyFilter, Presence
from headway.store.sqlite import SqliteStore
from headway.store.writer import WriterSettings


def key(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


ENTRY = Entry(body=b"{}", stored_wall_s=1.0, fresh_until_wall_s=2e9, stale_until_wall_s=3e9)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Its writes are inline, and it keeps no filter: another process, to the tests here."""
    opened = SqliteStore(tmp_path / "c.db", 10_000_000, writer=WriterSettings(inline=True))
    yield opened
    opened.close()


def put(store: SqliteStore, numbers: range) -> None:
    for number in numbers:
        store.put(key(number), ENTRY)
    store.flush()


def settle(watched: Presence, store: SqliteStore, connection: object = None) -> None:
    connection = connection or store._writer._work._connection
    while watched.refresh(connection):  # type: ignore[arg-type]
        pass


@given(st.sets(st.binary(min_size=1, max_size=40), max_size=50))
def test_what_was_added_is_never_absent(keys: set[bytes]):
    """Keys of any length, also those shorter than the hash that is taken of them."""
    filter_ = KeyFilter(64)
    filter_.add(int.from_bytes(key_[:8], "little") for key_ in keys)
    assert all(key_ in filter_ for key_ in keys)


def test_few_absent_keys_look_present():
    """Filled with as many keys as it is made for, it takes at most 8 % of other keys for present."""
    filter_ = KeyFilter(4_096)
    filter_.add(int.from_bytes(key(number)[:8], "little") for number in range(4_096))
    assert sum(key(number) in filter_ for number in range(10_000, 20_000)) < 800


def test_loads_in_chunks_and_follows(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """All keys on disk are present once loaded; what another process puts later is after the next look, not before."""
    monkeypatch.setattr(presence, "_CHUNK", 7)
    put(store, range(50))
    now_s = 100.0
    watched = Presence(lambda: now_s)
    assert not watched.absent(key(999))  # nothing is known yet
    settle(watched, store)
    assert not any(watched.absent(key(number)) for number in range(50))
    assert watched.absent(key(999))
    put(store, range(50, 80))
    settle(watched, store)  # too early: not a second has gone by
    assert any(watched.absent(key(number)) for number in range(50, 80))
    now_s += presence.REFRESH_S
    settle(watched, store)
    assert not any(watched.absent(key(number)) for number in range(80))


def test_own_keys_are_present_while_it_loads(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """What is put between two chunks of loading is present when the filter comes into use."""
    monkeypatch.setattr(presence, "_CHUNK", 7)
    put(store, range(50))
    watched = Presence(lambda: 0.0)
    for _ in range(5):
        assert watched.refresh(store._writer._work._connection)  # type: ignore[arg-type]
    watched.add([bytes(32)])  # sorts before what was read
    settle(watched, store)
    assert not watched.absent(bytes(32))


def test_out_of_use_when_nobody_looks(store: SqliteStore):
    """A filter that was not refreshed for `STALE_S` calls nothing absent."""
    put(store, range(5))
    now_s = 0.0
    watched = Presence(lambda: now_s)
    settle(watched, store)
    assert watched.absent(key(999))
    now_s += presence.STALE_S
    assert not watched.absent(key(999))


def test_another_file_is_read_anew(store: SqliteStore, tmp_path: Path):
    """When the writer has opened another file, the filter is that file's."""
    put(store, range(5))
    watched = Presence(lambda: 0.0)
    settle(watched, store)
    other = SqliteStore(tmp_path / "other.db", 1_000_000, writer=WriterSettings(inline=True))
    put(other, range(5, 9))
    settle(watched, other)
    assert not any(watched.absent(key(number)) for number in range(5, 9))
    other.close()


def test_grows_with_the_cache(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """When more was put than it was made for, it is made anew, larger."""
    monkeypatch.setattr(presence, "_KEYS_MIN", 16)
    now_s = 0.0
    watched = Presence(lambda: now_s)
    put(store, range(3))
    settle(watched, store)
    put(store, range(500))
    for _ in range(2):
        now_s += presence.REFRESH_S
        settle(watched, store)
    assert not any(watched.absent(key(number)) for number in range(500))
    assert sum(watched.absent(key(number)) for number in range(1_000, 2_000)) > 900


def test_purged_ids_are_not_used_again(store: SqliteStore):
    """After a purge by another process, what it puts next is seen: ids go on."""
    now_s = 0.0
    watched = Presence(lambda: now_s)
    put(store, range(20))
    settle(watched, store)
    store.purge()
    put(store, range(100, 105))
    now_s += presence.REFRESH_S
    settle(watched, store)
    assert not any(watched.absent(key(number)) for number in range(100, 105))


def test_misses_leave_the_file_alone(store: SqliteStore, tmp_path: Path):
    """Once the thread has loaded the filter, a miss does not even open the file; own puts are found at every moment."""
    threaded = SqliteStore(tmp_path / "c.db", 10_000_000, writer=WriterSettings(batch_s=0.001))
    threaded.put(key(1), ENTRY)
    for _ in range(2_000):
        if threaded._presence.absent(key(2)):
            break
        time.sleep(0.005)
    assert threaded._reader is None
    assert threaded.get(key(2)) is None
    assert threaded._reader is None
    assert threaded.stats().misses == 1
    for _ in range(500):
        own = os.urandom(32)
        threaded.put(own, ENTRY)
        assert threaded.get(own) == ENTRY
        threaded.flush()
        assert threaded.get(own) == ENTRY
    threaded.close()
