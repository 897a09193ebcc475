"""What a batch came to, row by row: answers are booked and judged, the others marked for what has to be done.

Result files are read as they come, in any order; what a provider counts is not looked at. A download that breaks is
made again from its beginning, and rows that it had told already are passed over.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from headway.engine.row import RowAsk
from headway.errors import BadReply, Closed, ConfigError, HeadwayError, InputError
from headway.jobs.lane_batch_calls import REFUSED_MAX, BatchCalls
from headway.jobs.lane_batch_types import BatchEngine, Got
from headway.jobs.lanes import Settle, Took
from headway.jobs.parcel import AGAIN, OWED, REPAIR, SETTLED, Kept, Parcel
from headway.jobs.parcel_events import Bad
from headway.jobs.purse import Purse
from headway.policy.parcels import patience_s
from headway.types import Reply, Result, Tags, TaskLike, Trace
from headway.wire.batch import PRICE_RATIO, BatchRequest, BatchRow, BatchView, result_lines

__all__ = ["Results"]

DOWNLOADS_MAX: Final = 20
"""Tries at a result file, some two and a half hours of them: what is in it is paid for."""
_ROWS_AT_ONCE: Final = 32
"""Rows taken before other tasks get their turn."""


class Results:
    """Reads a batch's results and settles rows.

    Args:
        engine: Books answers.
        task: What was asked, and what an answer has to be.
        calls: Fetches.
        settle: See `lanes.Settle`.
        purse: Told of what is booked.
        tags: For the call log.
    """

    def __init__(
        self,
        engine: BatchEngine,
        task: TaskLike,
        calls: BatchCalls,
        settle: Settle,
        purse: Purse,
        tags: Tags | None,
    ) -> None:
        self._engine = engine
        self._task = task
        self._calls = calls
        self._settle = settle
        self._purse = purse
        self._tags = tags
        self._loop = asyncio.get_running_loop()

    async def take(self, parcel: Parcel, view: BatchView) -> bool:
        """Settle every row that has an answer, and mark the others; `OWED` ones are in no file.

        Returns:
            Whether a file is not to be had any more, so that answers may be lost that were paid for.

        Raises:
            HeadwayError: The credential is refused.
        """
        lost = False
        for request in self._calls.format.results(view):
            lost = not await self._fetched(parcel, view, request) or lost
        self._blame(parcel, view)
        await self._note_bad(parcel)
        return lost

    async def _note_bad(self, parcel: Parcel) -> None:
        """Write down what rows took that are asked again: should this process end, a later one adds it to theirs."""
        rows: dict[str, Took] = {}
        for count, n in enumerate(parcel.places(REPAIR), 1):
            kept = parcel.read(n)
            rows[kept.key] = self._took(parcel, n, kept) or Took()
            if not count % _ROWS_AT_ONCE:
                await asyncio.sleep(0)
        if rows:
            self._calls.note(Bad(part=parcel.part, rows=rows), durable=False)

    def _took(self, parcel: Parcel, n: int, kept: Kept) -> Took | None:
        """What was paid for answers of no use to a row."""
        ask = parcel.asks.get(n)
        if ask is None:
            return kept.took
        result = self.result(ask, kept)
        took = Took(result.dollars, result.attempts, max(0, ask.repairs - 1))  # the last one was not answered
        return took if kept.took is None else took + kept.took

    def ask(self, parcel: Parcel, n: int, kept: Kept) -> RowAsk:
        """What the row asks, with what came of it so far in this process."""
        return parcel.asks.get(n) or RowAsk(self._task, kept.data)

    def broke(self, parcel: Parcel, n: int, error: str) -> None:
        """There is no money to ask about the row again."""
        kept = parcel.read(n)
        result = self.result(self.ask(parcel, n, kept), kept)
        result = msgspec.structs.replace(result, error=error, outcome="budget", error_code="budget")
        self.finish(parcel, n, result, kept)

    def finish(self, parcel: Parcel, n: int, result: Result | None, kept: Kept | None = None) -> None:
        """Settle a row and those that wait for its answer; None: all of them have to go another way."""
        kept = kept or parcel.read(n)
        if result is not None:
            result = msgspec.structs.replace(result, lane="batch")
            if kept.lost:
                result = msgspec.structs.replace(result, dollars=None, attempts=result.attempts + kept.lost)
            self._settle(kept.item, result)
        else:
            took = self._took(parcel, n, kept)
            if kept.lost:
                took = (took or Took()) + Took(None, kept.lost)
            self._settle(msgspec.structs.replace(kept.item, took=took), None)
        for other in parcel.waiting(n):
            self._settle(other.item, None if result is None else self._shared(result, other))
        parcel.settle(n)

    def fail(self, parcel: Parcel, n: int, error: HeadwayError) -> None:
        """The row ends with that error."""
        kept = parcel.read(n)
        ask = self.ask(parcel, n, kept)
        ask.failed(error)
        self.finish(parcel, n, self.result(ask, kept), kept)

    def result(self, ask: RowAsk, kept: Kept) -> Result:
        """What became of a row."""
        now_s = self._loop.time()
        return ask.result(kept.row, latency_s=now_s - kept.put_at_s, started_at_s=kept.put_at_s)

    async def _fetched(self, parcel: Parcel, view: BatchView, request: BatchRequest) -> bool:
        """Whether a file was read to its end."""
        missing = 0
        for tries in range(1, DOWNLOADS_MAX + 1):
            problem = "it ended in the middle of a line"
            try:
                async with await self._calls.stream(request) as reply:
                    if reply.status < 300:
                        if await self._read(parcel, view, reply):
                            return True
                    else:
                        got = Got(reply.status, await reply.read())
                        problem, missing = got.said, missing + (not got.trouble)
                        if missing and got.status in (401, 403):
                            raise ConfigError(f"a batch's results are refused: {problem}; mend that, then run again")
            except (Closed, ConfigError):
                raise
            except HeadwayError:
                pass  # once more from its beginning
            if missing >= REFUSED_MAX:
                return False
            await asyncio.sleep(patience_s(tries))
        return False

    async def _read(self, parcel: Parcel, view: BatchView, reply: Reply) -> bool:
        """Take every row of a file; whether it was whole."""
        rest, taken = b"", 0
        async for chunk in reply:
            lines, rest = result_lines(rest, chunk)
            for line in lines:
                row = self._calls.format.read_line(line)
                if row is not None:
                    self._take(parcel, view, row)
                taken += 1
                if not taken % _ROWS_AT_ONCE:
                    await asyncio.sleep(0)
        if not rest.strip():
            return True
        row = self._calls.format.read_line(rest)
        if row is not None:
            self._take(parcel, view, row)
        return row is not None

    def _take(self, parcel: Parcel, view: BatchView, row: BatchRow) -> None:
        n = self._calls.place(parcel, row.custom_id)
        if n < 0 or not parcel.brought(n) or parcel.marks[n] in (SETTLED, REPAIR):
            return
        parcel.may_run = False  # this is its batch
        if row.retryable:
            parcel.marks[n] = AGAIN
            return
        if not row.status:
            said = f": {row.message.rstrip('.')}" if row.message else ""
            self.fail(parcel, n, BadReply(f"the batch gave no answer to this row ({row.error_code}{said})"))
            return
        self._judge(parcel, n, view, row)

    def _judge(self, parcel: Parcel, n: int, view: BatchView, row: BatchRow) -> None:
        kept = parcel.read(n)
        ask = self.ask(parcel, n, kept)
        if not ask.settled:
            if n in parcel.repairs:
                ask.repairs = max(1, kept.repairs)
            # A repair that an earlier run sent: what it answers is not what the row asks first, nor to be kept as that.
            key_body = b'{"repair":"%s"}' % row.custom_id.encode() if n in parcel.repairs else ask.key_body
            trace = self._engine.adopt(
                self._task.path,
                ask.body,
                row.status,
                row.body,
                key_body=key_body,
                price_ratio=PRICE_RATIO,
                tags=self._tags,
                started_wall_s=view.created_wall_s,
            )
            if parcel.keys is not None:
                self._purse.owe(parcel.part, self._purse.owed(parcel.part) - (trace.dollars or 0.0))
            if not self._answered(parcel, n, ask, row, trace):
                self._purse.release(kept.item)  # what is asked next is another request
                parcel.asks[n] = ask
                parcel.marks[n] = REPAIR
                return
        self.finish(parcel, n, self.result(ask, kept), kept)

    def _answered(self, parcel: Parcel, n: int, ask: RowAsk, row: BatchRow, trace: Trace) -> bool:
        """Whether the answer settles the row.

        What an earlier run asked about a part of a row cannot be told from here, nor what the other parts were: it is
        paid for, and the row is asked as a whole again.
        """
        if n in parcel.repairs and n not in parcel.asks and ask.in_parts and trace.outcome == "ok":
            ask.begin_again(trace)
            return False
        return ask.answered(row.status, row.body, trace)

    def _blame(self, parcel: Parcel, view: BatchView) -> None:
        """A batch that failed as a whole may say for which rows: theirs it is, the others go again."""
        for error in view.errors:
            n = -1 if error.line is None else error.line - 1
            if 0 <= n < len(parcel) and parcel.brought(n) and parcel.marks[n] == OWED:
                said = error.message.rstrip(".") or error.code
                self.fail(parcel, n, InputError(f"the batch API refused this row: {said}"))

    def _shared(self, result: Result, other: Kept) -> Result:
        """What a row that waited for another's answer gets."""
        return msgspec.structs.replace(
            result,
            index=other.row,
            row=other.data,
            latency_s=self._loop.time() - other.put_at_s,
            started_at_s=other.put_at_s,
            dollars=0.0,
            saved_dollars=result.dollars,
            cache="joined",
            attempts=0,
            repairs=0,
        )
