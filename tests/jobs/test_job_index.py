"""The index of a journal: as right as a dict, at a tenth of its memory."""

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
    """Ten million rows must fit: beyond what an index takes that has some in each shard, 20 bytes each."""
    used_bytes = []
    tracemalloc.start()
    try:
        index = Index()
        for offset in range(80_000):
            index.put(f"{offset}#0", offset)
            if offset in (39_999, 79_999):
                used_bytes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert len(index) == 80_000
    assert used_bytes[1] - used_bytes[0] < 20 * 40_000
