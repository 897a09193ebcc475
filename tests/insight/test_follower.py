"""The log is followed through all that may happen to its file."""

from __future__ import annotations

from pathlib import Path

from headway.insight.documents import Filters
from headway.insight.follower import Follower
from headway.insight.view import View
from tests.insight.rows import NOW_S, log_at, trace_of


def calls(follower: Follower) -> int:
    while follower.step(1.0):
        pass
    return View(Filters()).figures(follower.rollup, NOW_S)[1].sum.calls


def follower_of(path: Path) -> Follower:
    return Follower(path, lambda: NOW_S)


def test_what_is_there_and_what_comes_is_counted_once(tmp_path: Path) -> None:
    """Old rows are read backwards while new ones come; tries are counted, too."""
    path = tmp_path / "calls.sqlite"
    log = log_at(path)
    for nth in range(100):
        log.write(trace_of(f"a{nth}.0", kind="attempt"))
        log.write(trace_of(f"a{nth}", attempts=1))
    log.flush()
    follower = follower_of(path)
    assert calls(follower) == 100
    for nth in range(50):
        log.write(trace_of(f"b{nth}.0", kind="attempt", outcome="throttled", status=429))
        log.write(trace_of(f"b{nth}.1", kind="attempt", attempt_index=1))
        log.write(trace_of(f"b{nth}", attempts=2))
    log.flush()
    assert calls(follower) == 150
    whole = View(Filters()).figures(follower.rollup, NOW_S)[1]
    assert (whole.sum.attempts, whole.sum.throttled) == (200, 50)
    assert len(follower.fresh) == 50
    log.close()
    follower.log.close()


def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    """It was hours ahead for a moment: what was moved to coarse stretches meanwhile is read anew."""
    log = log_at(tmp_path / "calls.sqlite")
    for nth in range(10):
        log.write(trace_of(f"a{nth}"))
    log.flush()
    now_s = [NOW_S]
    follower = Follower(tmp_path / "calls.sqlite", lambda: now_s[0])
    assert calls(follower) == 10
    now_s[0] = NOW_S + 7_200
    follower.step(1.0)
    assert calls(follower) == 0
    now_s[0] = NOW_S + 1
    assert calls(follower) == 10
    log.close()
    follower.log.close()


def test_the_youngest_are_counted_first(tmp_path: Path) -> None:
    """A first look at a huge log shows the last minutes, and says that more is to come."""
    path = tmp_path / "calls.sqlite"
    log = log_at(path)
    for nth in range(6_000):
        log.write(trace_of(f"a{nth}", NOW_S - (6_000 - nth) * 0.1))
    log.close()
    follower = follower_of(path)
    assert follower.step(1e-9)
    assert follower.loading
    while not (counted := View(Filters()).figures(follower.rollup, NOW_S)[1].sum.calls):
        follower._older()
    assert counted < 6_000
    assert View(Filters(window_s=60.0)).figures(follower.rollup, NOW_S)[1].sum.calls > 500
    assert calls(follower) == 6_000
    assert not follower.loading
    follower.log.close()


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    """It is looked for, and followed from when it is there."""
    path = tmp_path / "calls.sqlite"
    follower = follower_of(path)
    assert not follower.step(1.0)
    assert not follower.there
    assert "no call log" in follower.log.problem
    log = log_at(path)
    log.write(trace_of("a"))
    log.close()
    assert calls(follower) == 1
    follower.log.close()


def test_another_file_in_its_place_is_another_log(tmp_path: Path) -> None:
    """Nothing of the one before is counted."""
    path = tmp_path / "calls.sqlite"
    for nth in (3, 2):
        log = log_at(path)
        for one in range(nth):
            log.write(trace_of(f"a{one}"))
        log.close()
        if nth == 3:
            follower = follower_of(path)
            assert calls(follower) == 3
            number = follower.number
            for side in ("", "-wal", "-shm"):
                Path(f"{path}{side}").unlink(missing_ok=True)
            assert not follower.step(1.0)
            assert calls(follower) == 0
    assert calls(follower) == 2
    assert follower.number == number + 1
    follower.log.close()


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    """Another program's, or rubbish: there is no log, and it says why."""
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"rubbish" * 1_000)
    follower = follower_of(path)
    assert not follower.step(1.0)
    assert "cannot be read" in follower.log.problem


def test_old_rows_that_are_pruned_stay_counted(tmp_path: Path) -> None:
    """The log's bound takes away rows; what they came to is known."""
    from headway.store.call_log import CallLog
    from headway.store.writer import WriterSettings

    log = CallLog(tmp_path / "calls.sqlite", rows_max=10, writer=WriterSettings(inline=True))
    follower = follower_of(log.path)
    for nth in range(5):
        for one in range(8):
            log.write(trace_of(f"{nth}{one}"))
        log.flush()
        assert calls(follower) == 8 * (nth + 1)
    log.close()
    follower.log.close()
