"""SIEVE: the bound holds, what is used survives, and the hand stays right whatever is removed."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headway.policy.sieve import Sieve

BYTES_MAX = 20


def test_evicts_oldest_unvisited_first():
    """Without hits SIEVE is a FIFO; a hit spares a key exactly once."""
    sieve: Sieve[str] = Sieve(3)
    assert [sieve.insert(key, 1) for key in "abc"] == [[], [], []]
    sieve.touch("a")
    assert sieve.insert("d", 1) == ["b"]
    assert sieve.insert("e", 1) == ["c"]
    assert sieve.insert("f", 1) == ["d"]
    assert sieve.insert("g", 1) == ["e"]
    assert sieve.insert("h", 1) == ["f"]
    assert sieve.insert("i", 1) == ["g"]
    assert "a" in sieve  # passed over by the hand, which has not come round yet
    assert sieve.insert("j", 1) == ["h"]


def test_hand_comes_round():
    """When everything was visited, one round clears the bits and the key under the hand goes."""
    sieve: Sieve[str] = Sieve(3)
    for key in "abc":
        sieve.insert(key, 1)
        sieve.touch(key)
    assert sieve.insert("d", 1) == ["a"]
    assert sieve.insert("e", 1) == ["b"]


def test_too_large_is_refused():
    """A key above the bound comes straight back with its old self gone, and costs nobody else a place."""
    sieve: Sieve[str] = Sieve(3)
    sieve.insert("a", 1)
    sieve.insert("b", 1)
    assert sieve.insert("b", 4) == ["b"]
    assert "b" not in sieve
    assert "a" in sieve
    assert (len(sieve), sieve.bytes_used) == (1, 1)


def test_unknown_keys_are_ignored():
    """Touching or removing what is not there changes nothing."""
    sieve: Sieve[str] = Sieve(3)
    sieve.touch("a")
    sieve.remove("a")
    assert (len(sieve), sieve.bytes_used) == (0, 0)


class Naive:
    """The same policy as a list from old to young, a set of visited keys, and an index for the hand."""

    def __init__(self) -> None:
        self.queue: list[tuple[int, int]] = []
        self.visited: set[int] = set()
        self.hand = 0

    def keys(self) -> list[int]:
        return [key for key, _ in self.queue]

    def remove(self, key: int) -> bool:
        if key not in self.keys():
            return False
        index = self.keys().index(key)
        del self.queue[index]
        if index < self.hand:
            self.hand -= 1
        if self.hand == len(self.queue):
            self.hand = 0  # past the youngest: the next walk starts at the oldest
        was_visited = key in self.visited
        self.visited.discard(key)
        return was_visited

    def insert(self, key: int, size: int) -> list[int]:
        visited = self.remove(key)
        if size > BYTES_MAX:
            return [key]
        evicted = []
        while sum(size for _, size in self.queue) + size > BYTES_MAX:
            while True:
                candidate = self.queue[self.hand][0]
                if candidate not in self.visited:
                    break
                self.visited.discard(candidate)
                self.hand = (self.hand + 1) % len(self.queue)
            self.remove(candidate)
            evicted.append(candidate)
        self.queue.append((key, size))
        if visited:
            self.visited.add(key)
        return evicted


class SieveMachine(RuleBasedStateMachine):
    """Any sequence of operations evicts the same keys, in the same order, as the naive list."""

    def __init__(self) -> None:
        super().__init__()
        self.sieve: Sieve[int] = Sieve(BYTES_MAX)
        self.naive = Naive()

    @rule(key=st.integers(0, 12), size=st.integers(0, BYTES_MAX + 2))
    def insert(self, key: int, size: int) -> None:
        assert self.sieve.insert(key, size) == self.naive.insert(key, size)

    @rule(key=st.integers(0, 12))
    def insert_small(self, key: int) -> None:
        assert self.sieve.insert(key, 4) == self.naive.insert(key, 4)

    @rule(key=st.integers(0, 12))
    def touch(self, key: int) -> None:
        self.sieve.touch(key)
        if any(key == known for known, _ in self.naive.queue):
            self.naive.visited.add(key)

    @rule(key=st.integers(0, 12))
    def remove(self, key: int) -> None:
        self.sieve.remove(key)
        self.naive.remove(key)

    @invariant()
    def same_contents(self) -> None:
        assert {key for key in range(13) if key in self.sieve} == set(self.naive.keys())
        assert len(self.sieve) == len(self.naive.queue)
        assert self.sieve.bytes_used == sum(size for _, size in self.naive.queue) <= BYTES_MAX


TestSieveMachine = SieveMachine.TestCase
TestSieveMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
