"""What must hold after every run, whatever befell it; each broken rule gives a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise

import headway

from .program import Left, Planned
from .world import Record

FAILED = ("failed", "timeout", "deadline", "budget")
MOMENT_S = 2e-6
"""The loop's clock goes in microseconds."""


def violations(record: Record) -> list[str]:
    """Every broken invariant of a run; [] if all is well."""
    return list(
        chain.from_iterable(check(record) for check in (nothing_left, one_end, stops_at_once, rows_agree, money_agrees))
    )


def nothing_left(record: Record) -> Iterator[str]:
    """No task, place, request or timer outlives the run."""
    yield from (f"the run had ended, and task {name} had not" for name in record.tasks_at_end)
    yield from (f"the run had ended, and {handle}" for handle in record.unsettled)
    yield from (f"a limit still has {what}" for what in record.held)
    yield from (f"the loop complained: {what}" for what in record.complaints)
    for what in ("held", "tasks", "timers"):
        yield from (f"at rest, {what}: {name}" for name in getattr(record.rest, what))
    if record.open_at_end:
        yield f"the run had ended, and {record.open_at_end} requests were open"
    if record.open:
        yield f"{record.open} requests are still open"
    if record.running:
        yield f"{record.running} functions of steps have begun and not ended"


def one_end(record: Record) -> Iterator[str]:
    """A value, or one error: a planned one or our own, by itself, and none that the plan has no reason for."""
    plan, error = record.plan, record.error
    if isinstance(error, BaseExceptionGroup):
        yield f"a group surfaced: {error!r}"
    if error is not None and not isinstance(error, (Planned, Left, headway.HeadwayError)):
        yield f"{error!r} surfaced, which nobody raised"
    if isinstance(error, Left) and plan.leave != "raises":
        yield "Left surfaced, but nobody left"
    if record.ended == "cancelled" and plan.leave != "cancelled":
        yield "the program ended as cancelled, but nobody cancelled it"
    if isinstance(error, headway.ConfigError) and "400" not in str(error):
        yield f"the program did nothing wrong, but: {error}"
    if record.rows:
        main = record.rows[0]
        failed = {row.outcome for row in record.rows} & set(FAILED)
        if record.ended == "value" and plan.leave == "" and main.outcome != "ok":
            yield f"the program got a value, but the run's row says {main.outcome}"
        if error is not None and not isinstance(error, Left) and main.outcome == "ok":
            yield f"{error!r} surfaced, but the run's row says ok"
        if error is not None and not isinstance(error, Left) and not failed:
            yield f"{error!r} surfaced, but no row failed"
        if record.ended == "value" and plan.leave == "" and failed:
            yield "a step failed that may not fail, and no error surfaced"


def stops_at_once(record: Record) -> Iterator[str]:
    """A failure, and a program that leaves, end all that is under way in that moment; so does whoever left a step last."""
    steps = [row for row in record.rows if row.index >= 0]
    ends = [row.end_s for row in steps if row.outcome in FAILED and row.end_s is not None]
    until_s = min([*ends, *([] if record.left_at_s is None else [record.left_at_s])], default=None)
    stubborn = any(one.fate == "swallows" for one in record.plan.steps)
    for row in steps:
        name = f"{row.step}#{row.index} ({row.outcome})"
        if until_s is not None and row.started_s is not None and row.started_s > until_s + MOMENT_S:
            yield f"{name} began at {row.started_s}, but the run had failed or was left at {until_s}"
        if until_s is not None and not stubborn and (row.end_s or 0.0) > until_s + MOMENT_S:
            yield f"{name} ended at {row.end_s}, but the run had failed or was left at {until_s}"
        dropped_s = record.dropped.get(row.step)
        if dropped_s is not None and not stubborn and (row.end_s or 0.0) > dropped_s + MOMENT_S:
            yield f"{name} ended at {row.end_s}, but nobody wanted it after {dropped_s}"
    by_name = {row.step: row for row in steps}
    for parent, children in record.children:
        for index in children if steps and by_name[parent].outcome != "ok" else ():
            if (steps[index].end_s or 0.0) > (by_name[parent].end_s or 0.0) + MOMENT_S:
                yield f"{parent} ended ({by_name[parent].outcome}) before its own call of {steps[index].step}#{index}"


def rows_agree(record: Record) -> Iterator[str]:
    """Every call has one row; its times are in order; what it waited for was there when it was ready."""
    steps = [row for row in record.rows if row.index >= 0]
    if [row.index for row in steps] != list(range(len(steps))):
        yield f"the rows' indexes are {[row.index for row in steps]}"
    for row in record.rows:
        name = f"{row.step}#{row.index} ({row.outcome})"
        times = [row.called_s, row.ready_s, row.started_s, row.first_chunk_s, row.end_s]
        known = [time for time in times if time is not None]
        if row.end_s is None:
            yield f"{name} has no end"
        if any(later < earlier - MOMENT_S for earlier, later in pairwise(known)):
            yield f"{name} has its times out of order: {times}"
        if row.outcome in ("ok", "failed", "timeout") and row.started_s is None and row.outcome == "ok":
            yield f"{name} is well but never began"
        for edge in row.edges:
            if not -1 <= edge.index < len(steps) or edge.index == row.index:
                yield f"{name} waited for {edge}"
            elif row.index >= 0 and row.ready_s is not None and edge.at_s > row.ready_s + MOMENT_S:
                yield f"{name} was ready at {row.ready_s}, but {edge} was there later"


def money_agrees(record: Record) -> Iterator[str]:
    """The run's row is the sum of its steps' rows, and every request to the provider is in one of them."""
    if not record.rows:
        return
    main, steps = record.rows[0], record.rows[1:]
    for key in ("calls", "attempts", "input_tokens", "output_tokens"):
        if getattr(main, key) != sum(getattr(row, key) for row in steps):
            yield f"the run has {getattr(main, key)} {key}, its steps {sum(getattr(row, key) for row in steps)}"
    if main.dollars is not None and abs(main.dollars - sum(row.dollars or 0.0 for row in steps)) > 1e-9:
        yield f"the run cost ${main.dollars}, its steps ${sum(row.dollars or 0.0 for row in steps)}"
    attempts = sum(row.attempts for row in steps)
    unsent = attempts - record.calls  # tries that the budget refused, or that were cancelled while they were paced
    if unsent < 0 or (unsent and all(row.outcome == "ok" for row in steps if row.attempts)):
        yield f"the provider was asked {record.calls} times, the rows say {attempts}"
