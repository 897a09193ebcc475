"""The latency equation: the parts always add up, and an estimate is never passed off as a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.store.call_log import CallLog
from headway.store.call_reader import CallLogReader, LatencyBreakdown, breakdown_of
from headway.store.rows import LogRow, encoded, row_of, snapshot, taken
from headway.store.writer import WriterSettings
from headway.types import Trace, Usage


def row(kind: Any = "call", **fields: Any) -> LogRow:
    made = Trace(kind, "c1", 0.0, fields.pop("start_wall_s", 1_000.0))
    made.outcome, made.stream, made.flight_id = "ok", True, "f1"
    for name, value in fields.items():
        setattr(made, name, value)
    return row_of(taken(encoded(snapshot(made))))


def parts(found: LatencyBreakdown | None) -> tuple[float, ...]:
    assert found is not None
    five = (found.earlier, found.wait, found.connect, found.network_and_queue, found.processing)
    return tuple(part.s for part in five)


CALL = {"first_content_at_s": 3.0, "ended_at_s": 8.0}
TRY: dict[str, Any] = {
    "wait_s": 0.5,
    "connect_s": 0.25,
    "sent_at_s": 0.75,
    "first_byte_at_s": 2.0,
    "first_content_at_s": 3.0,
    "ended_at_s": 8.0,
    "usage": Usage(output_tokens=11),
}


def test_measured_parts():
    """With the provider's own processing time: wait + connect + network and queue + processing = TTFT, measured."""
    found = breakdown_of(row(**CALL), [row("attempt", **TRY, provider_processing_s=1.5, provider_estimated=False)])
    assert parts(found) == (0.0, 0.5, 0.25, 0.75, 1.5)
    assert found is not None
    assert (found.ttft_s, found.generation.s, found.ttlt_s) == (3.0, 5.0, 8.0)
    assert (found.tpot_s, found.tpot_measured, found.output_tokens) == (0.5, True, 11)
    assert found.ttlt_s == found.ttft_s + (found.output_tokens - 1) * found.tpot_s
    assert found.processing.measured
    assert found.network_and_queue.measured


def test_estimated_parts():
    """Without it, processing is first byte to first content, and both shares are marked as estimates."""
    found = breakdown_of(row(**CALL), [row("attempt", **TRY)])
    assert parts(found) == (0.0, 0.5, 0.25, 1.25, 1.0)
    assert found is not None
    assert not found.processing.measured
    assert not found.network_and_queue.measured
    assert found.wait.measured


def test_estimated_tokens_are_marked():
    """A time per token over tokens that we counted ourselves is an estimate."""
    usage = Usage(output_tokens=11, estimated=True)
    found = breakdown_of(row(**CALL), [row("attempt", **{**TRY, "usage": usage})])
    assert found is not None
    assert (found.tpot_s, found.tpot_measured) == (0.5, False)


def test_failed_tries_are_not_our_wait():
    """What earlier tries and their back-off took is a part of its own."""
    failed = row("attempt", outcome="server_error", attempt_index=0)
    answered = row("attempt", **{**TRY, "start_wall_s": 1_001.0, "connect_s": None}, attempt_index=1)
    found = breakdown_of(row(**CALL), [answered, failed])
    assert parts(found) == (1.0, 0.5, 0.0, 0.5, 1.0)


def test_late_joiner_waited_only_for_the_rest():
    """A caller that joined when the try was 2.5 s old is charged nothing of what lay before it."""
    call = row(start_wall_s=1_002.5, first_content_at_s=0.5, ended_at_s=5.5, cache="joined")
    found = breakdown_of(call, [row("attempt", **TRY)])
    assert parts(found) == (0.0, 0.0, 0.0, 0.0, 0.5)


def test_hit_is_all_ours():
    """An answer from the cache has no provider in it."""
    found = breakdown_of(row(**{**CALL, "flight_id": ""}, cache="memory"), [])
    assert parts(found) == (0.0, 3.0, 0.0, 0.0, 0.0)
    assert found is not None
    assert (found.cache, found.tpot_s) == ("memory", None)


def test_whole_answers_have_no_time_per_token():
    """Without a stream the first token is the last: TTFT = TTLT, and no time per token is made up."""
    found = breakdown_of(row(**CALL, stream=False), [row("attempt", **TRY, stream=False)])
    assert found is not None
    assert (found.ttft_s, found.ttlt_s, found.tpot_s) == (8.0, 8.0, None)


def test_unfinished_has_none():
    """A call that has not ended has no breakdown."""
    assert breakdown_of(row(), []) is None


TIMES = st.floats(0, 100)


@given(
    st.tuples(TIMES, TIMES),
    st.lists(st.tuples(st.floats(-50, 50), TIMES, st.none() | TIMES, st.none() | TIMES, st.booleans()), max_size=3),
)
def test_parts_always_add_up(call: tuple[float, float], tries: list[Any]):
    """Whatever the clocks say: no part is negative, the five add up to TTFT, and with generation to TTLT."""
    rows = [
        row(
            "attempt",
            start_wall_s=1_000.0 + lead,
            wait_s=wait,
            connect_s=connect,
            provider_processing_s=processing,
            outcome="ok" if ok else "server_error",
            attempt_index=index,
        )
        for index, (lead, wait, connect, processing, ok) in enumerate(tries)
    ]
    found = breakdown_of(row(first_content_at_s=call[0], ended_at_s=call[1]), rows)
    assert found is not None
    assert min(parts(found)) >= -1e-9
    assert sum(parts(found)) == pytest.approx(found.ttft_s, abs=1e-6)
    assert found.ttft_s + found.generation.s == pytest.approx(found.ttlt_s)


def test_from_the_log(tmp_path: Path):
    """The reader joins a call with its tries by flight, one by one and for a whole run."""
    log = CallLog(tmp_path / "l.db", writer=WriterSettings(inline=True))
    for number in range(3):
        for kind, fields in (("call", CALL), ("attempt", TRY)):
            made = Trace(kind, f"{kind}{number}", 0.0, 1_000.0)  # type: ignore[arg-type]
            made.flight_id, made.stream, made.outcome = f"f{number}", True, "ok"
            for name, value in fields.items():
                setattr(made, name, value)
            log.write(made)
    log.write(Trace("call", "unfinished", 0.0, 1_000.0))
    log.close()
    with CallLogReader(tmp_path / "l.db") as reader:
        assert parts(reader.latency_breakdown("call1")) == (0.0, 0.5, 0.25, 1.25, 1.0)
        assert reader.latency_breakdown("nobody") is None
        assert [found.call_id for found in reader.latency_breakdowns()] == ["call0", "call1", "call2"]
