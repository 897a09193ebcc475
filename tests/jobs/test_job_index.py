"""The index of a journal: as right as a dict, at a tenth of its memory."""

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from headway.jobs.index import Index


class Twin(str):
    """A text with one of four hashes: collisions, which real hashes do not have often enough to be tested."""

    __slots__ = ()

    def __hash__(self):
        return len(self) % 4 - 1


@given(st.lists(st.tuples(st.text("ab", max_size=6), st.integers(0, 2**40), st.booleans())))
def test_as_right_as_a_dict(steps):
    """Whatever is put in and asked for, and however hashes collide, it answers as a dict does."""
    owners: dict[int, str] = {}
    index, plain = Index(lambda value, key: owners[value] == key), {}
    for number, (text, value, put) in enumerate(steps):
        key = Twin(text)
        if put:
            value = value * len(steps) + number  # a value of its own, as a line's offset is
            owners[value] = text
            index.put(key, value)
            plain[text] = value
        assert index.get(key) == plain.get(text, -1)
        assert len(index) == len(plain)


@given(st.lists(st.text("ab", max_size=4)))
def test_counts_what_came_before(keys):
    """`count` numbers equals from 0, in the order they come."""
    index = Index()
    for number, key in enumerate(keys):
        assert index.count(key) == keys[:number].count(key)


def test_a_key_takes_some_twenty_bytes():
    """Ten million rows must fit: 200,000 keys take less than 25 bytes each, the empty index included."""
    rng = random.Random(1)
    tracemalloc.start()
    try:
        index = Index()
        for offset in range(200_000):
            index.put(f"{rng.getrandbits(128):032x}#0", offset)
        used_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(index) == 200_000
    assert used_bytes < 25 * 200_000
