"""The order of waiting, and leaving or moving while waiting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.queue import FairQueue


class Item:
    """Told apart by identity."""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["push", "pop", "remove", "move"]),
            st.integers(-1, 1),
            st.integers(0, 5),
            st.integers(0, 30),
        ),
        max_size=120,
    )
)
def test_it_behaves_like_a_sorted_list(steps):
    """Priority, then deadline, then arrival; removed and moved items are where they belong; never more than fits."""
    queue: FairQueue[Item] = FairQueue(20)
    model: list[tuple[tuple[float, float, int], Item]] = []
    for seq, (what, priority, deadline, pick) in enumerate(steps):
        if what == "push":
            item = Item()
            fits = queue.push(item, priority=priority, deadline_at_s=deadline)
            assert fits == (len(model) < 20)
            if fits:
                model.append(((-priority, deadline, seq), item))
        elif what == "pop":
            model.sort(key=lambda entry: entry[0])
            expected = model.pop(0)[1] if model else None
            assert queue.peek() is expected
            assert queue.pop() is expected
        elif model:
            at = pick % len(model)
            item = model[at][1]
            if what == "remove":
                assert queue.remove(item)
                assert not queue.remove(item)
                del model[at]
            else:
                queue.move(item, priority=priority, deadline_at_s=deadline)
                was = model[at][0]
                model[at] = ((min(was[0], -priority), min(was[1], deadline), was[2]), item)
        assert len(queue) == len(model)
        assert {id(i) for i in queue} == {id(i) for _, i in model}


def test_moving_what_does_not_wait_does_nothing():
    """A waiter that was served meanwhile stays served."""
    queue: FairQueue[Item] = FairQueue(2)
    item = Item()
    queue.move(item, priority=1, deadline_at_s=0)
    assert len(queue) == 0
    assert queue.pop() is None


def test_a_thousand_moves_leave_no_thousand_entries():
    """A hot item that is moved again and again takes the room of one."""
    queue: FairQueue[Item] = FairQueue(2)
    item = Item()
    queue.push(item, priority=0, deadline_at_s=1e6)
    for n in range(1000):
        queue.move(item, priority=0, deadline_at_s=1e6 - n)
    assert len(queue._heap) < 50
    assert queue.pop() is item
