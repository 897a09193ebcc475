"""What the record of a call costs: a caller and its only try, as a gateway's calls are, written at full speed.

The loop's side is the CPU of the thread that calls `CallLog.write`; "in all" adds the writer's thread, SQLite and the
kernel's part of writing. Rows go in at 12,000 calls a second, in bursts of 5 ms, as a saturated gateway's do; "until on
disk" is without any pause. Reading is that of the whole file: as the dashboard follows it, as reports do, and by hand.
"""

from __future__ import annotations

import gc
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from common import emit, own_state, spread
from headway.store.call_log import CallLog
from headway.store.call_reader import CallLogReader
from headway.store.rows import taken, try_of
from headway.store.writer import WriterSettings
from headway.types import Tags, Trace, Usage

CALLS, ROUNDS, RATE, BURST = 12_000, 7, 12_000, 60
READ = 100_000


def pair(number: int) -> tuple[Trace, Trace]:
    """A caller and its try, ended, with what the gateway's calls have."""
    at_s, wall_s = 45_447.0 + number * 83.3e-6, 1_795_301_831.0 + number * 83.3e-6
    call = Trace("call", f"{int(wall_s * 1e6):014x}58406c", at_s, wall_s)
    attempt = Trace("attempt", f"{call.id}.0", at_s + 31.7e-6, wall_s + 33.1e-6)
    for trace in (call, attempt):
        trace.flight_id, trace.upstream, trace.path = call.id, "http://127.0.0.1:34429", "/v1/chat/completions"
        trace.format, trace.model, trace.output_tokens_max = "openai_chat", "gpt-5.4-mini", 16
        trace.tenant, trace.tags, trace.wait_s = "38b5cd724f0cf6b5", Tags(), 0.025724902996444143
        trace.provider_processing_s, trace.provider_estimated, trace.status = 0.001, False, 200
        trace.finish, trace.request_id, trace.body_bytes, trace.reply_bytes = "stop", "req_0123456789", 108, 253
        trace.outcome = "ok"
    attempt.sent_at_s = call.sent_at_s = at_s + 25.7345e-3
    attempt.first_byte_at_s = call.first_byte_at_s = at_s + 26.0123e-3
    attempt.first_content_at_s = call.first_content_at_s = at_s + 26.1123e-3
    attempt.usage = call.usage = Usage(input_tokens=70, output_tokens=4)
    attempt.dollars = call.dollars = 70.5e-6
    attempt.ended_at_s, call.ended_at_s = at_s + 26.2e-3, at_s + 26.3e-3
    call.cache, call.attempts = "off", 1
    return call, attempt


def write(log: CallLog, pairs: list[tuple[Trace, Trace]], rate: float) -> tuple[float, float, float]:
    """Microseconds a call: of CPU on this thread, of CPU in all, and of time until all is on disk."""
    gc.collect()
    gc.freeze()  # the traces that wait here are the bench's, not the log's
    start_s, all_s, busy_s = time.perf_counter(), time.process_time(), 0.0
    for first in range(0, len(pairs), BURST):
        burst = pairs[first : first + BURST]
        before_s = time.thread_time()
        for _, attempt in burst:
            log.write(attempt)
        for call, _ in burst:
            log.write(call)
        busy_s += time.thread_time() - before_s
        if rate and (early_s := start_s + (first + BURST) / rate - time.perf_counter()) > 0:
            time.sleep(early_s)
    assert log.flush(60.0)
    took_s, all_s = time.perf_counter() - start_s, time.process_time() - all_s
    assert not log.dropped
    return busy_s / len(pairs) * 1e6, all_s / len(pairs) * 1e6, took_s / len(pairs) * 1e6


def main(home: Path) -> None:
    loop, whole, sustained = [], [], []
    settings = WriterSettings(queue_rows_max=1_000_000, handover_s=0.0002)
    log = CallLog(home / "rate.sqlite", writer=settings)
    full = CallLog(home / "full.sqlite", writer=settings)
    for turn in range(ROUNDS):
        pairs = [pair(number) for number in range(turn * CALLS, (turn + 1) * CALLS)]
        busy_us, all_us, _ = write(log, pairs, RATE)
        loop.append(busy_us)
        whole.append(all_us)
        sustained.append(1e6 / write(full, pairs, 0.0)[2])
    log.close()
    full.close()
    emit("log: CPU a call on the loop's side", "-", spread(loop), reached=None)
    emit("log: CPU a call in all, at 12,000/s", "<= 12 us", spread(whole), reached=min(whole) <= 12)
    emit("log: calls a second until on disk", ">= 24,000/s", spread(sustained), reached=max(sustained) >= 24_000)
    size_bytes = (home / "rate.sqlite").stat().st_size / (ROUNDS * CALLS)
    emit("log: bytes a call, indexes too", "-", round(size_bytes), reached=None)
    read(home)


def read(home: Path) -> None:
    path = home / "read.sqlite"
    log = CallLog(path, writer=WriterSettings(queue_rows_max=1_000_000))
    for number in range(READ):
        call, attempt = pair(number)
        log.write(attempt)
        log.write(call)
    log.close()
    took: dict[str, float] = {}

    def timed(name: str, start_s: float) -> None:
        took[name] = round(min(took.get(name, 1e9), time.perf_counter() - start_s), 3)

    for _ in range(3):
        with CallLogReader(path) as reader:
            start_s = time.perf_counter()
            assert len(reader.calls(limit=READ)) == READ
            timed("calls", start_s)
            start_s = time.perf_counter()
            assert len(reader.attempts(limit=READ)) == READ
            timed("attempts", start_s)
            start_s = time.perf_counter()
            assert len(reader.attempts(flight_id=pair(5_000)[0].id)) == 1
            timed("attempts of one call", start_s)
        with closing(sqlite3.connect(path)) as connection:
            start_s = time.perf_counter()
            rows = [taken(data) for (data,) in connection.execute("SELECT data FROM calls_data ORDER BY row")]
            assert sum(try_of(row) is not None for row in rows) == READ
            timed("followed: calls and tries", start_s)
            for name in ("calls", "attempts"):
                start_s = time.perf_counter()
                total = connection.execute(f"SELECT count(*), sum(dollars) FROM {name}").fetchone()
                assert total[0] == READ
                timed(f"SQL by hand: sum over {name}", start_s)
    emit(f"log: seconds to read {READ:,}", "-", took, reached=None)


if __name__ == "__main__":
    main(Path(own_state()))
