"""What must hold after every run, whatever went wrong in it; each broken rule gives a sentence."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from math import isclose

import msgspec

from headway.sim.ledger import Row
from headway.store.rows import LogRow

from .doors import Got
from .sides import backups, billed_usd, once_each, own_kind, own_origin, side_by_side, silence
from .wire import Sent, reached
from .world import Record

THROTTLED_MAX = 8
ESTIMATE_TOKENS_OFF = 10
"""How far our estimate of these short prompts (characters / 4) lies below the simulator's count."""
ESTIMATE_DOLLARS_OFF = ESTIMATE_TOKENS_OFF * 2.5e-6
MOMENT_S = 1e-6
"""The loop's clock goes in such steps."""


def violations(record: Record) -> list[str]:
    """Every broken invariant of a run; [] if all is well."""
    checks = (
        one_end_each,
        bytes_of_one_attempt,
        booked_as_seen,
        within_budgets,
        billed_as_said,
        nothing_too_late,
        silence,
        own_origin,
        own_kind,
        side_by_side,
        once_each,
        rest,
    )
    return list(chain.from_iterable(check(record) for check in checks))


def one_end_each(record: Record) -> Iterator[str]:
    """Every caller ends in exactly one terminal state, and its one row says the same."""
    rows: dict[str, list[LogRow]] = defaultdict(list)
    for row in record.calls:
        rows[row.step].append(row)
        if row.outcome is None or row.end_s is None:
            yield f"the row of caller {row.step} has no end"
    for got in record.got:
        number = got.plan.number
        yield from (f"caller {number}: {wrong}" for wrong in got.wrong)
        if len(got.ends) != 1:
            yield f"caller {number} ended {len(got.ends)} times: {got.ends}"
        own = [row for row in rows.pop(str(number), []) if row.body_bytes]  # the others are refreshes behind its back
        own.sort(key=lambda row: row.start_wall_s)
        told = own[1:]  # an SDK's own tries of a call that has failed: told again, and asked no more
        if len(told) > got.plan.retries or any(row.flight_id or row.attempts or row.dollars for row in told):
            yield f"caller {number} has {len(own)} rows"
        if not own:
            if not _came_too_late(got, record):
                after = record.scenario.close_s is not None and (got.ended_s or 0.0) >= record.scenario.close_s
                yield f"caller {number} has no row; it ended {got.ends}{' after the engine was closed' * after}"
        elif not _says_so(got, own[-1], record):
            yield f"caller {number} ended {got.ends} with {got.status}, but its row says {own[-1].outcome!r} ({own[-1].cache})"
    if any(plan.prefetch_s is not None for plan in record.scenario.callers):
        rows.pop("", None)
    for step in rows:
        yield f"there is a row for caller {step!r}, who never was"


def _came_too_late(got: Got, record: Record) -> bool:
    """To an engine that was closed: nothing is written of such a caller."""
    closed_s = record.scenario.close_s
    if closed_s is None or got.started_s < closed_s:
        return False
    if got.plan.retries and (got.ends == ["left"] or _told_of_another(got, got.ends[0], record)):
        return True  # between its SDK's tries
    return got.ends == ["closed"]


def _says_so(got: Got, row: LogRow, record: Record) -> bool:
    end = got.ends[0] if got.ends else ""
    if end == "left":
        return True  # it may have had everything, or have left a failure behind
    if end == "garbled":
        return any(fault.kind == "malformed" for fault in record.scenario.faults)
    if end == "event":
        return row.outcome in ("server_error", "overloaded", "throttled")
    if end != "done":
        return row.outcome == end or _told_of_another(got, end, record)
    if got.status >= 400:
        return row.outcome not in ("ok", "abandoned")
    return row.outcome == "ok" or (got.plan.stream and row.outcome in ("server_error", "overloaded", "throttled"))


def _told_of_another(got: Got, end: str, record: Record) -> bool:
    """An SDK's retry of a call that failed is told of the latest failure of that request, whoever asked it."""
    alike = (row for row in record.calls if row.run == str(got.plan.group) and row.path == got.plan.path)
    return got.plan.retries > 0 and any(row.outcome == end for row in alike)


def bytes_of_one_attempt(record: Record) -> Iterator[str]:
    """What a caller got is what one attempt brought; a part of it only where it ended with an error or left."""
    by_id: dict[str, list[Sent]] = defaultdict(list)
    for sent in record.sent:
        by_id[sent.request_id].append(sent)
    for got in record.got:
        if not got.body and not got.text:
            continue
        number = got.plan.number
        found = by_id.get(got.request_id, []) if got.request_id else _nameless(got, record)
        if not found:
            yield f"caller {number} got {len(got.body)} bytes of {got.request_id!r}, which nobody sent"
        elif not any(_same(got, sent) for sent in found):
            yield f"caller {number} ({got.ends}) got bytes that are not those of {got.request_id}"


def _nameless(got: Got, record: Record) -> list[Sent]:
    """Stored answers of Messages have lost their request id: whatever was sent at their path may be theirs."""
    stored = got.plan.path.endswith("/messages") and got.cache_status
    return [sent for sent in record.sent if sent.path.endswith("/messages")] if stored else []


def _same(got: Got, sent: Sent) -> bool:
    body, brought, whole = bytes(got.body), bytes(sent.body), got.ends == ["done"]
    streamed = _is_stream(brought)
    if got.text is not None:  # an SDK's stream, which shows no bytes
        said = _text(brought)
        return got.text == said or (said.startswith(got.text) and not whole)
    if got.status == 200 and got.plan.stream != streamed:  # stored in one form, wanted in the other
        return not whole or _text(body) == _text(brought)
    if streamed and got.plan.path.endswith("completions") and not got.plan.wants_usage:
        brought = without_usage(brought)
    return body == brought or (brought.startswith(body) and not whole)


def _is_stream(body: bytes) -> bool:
    return body.startswith((b"data:", b"event:", b":"))


def without_usage(body: bytes) -> bytes:
    """A chat stream less the event that was asked for on the caller's behalf."""
    events = re.split(rb"(?<=\n\n)", body)
    return b"".join(event for event in events if b'"choices":[]' not in event)


def _text(body: bytes) -> str:
    """What an answer says, in either form."""
    found = []
    for line in body.split(b"\n") if _is_stream(body) else (b"data: " + body,):
        if not line.startswith(b"data: {"):
            continue
        try:
            event = msgspec.json.decode(line[6:])
        except msgspec.DecodeError:
            continue
        if event.get("choices"):
            choice = event["choices"][0]
            found.append((choice.get("delta") or choice.get("message") or {}).get("content") or "")
        elif event.get("type") == "response.output_text.delta":
            found.append(event["delta"])
        elif event.get("type") == "content_block_delta":
            found.append(event["delta"].get("text", ""))
        elif event.get("type") == "message":
            found += [part.get("text", "") for part in event["content"]]
        elif event.get("object") == "response":
            found += [part["text"] for item in event["output"] for part in item.get("content", ())]
    return "".join(found)


def booked_as_seen(record: Record) -> Iterator[str]:
    """Attempts booked as sent = requests on the wire; those that came through = lines in the provider's ledger.

    A request may be written once more where a kept connection was closed without a byte of an answer.
    """
    booked = sum(row.sent_s is not None for row in record.attempts)
    begun, again = record.wire.begun, len(record.wire.unanswered)
    if not booked <= begun <= booked + again:
        yield f"{booked} attempts are booked as sent, but {begun} requests were written to the network ({again} again)"
    if len(record.sent) != len(record.ledger):
        yield f"{len(record.sent)} requests reached the provider, but its ledger has {len(record.ledger)} lines"
    read = reached(record.sent)
    for number, count in record.wire.delivered.items():
        missed = count - read.get(number, 0)
        in_time = record.wire.ended_s.get(number, 1e9) > record.wire.last_s[number] + MOMENT_S
        if missed < 0 or missed > 1 or (missed and in_time):
            yield f"{count} requests were delivered on connection {number}, {read.get(number, 0)} were read"
    ids = Counter(row.id for row in record.attempts)
    yield from (f"attempt {id_} is booked {count} times" for id_, count in ids.items() if count > 1)


def within_budgets(record: Record) -> Iterator[str]:
    """No flight tries more often than it may, and all together retry no more than the retry budget gives."""
    flights: dict[str, list[LogRow]] = defaultdict(list)
    for row in record.attempts:
        flights[row.flight_id].append(row)
    most, retries = record.scenario.engine["attempts_max"], 0
    for flight, rows in flights.items():
        throttled = sum(row.outcome == "throttled" for row in rows)
        tried = len(rows) - throttled
        retries += max(0, tried - 1 - len(backups(rows)))
        if tried > most or throttled > THROTTLED_MAX + 1:
            yield f"flight {flight} made {tried} tries of {most}, and was throttled {throttled} times"
    good = sum(row.outcome == "ok" for row in record.attempts)
    allowed = 10 + 0.1 * good + record.elapsed_s
    if retries > allowed:
        yield f"{retries} retries were made; the retry budget gives {allowed:.1f}"
    cap_usd, cap_tokens = record.scenario.engine["budget_usd"], record.scenario.engine["budget_tokens"]
    usd = sum(billed_usd(record, row) or 0.0 for row in record.ledger)
    billed_tokens = sum(row.input_tokens + row.output_tokens for row in record.ledger)
    if cap_usd is not None and usd > cap_usd + ESTIMATE_DOLLARS_OFF * len(record.ledger):
        yield f"${usd:.6f} were billed under a cap of ${cap_usd}"
    if cap_tokens is not None and billed_tokens > cap_tokens + ESTIMATE_TOKENS_OFF * len(record.ledger):
        yield f"{billed_tokens} tokens were billed under a cap of {cap_tokens}"


def billed_as_said(record: Record) -> Iterator[str]:
    """What the provider billed is in the call log: reported to the token, or marked as perhaps billed."""
    by_id: dict[str, list[LogRow]] = defaultdict(list)
    for row in record.attempts:
        by_id[row.request_id].append(row)
    groups = {sent.request_id: sent for sent in record.sent}
    silent = Counter(row.run for row in record.attempts if not row.request_id and row.maybe_billed)
    contents: dict[str, int] = Counter()
    for line in record.ledger:
        request_id = f"req_{line.id}"
        if request_id not in groups:
            continue
        rows = by_id.get(request_id, []) if line.id else []
        billed = line.input_tokens + line.output_tokens
        if not rows and billed:
            contents[line.content] += 1
        for row in rows:
            yield from _agrees(line, row, billed_usd(record, line))
    if sum(contents.values()) > sum(silent.values()):
        yield (
            f"{sum(contents.values())} billed answers never came through, but only {sum(silent.values())} attempts say"
            " that they may have been billed"
        )
    known = {f"req_{line.id}" for line in record.ledger}
    for row in record.attempts:
        if row.request_id and row.request_id not in known:
            yield f"attempt {row.id} names {row.request_id}, which the ledger does not know"


def _agrees(line: Row, row: LogRow, usd: float | None) -> Iterator[str]:
    billed = line.input_tokens + line.output_tokens
    if row.input_tokens is not None and not row.usage_estimated:
        said = (row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens)
        if said != (line.input_tokens, line.cached_tokens, line.output_tokens, line.reasoning_tokens):
            yield f"attempt {row.id} ({row.outcome}) reports {said}, the ledger has {line}"
        elif usd is not None and not isclose(row.dollars or 0.0, usd, abs_tol=1e-12):
            yield f"attempt {row.id} reports ${row.dollars}, the ledger ${usd}"
    elif billed and not row.maybe_billed and not row.usage_estimated:
        yield f"attempt {row.id} ({row.outcome}, {row.error_code}) says it was not billed; the ledger has {line}"


def nothing_too_late(record: Record) -> Iterator[str]:
    """Nothing is sent after its last caller's deadline, or after all its callers have gone."""
    limits = {str(got.plan.number): got.plan.deadline_s for got in record.got}
    default_s = record.scenario.engine["timeout_s"]
    latest: dict[str, float] = {}
    for row in record.calls:
        limit_s = default_s if row.cache == "refresh" else min(limits.get(row.step) or default_s, default_s)
        until_s = row.start_wall_s + min(limit_s, row.end_s or 0.0)
        latest[row.flight_id] = max(latest.get(row.flight_id, 0.0), until_s)
    for row in record.attempts:
        if row.sent_s is None or row.flight_id not in latest:  # a flight without a caller's row is told of elsewhere
            continue
        late_s = row.start_wall_s + row.sent_s - latest[row.flight_id]
        if late_s > 2 * MOMENT_S:
            yield f"attempt {row.id} of flight {row.flight_id} was sent {late_s:.6f} s after its callers' end"


def rest(record: Record) -> Iterator[str]:
    """At rest the engine holds nothing, and when it is closed nothing of it is left."""
    for what in ("held", "tasks", "timers"):
        yield from (f"at rest, {what}: {name}" for name in getattr(record.rest, what))
    yield from (f"left by the closed engine: {name}" for name in record.left_open)
