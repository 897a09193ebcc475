"""The memory tier: a dict that keeps to its bytes and prefers what is used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.store.base import Entry
from headway.store.memory import MemoryStore, entry_bytes


def entry(body: bytes = b"{}", **fields: object) -> Entry:
    return Entry(body=body, stored_wall_s=1.0, fresh_until_wall_s=2.0, stale_until_wall_s=3.0, **fields)  # type: ignore[arg-type]


def test_returns_what_was_put():
    """The very entry comes back, until it is deleted."""
    store = MemoryStore(10_000)
    first, second = entry(), entry(b"[]")
    store.put(b"a", first)
    assert store.get(b"a") is first
    store.put(b"a", second)
    assert store.get(b"a") is second
    store.delete(b"a")
    store.delete(b"a")
    assert store.get(b"a") is None


def test_used_entries_survive():
    """An entry in use outlives newer ones that nobody asks for."""
    store = MemoryStore(10 * entry_bytes(entry()))
    store.put(b"hot", entry())
    for number in range(200):
        store.put(b"%d" % number, entry())
        assert store.get(b"hot") is not None
    assert store.stats().evictions == 191


def test_too_large_is_refused():
    """An entry above the bound is not kept, nor its outdated predecessor; nothing else goes for it."""
    store = MemoryStore(3_000)
    store.put(b"a", entry())
    store.put(b"b", entry())
    store.put(b"b", entry(b"x" * 4_000))
    assert store.get(b"b") is None
    assert store.get(b"a") is not None


def test_headers_count():
    """Headers are part of the bytes."""
    bare, dressed = entry(), entry(headers=(("content-type", "application/json"),))
    assert entry_bytes(dressed) > entry_bytes(bare) + len("content-typeapplication/json")


def test_stats_count():
    """Hits, misses, puts, entries and bytes are counted; close empties."""
    store = MemoryStore(10_000)
    store.put(b"a", entry())
    store.get(b"a")
    store.get(b"b")
    stats = store.stats()
    assert (stats.hits, stats.misses, stats.puts, stats.entries) == (1, 1, 1, 1)
    assert stats.bytes_used == entry_bytes(entry())
    store.close()
    store.close()
    assert store.stats().bytes_used == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 3_000)), max_size=60))
def test_against_a_dict(operations: list[tuple[int, int | None]]):
    """Never a wrong entry, never above the bound, and the last put is there."""
    store, model = MemoryStore(8_000), dict[bytes, Entry]()
    for number, size in operations:
        key = b"%d" % number
        if size is None:
            store.delete(key)
            model.pop(key, None)
        else:
            model[key] = entry(b"x" * size)
            store.put(key, model[key])
            assert store.get(key) is model[key]
        for known in map(b"%d".__mod__, range(10)):
            assert store.get(known) in (None, model.get(known))
        assert store.stats().bytes_used <= 8_000
