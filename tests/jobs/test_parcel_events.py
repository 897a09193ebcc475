"""What the journal's events say about batches that are still open."""

from __future__ import annotations

from headway.jobs.attach import rows_open
from headway.jobs.parcel_events import Ended, Intent, Keys, Refused, Submitted, Uploaded, encode, open_parts


def told(*events):
    """As a journal gives them back."""
    return [encode(event) for event in events]


def test_a_part_is_open_from_its_intent_to_its_end():
    """Numbers go on after the last one, known batches are all that were ever submitted."""
    events = told(
        Intent(part=0, at_wall_s=1.0, keys="a#0 b#0"),
        Submitted(part=0, batch_id="b0", file_id="f0"),
        Intent(part=1, at_wall_s=2.0, keys="c#0", repairs=(0,)),
        Ended(part=0),
        Uploaded(part=1, file_id="f1"),
    )
    (part,), following, known = open_parts(events)
    assert (part.part, part.file_id, part.batch_id, part.repairs) == (1, "f1", "", frozenset({0}))
    assert (following, known) == (2, frozenset({"b0"}))
    assert rows_open(events) == 1


def test_a_refused_batch_leaves_its_part_without_one():
    """It is looked for again, and the refused one is not taken for it."""
    events = told(
        Intent(part=0, at_wall_s=1.0, keys="a#0"), Submitted(part=0, batch_id="b0"), Refused(part=0, batch_id="b0")
    )
    (part,), _, known = open_parts(events)
    assert (part.batch_id, part.refused) == ("", {"b0"})
    assert known == {"b0"}
    (part,), _, _ = open_parts([*events, *told(Submitted(part=0, batch_id="b1"))])
    assert part.batch_id == "b1"


def test_other_events_are_passed_over():
    """The journal is not the batch lane's alone."""
    events = [b'{"shard":3}', b"7", b'{"batch":"unheard of","part":1}', *told(Ended(part=4))]
    assert open_parts(events) == ([], 5, frozenset())


def test_keys_keep_their_order():
    """However many there are; a place beyond is none."""
    names = [f"{n:032x}#{n % 3}" for n in range(100)]
    keys = Keys(" ".join(names))
    assert [keys[n] for n in range(len(keys))] == names
