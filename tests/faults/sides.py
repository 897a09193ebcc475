"""What must hold between tries side by side, providers side by side, and callers who must not see each other's answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import isclose

from headway.sim.ledger import Row
from headway.store.rows import LogRow

from .plans import CLIENT_KEY, HOST, Plan
from .world import Record

__all__ = ["backups", "billed_usd", "once_each", "own_kind", "own_origin", "side_by_side", "silence"]

PIECEMEAL = ("slow", "split", "stall")
UPLOAD_BYTES = 60_000
"""A larger request may take its time until it is written."""
MOMENT_S = 1e-5
"""What two sums of times near 2e9 may differ by."""


def backups(rows: Sequence[LogRow]) -> list[LogRow]:
    """Those of a flight's tries that were started while another ran."""
    found, running_until_s = [], 0.0
    for row in sorted(rows, key=lambda row: row.attempt_index):
        if row.start_wall_s < running_until_s - MOMENT_S:
            found.append(row)
        running_until_s = max(running_until_s, row.start_wall_s + (row.end_s or 0.0))
    return found


def billed_usd(record: Record, line: Row) -> float | None:
    """A ledger's line in dollars, at the prices of whoever answered; None when unknown."""
    host = next((sent.host for sent in record.sent if sent.request_id == f"req_{line.id}"), HOST)
    own = next((other.usd for other in record.scenario.others if other.host == host), None)
    if own is None:
        return line.dollars
    return (line.input_tokens * own[0] + line.output_tokens * own[1]) / 1e6


def silence(record: Record) -> Iterator[str]:
    """Nobody waits for a first byte longer than the leader's own timeouts, or else the engine's, allow."""
    if record.wire.unanswered or any(fault.kind in PIECEMEAL for fault in record.scenario.network):
        return  # what is sent once more waits for a connection first; and a byte now and then is no silence
    plans = _plans(record)
    for row in record.attempts:
        if row.sent_s is None or row.body_bytes > UPLOAD_BYTES:
            continue
        limit_s = _limit_s(record, plans.get(row.step), stream=row.stream)
        until_s = row.first_byte_s if row.first_byte_s is not None else row.end_s
        if until_s is not None and until_s - row.sent_s > limit_s + MOMENT_S:
            yield f"attempt {row.id} was silent for {until_s - row.sent_s:.6f} s, {limit_s:g} s are allowed"


def _limit_s(record: Record, plan: Plan | None, *, stream: bool) -> float:
    kind = "first_event" if stream else "first_byte"
    own = plan.timeouts if plan is not None else None
    if own is None:
        return float(record.scenario.engine[f"{kind}_timeout_s"])
    return own.get(f"{kind}_s", own["idle_s"])  # an SDK's one read timeout stands for all


def own_origin(record: Record) -> Iterator[str]:
    """The client's credential reaches its own origin only, a stand-in's its own; and the log says who answered."""
    keys = {HOST: CLIENT_KEY} | {other.host: other.key for other in record.scenario.others}
    hosts = {f"http://{HOST}": HOST}
    for other in record.scenario.others:
        hosts |= {entry["name"]: other.host for entry in other.entries()}
    keyless = {other.host for other in record.scenario.others if other.state == "keyless"}
    by_id = {}
    for sent in record.sent:
        by_id[sent.request_id] = sent
        for host, key in keys.items():
            carried = any(key in value for value in sent.credentials)
            if carried and host != sent.host:
                yield f"the key of {host} went to {sent.host}"
            if host == sent.host and not carried and host not in keyless:
                yield f"a request to {host} came without its key"
    for row in record.attempts:
        sent = by_id.get(row.request_id) if row.request_id else None
        if sent is not None and hosts.get(row.upstream) != sent.host:
            yield f"attempt {row.id} names {row.upstream!r}, but {sent.host} answered it"


def own_kind(record: Record) -> Iterator[str]:
    """An answer that a caller got was fetched for the same question, the same namespace and the same sample."""
    plans = _plans(record)
    fetched = {row.request_id: row for row in record.attempts if row.request_id}
    for got in record.got:
        row = fetched.get(got.request_id)
        if row is None or not (got.body or got.text):
            continue
        plan, asked = got.plan, plans.get(row.step)
        kinds = ("", "") if asked is None else (asked.namespace, asked.sample)
        if kinds != (plan.namespace, plan.sample):
            yield f"caller {plan.number} of {plan.namespace!r}, {plan.sample!r} got an answer fetched for {kinds}"
        if row.path.rpartition("/v1/")[2] != plan.path.rpartition("/v1/")[2]:
            yield f"caller {plan.number} asked {plan.path} and got an answer of {row.path}"
        if asked is not None and asked.group != plan.group:
            yield f"caller {plan.number} of group {plan.group} got an answer of group {asked.group}"


def side_by_side(record: Record) -> Iterator[str]:
    """A flight has one backup at most, every try has an end, and its callers are told what all its tries cost."""
    callers: dict[str, list[LogRow]] = defaultdict(list)
    flights: dict[str, list[LogRow]] = defaultdict(list)
    for row in record.calls:
        callers[row.flight_id].append(row)
    for row in record.attempts:
        flights[row.flight_id].append(row)
        if row.outcome is None or row.end_s is None:
            yield f"attempt {row.id} has no end"
    ratio = record.scenario.engine.get("hedge_ratio", 0.0)
    beside = [row for rows in flights.values() for row in backups(rows)]
    usd = sum(row.dollars or 0.0 for row in beside)
    others_usd = sum(row.dollars or 0.0 for row in record.attempts) - usd
    if usd > ratio * others_usd + 1e-12:
        yield f"backups cost ${usd:.9f}, the share of ${others_usd:.9f} is {ratio:g}"
    for flight, rows in flights.items():
        late = backups(rows)
        if len(late) > (ratio > 0):
            yield f"flight {flight} had {len(late)} tries beside another"
        spent = [row.dollars for row in rows]
        told = [row.dollars for row in callers[flight]]
        known = [usd for usd in spent if usd is not None]
        if told and None not in told and len(known) == len(spent):
            total = sum(usd for usd in told if usd is not None)
            if not isclose(total, sum(known), abs_tol=1e-12):
                yield f"the callers of flight {flight} were told ${total:.9f}, its tries cost ${sum(known):.9f}"


def once_each(record: Record) -> Iterator[str]:
    """An SDK's own retries add nothing: one call of it is one row, and one flight with as many tries as any other."""
    flights: dict[str, set[str]] = defaultdict(set)
    for row in record.attempts:
        flights[row.step].add(row.flight_id)
    refreshed = {row.flight_id for row in record.calls if not row.body_bytes}
    for got in record.got:
        own = flights[str(got.plan.number)] - refreshed
        if len(own) > 1:
            yield f"caller {got.plan.number} had {len(own)} flights, with {got.plan.retries} retries of its own"


def _plans(record: Record) -> dict[str, Plan]:
    return {str(got.plan.number): got.plan for got in record.got}
