"""Where parcels are cut, when the next may go, when to ask."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from headway.policy.parcels import (
    ParcelBounds,
    Quota,
    cancel_delay_s,
    close_after_s,
    patience_s,
    poll_delay_s,
)  # fmt: skip


def test_a_parcel_is_cut_by_rows_bytes_and_tokens():
    """Each bound by itself; an empty parcel takes any row, however large."""
    bounds = ParcelBounds(rows_max=3, bytes_max=100, tokens_max=50)
    assert bounds.takes(0, 0, 0, more_bytes=10**9, more_tokens=10**9)
    assert bounds.takes(2, 50, 25, more_bytes=50, more_tokens=25)
    assert not bounds.takes(3, 50, 25, more_bytes=1, more_tokens=1)
    assert not bounds.takes(2, 50, 25, more_bytes=51, more_tokens=1)
    assert not bounds.takes(2, 50, 25, more_bytes=1, more_tokens=26)
    assert ParcelBounds().takes(2, 50, 10**9, more_bytes=1, more_tokens=10**9)


def test_parcels_go_out_until_one_is_refused():
    """A batch that runs frees the way for the next at once; a refused one waits for its back-off."""
    quota = Quota(parcels_max=3)
    quota.sent()
    assert quota.wait_s(0.0) == 0.0
    quota.taken()
    quota.sent()
    assert not quota.refused(1_000, 10.0, created=True)  # another of ours is queued: no need to cut
    assert quota.wait_s(10.0) == 60.0
    assert quota.wait_s(70.0) == 0.0
    assert not quota.refused(1_000, 70.0, created=False)
    assert quota.wait_s(70.0) == 120.0
    quota.ended()
    assert quota.wait_s(70.0) == 0.0


def test_after_a_refusal_one_goes_alone():
    """The probe has to be taken, or to end, before the next is uploaded."""
    quota = Quota()
    quota.refused(1_000, 0.0, created=False)
    quota.sent()
    assert quota.wait_s(1_000.0) == inf
    quota.taken()
    assert quota.wait_s(1_000.0) == 0.0


def test_no_more_batches_at_once_than_are_asked_for():
    """The bound holds until one has ended."""
    quota = Quota(parcels_max=1)
    quota.sent()
    quota.taken()
    assert quota.wait_s(0.0) == inf
    quota.ended()
    assert quota.wait_s(0.0) == 0.0


def test_what_is_refused_alone_is_cut_in_two_and_grows_again():
    """The size found by cutting is kept; success lets it grow by a quarter; what the provider says counts."""
    quota = Quota()
    assert quota.refused(1_000, 0.0, created=False)
    assert quota.tokens_max == 550
    assert quota.refused(550, 60.0, created=False, tokens_max=90)
    assert quota.tokens_max == 90
    quota.sent()
    quota.taken()
    assert quota.tokens_max == 113


@given(st.lists(st.sampled_from(["sent", "taken", "refused", "ended"]), max_size=60))
def test_the_next_parcel_never_waits_for_nothing(steps):
    """Whatever happens, an infinite wait means that something of ours is at the provider and will tell."""
    quota, now_s, waiting = Quota(parcels_max=2), 0.0, []
    for step in steps:
        now_s += 1.0
        if step == "sent" and quota.wait_s(now_s) == 0.0:
            quota.sent()
            waiting.append(False)
        elif step == "refused" and waiting and not waiting[-1]:
            waiting.pop()
            quota.refused(100, now_s, created=True)
        elif step == "taken" and waiting and not waiting[-1]:
            waiting[-1] = True
            quota.taken()
        elif step == "ended" and waiting:
            waiting.pop(0)
            quota.ended()
        assert quota.out == len(waiting)
        assert waiting or quota.wait_s(now_s) <= 600.0
        assert quota.tokens_max is None or quota.tokens_max >= 1


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_polls_are_few_and_finer_near_a_deadline(age_s, left_s):
    """Never more often than every 5 s but at first, at least every 5 minutes, and not much later than needed."""
    delay_s, least_s = poll_delay_s(age_s), 5.0 if age_s >= 5.0 else 1.0
    assert least_s <= delay_s <= 300.0
    assert delay_s <= max(5.0, 0.1 * age_s)
    assert least_s <= poll_delay_s(age_s, left_s) <= delay_s


def test_a_day_takes_few_polls():
    """A batch that needs all of its 24 hours is asked about some hundred times, not thousands."""
    age_s, polls = 0.0, 0
    while age_s < 86_400.0:
        age_s += poll_delay_s(age_s)
        polls += 1
    assert polls < 500


def test_waits_grow_to_their_bounds():
    """Slow sources, trouble and cancellations: patient, and never for ever."""
    for wait_s, first_s, most_s in ((close_after_s, 2.0, 600.0), (cancel_delay_s, 2.0, 15.0)):
        waits = [wait_s(n) for n in range(30)]
        assert waits[0] == first_s
        assert waits[-1] == most_s
        assert all(a <= b for a, b in pairwise(waits))
    assert [patience_s(n) for n in (1, 2, 3, 1000)] == [5.0, 10.0, 20.0, 600.0]
