"""The merge tree and its groups: plain numbers in, groups out."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.policy.tree import Group, Node, fan_in_for, groups_that_fit, merge_tree, pilots


def leaves(node: Node, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Each part, and how many merges are behind it."""
    if isinstance(node, int):
        yield node, depth
    else:
        for child in node.children:
            yield from leaves(child, depth + 1)


def groups(node: Node) -> Iterator[Group]:
    if not isinstance(node, int):
        yield node
        for child in node.children:
            yield from groups(child)


@given(st.integers(1, 700), st.integers(2, 40), st.integers(2, 40))
def test_every_part_is_merged_once_in_order_and_every_merge_fits(parts: int, fan_in: int, merged: int) -> None:
    merged = min(merged, fan_in)
    tree = merge_tree(parts, fan_in, merged)
    found = list(leaves(tree))
    assert [part for part, _ in found] == list(range(parts))
    for group in groups(tree):
        below = [part for part, _ in leaves(group)]
        assert (group.first, group.last) == (below[0], below[-1])
        assert len(group.children) >= 2
        singles = sum(isinstance(child, int) for child in group.children)
        assert singles * merged + (len(group.children) - singles) * fan_in <= fan_in * merged
    levels, most = max(depth for _, depth in found), 1
    for level in range(levels - 1):
        most = most * (merged if level else fan_in)
    assert levels == 0 or parts > most  # no lower tree would do


@given(st.integers(2, 1_600), st.integers(2, 40))
def test_few_merges_are_made(parts: int, fan_in: int) -> None:
    """The fewest that are possible on two levels, and not many more on three."""
    merges, fewest = len(list(groups(merge_tree(parts, fan_in)))), ceil((parts - 1) / (fan_in - 1))
    assert merges == fewest if parts <= fan_in**2 else merges <= 1.5 * fewest + 1


def test_parts_that_are_merged_late_are_spread_over_the_text() -> None:
    """Twelve parts by fours: three groups, and a part in front of the last, not four parts at the end."""
    tree = merge_tree(12, 4)
    assert isinstance(tree, Group)
    assert [child if isinstance(child, int) else (child.first, child.last) for child in tree.children] == [
        0, (1, 3), (4, 7), (8, 11),
    ]  # fmt: skip


@pytest.mark.parametrize(("parts", "fan_in"), [(0, 2), (3, 1)])
def test_numbers_that_make_no_tree_are_refused(parts: int, fan_in: int) -> None:
    with pytest.raises(ConfigError, match="a tree needs"):
        merge_tree(parts, fan_in)


@given(st.lists(st.integers(1, 300), max_size=8), st.integers(64, 20_000), st.integers(1, 400))
def test_as_many_are_merged_at_once_as_are_likely_to_fit(sizes: list[int], room: int, asked: int) -> None:
    fan_in = fan_in_for(sizes, room, asked)
    assert fan_in >= 2
    if fan_in > 2:
        assert fan_in * (sum(sizes) / len(sizes) if sizes else asked) <= room
    if len(set(sizes)) == 1:
        assert fan_in == max(2, room // sizes[0])


def test_pilots_are_spread_over_the_text() -> None:
    assert pilots(1) == [0]
    assert pilots(5) == [0, 1, 2, 3, 4]
    assert pilots(100) == [0, 14, 28, 42, 57, 71, 85, 99]


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(1, 250))
def test_groups_cover_all_in_order_and_fit(sizes: list[int], room: int) -> None:
    ranges = groups_that_fit(sizes, room)
    assert [at for start, end in ranges for at in range(start, end)] == list(range(len(sizes)))
    for start, end in ranges:
        assert end - start == 1 or sum(sizes[start:end]) <= room
    if sum(sizes) <= room:
        assert len(ranges) <= 1


@given(st.lists(st.integers(0, 100), min_size=3, max_size=60), st.integers(200, 400))
def test_where_any_two_fit_there_are_fewer_groups_than_members(sizes: list[int], room: int) -> None:
    """So merging them shrinks, and comes to an end."""
    assert len(groups_that_fit(sizes, room)) < len(sizes)


def test_groups_are_about_as_large() -> None:
    """Seven of ten into room for six: not six and one."""
    assert groups_that_fit([10] * 7, 60) == [(0, 4), (4, 7)]
