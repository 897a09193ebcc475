"""How the send rate grows, and what refusals do to it."""

from __future__ import annotations

from headway.policy.ramp import Ramp


def sends(ramp: Ramp, until_s: float, start_s: float = 0.0) -> int:
    """Send whenever it may; how many went until then."""
    now_s, count = start_s, 0
    while True:
        now_s += ramp.wait_s(now_s)
        if now_s >= until_s:
            return count
        ramp.charge(now_s)
        count += 1


def test_it_bursts_and_then_doubles():
    """24 at once, then 40 a second, doubling each 0.35 s while nothing is refused."""
    ramp = Ramp()
    assert sends(ramp, 1e-6) == 24
    first = sends(ramp, 0.35)
    second = sends(ramp, 0.70, 0.35)
    assert 10 <= first <= 24
    assert 1.7 <= second / first <= 2.3


def test_idle_time_proves_nothing():
    """After a long pause the rate is what it was, and at most a burst has been saved up."""
    ramp = Ramp()
    sends(ramp, 1.0)
    rate = ramp.rate_per_s
    ramp.wait_s(100.0)
    assert ramp.rate_per_s <= rate * 2.01
    assert sends(ramp, 100.0 + 1e-6, 100.0) <= 25


def test_refusals_without_numbers_cut_the_rate_once_a_pack():
    """x0.9 per quarter second at most, then slow additive growth."""
    ramp = Ramp()
    sends(ramp, 2.0)
    ramp.refused(2.0, sent_per_s=100.0)
    assert abs(ramp.rate_per_s - 90.0) < 1e-6
    ramp.refused(2.01, sent_per_s=100.0)
    assert abs(ramp.rate_per_s - 90.0) < 1.0
    count = sends(ramp, 12.0, 2.01)
    assert 900 <= count <= 1200


def test_settled_it_is_out_of_the_way():
    """A known bucket alone decides."""
    ramp = Ramp()
    ramp.settle()
    assert ramp.wait_s(0.0) == 0.0


def test_slow_calls_one_by_one_leave_it_as_it_is():
    """What was never tried proves nothing: fifty calls, one a second, do not switch it off."""
    ramp = Ramp()
    for second in range(50):
        assert ramp.wait_s(float(second)) == 0.0
        ramp.charge(float(second))
    assert ramp.state == "growing"
    assert ramp.rate_per_s == 40.0


def test_switched_off_it_steers_again_from_what_was_sent():
    """A refusal without numbers always acts, and not from a rate of long ago."""
    ramp = Ramp()
    ramp.settle()
    ramp.refused(5.0, sent_per_s=300.0)
    assert ramp.state == "steered"
    assert abs(ramp.rate_per_s - 270.0) < 1e-6
    ramp.settle()
    assert ramp.state == "steered"


def test_a_steered_rate_grows_only_while_somebody_waits_and_faster_after_quiet():
    """Idle it stays; in use it grows by 2 % a second, and by far more once ten seconds passed without a refusal."""
    ramp = Ramp()
    ramp.refused(0.0, sent_per_s=1.0)
    ramp.wait_s(5.0)
    resting = ramp.rate_per_s
    ramp.wait_s(500.0)
    assert ramp.rate_per_s == resting
    sends(ramp, 560.0, 500.0)
    assert ramp.rate_per_s > 20 * resting


def test_a_refund_gives_the_turn_back():
    """Even at the floor, what was never sent costs no wait."""
    ramp = Ramp()
    for _ in range(24):
        ramp.charge(0.0)
        ramp.refund(0.0)
    assert sends(ramp, 1e-6) == 24
    ramp = Ramp(rate_per_s=0.05)
    ramp.refused(0.0, sent_per_s=0.05)
    now_s = ramp.wait_s(0.0)
    ramp.charge(now_s)
    ramp.refund(now_s)
    assert ramp.wait_s(now_s) == 0.0


def test_a_few_refusals_do_not_slow_a_key_that_is_barely_used():
    """One call a second and three 429s without numbers: ten calls at once still go within three seconds."""
    ramp = Ramp()
    for second in range(30):
        now_s = second + ramp.wait_s(float(second))
        ramp.charge(now_s)
        if second in (10, 12, 15):
            ramp.refused(now_s, sent_per_s=1.0)
    assert ramp.rate_per_s >= 3.0
    assert sends(ramp, 33.0, 30.0) >= 10


def test_refusals_that_go_on_slow_it_down_to_what_is_taken():
    """A server that takes one call in ten seconds and says nothing: few are refused after the first minutes."""
    ramp, now_s, free_at_s, refused = Ramp(), 0.0, 0.0, []
    while now_s < 600.0:
        now_s += max(ramp.wait_s(now_s), 0.01)
        ramp.charge(now_s)
        if now_s >= free_at_s:
            free_at_s = now_s + 10.0
        else:
            refused.append(now_s)
            ramp.refused(now_s, sent_per_s=1.0)
    assert sum(at_s > 300.0 for at_s in refused) <= 90
