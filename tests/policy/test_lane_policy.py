"""Which lane a row takes, by plain values."""

from __future__ import annotations

from math import inf

from headway.policy.lanes import PROBE_ROWS, LanePolicy, LaneSettings, Outlook

ALL = frozenset({"online", "flex", "batch"})


def policy(lane="auto", deadline_s=inf, offers=ALL, probed=True, **more):
    made = LanePolicy(LaneSettings(lane=lane, deadline_s=deadline_s, **more), frozenset(offers))
    if probed and lane == "auto":
        for _ in range(PROBE_ROWS):
            assert made.choose(Outlook()) == "online"
    return made


def test_a_lane_that_was_asked_for_is_taken():
    for lane in ALL:
        assert policy(lane).choose(Outlook(rows_left=10)) == lane


def test_a_lane_that_is_not_offered_is_online():
    assert policy("batch", offers={"online"}).choose(Outlook()) == "online"
    assert policy("flex", offers={"online", "batch"}).choose(Outlook()) == "online"


def test_auto_sends_its_first_rows_online_to_learn_from_them():
    made = policy(probed=False)
    assert [made.choose(Outlook(rows_left=1000)) for _ in range(PROBE_ROWS + 1)] == ["online"] * PROBE_ROWS + ["batch"]


def test_auto_without_a_deadline_takes_what_costs_half():
    assert policy().choose(Outlook(rows_left=1000)) == "batch"
    assert policy(offers={"online", "flex"}).choose(Outlook(rows_left=1000)) == "flex"
    assert policy(offers={"online"}).choose(Outlook(rows_left=1000)) == "online"


def test_auto_with_six_hours_for_an_hours_work_batches():
    look = Outlook(rows_left=36_000, online_per_s=10.0)
    assert policy(deadline_s=6 * 3600).choose(look) == "batch"


def test_auto_with_too_little_slack_for_a_batch_takes_flex_and_with_none_online():
    look = Outlook(rows_left=6_000, online_per_s=10.0)  # 750 s of work, the margin included
    assert policy(deadline_s=2400).choose(look) == "flex"
    assert policy(deadline_s=1000).choose(look) == "online"


def test_auto_fills_online_up_to_the_deadline_and_batches_the_rest():
    made = policy(deadline_s=1000, offers={"online", "batch"})
    assert made.choose(Outlook(rows_left=50_000, online_out=100, online_per_s=10.0)) == "online"
    assert made.choose(Outlook(rows_left=50_000, online_out=9_000, online_per_s=10.0)) == "batch"


def test_auto_batches_what_the_budget_cannot_pay_online():
    made = policy(deadline_s=1000, offers={"online", "batch"})
    look = Outlook(rows_left=1_000, online_per_s=10.0, row_dollars=0.01, dollars_left=7.0)
    assert made.choose(look) == "batch"
    assert made.choose(Outlook(rows_left=600, online_per_s=10.0, row_dollars=0.01, dollars_left=7.0)) == "online"


def test_rows_still_out_are_called_back_in_time_to_be_done_online():
    made = policy("batch", deadline_s=6 * 3600)
    assert not made.recall(Outlook(now_s=3600, batch_out=36_000, online_per_s=10.0))
    late = Outlook(now_s=6 * 3600 - 4500 - 600, batch_out=36_000, online_per_s=10.0)
    assert made.recall(late)
    assert not made.recall(late)  # once
    assert made.choose(Outlook(rows_left=5)) == "online"


def test_nothing_is_called_back_without_a_deadline_or_without_rows_out():
    assert not policy("batch").recall(Outlook(now_s=1e9, batch_out=10))
    assert not policy("batch", deadline_s=60).recall(Outlook(now_s=59, batch_out=0))


def test_rows_that_only_a_batch_can_pay_stay_in_it_past_the_deadline():
    made = policy("batch", deadline_s=3600)
    look = Outlook(now_s=3599, batch_out=1000, online_per_s=10.0, row_dollars=0.01, dollars_left=1.0)
    assert not made.recall(look)


def test_an_unknown_rate_is_taken_for_that_of_a_small_account():
    assert policy(deadline_s=100_000).online_s(Outlook(), 800) == 125.0
    assert policy(rows_per_s=80.0).online_s(Outlook(), 800) == 12.5
