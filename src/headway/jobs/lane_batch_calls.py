"""The batch lane's calls: a parcel handed in, found again, asked about, cancelled. Trouble is waited out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from headway.errors import ConnectFailed, DeadlineExceeded, HeadwayError, Overloaded, ProviderError
from headway.jobs.lane_batch_types import BatchEngine, Got, JournalLike, Sent
from headway.jobs.parcel import Parcel
from headway.jobs.parcel_events import Event, Intent, Submitted, Uploaded, encode
from headway.policy.parcels import cancel_delay_s, patience_s, poll_delay_s
from headway.types import Reply, Tags
from headway.wire.batch import BatchFormat, BatchRequest, BatchView

__all__ = ["BROKEN_MAX", "REFUSED_MAX", "BatchCalls"]

REFUSED_MAX: Final = 5
"""So many refusals in a row of a call that used to work: the key was revoked, say; the job has to stop."""
BROKEN_MAX: Final = 10
"""So many server errors in a row to the same upload or creation, half an hour of them: it does not work here."""
UNREACHABLE_MAX: Final = 4
"""So many failures to connect, before anything else was heard (some 35 s of them): the address is wrong."""
CANCEL_MAX_S: Final = 1_800.0
"""How long a batch that was cancelled is waited for. Source: OpenAI, "Batch API" (up to 10 minutes), three times."""
CANCELS_S: Final = 5.0
"""How long a run that ends waits until its batches are cancelled."""
_AUTH: Final = frozenset((401, 403))
_GONE: Final = frozenset((404, 410))
_ABSENT: Final = frozenset((404, 405, 501))


class BatchCalls:
    """Makes them.

    Args:
        engine: Sends.
        format_: The provider's batch API.
        journal: Where what is done is noted, before and after.
        wall_s: Calendar time.
        tags: For the call log.
    """

    def __init__(
        self,
        engine: BatchEngine,
        format_: BatchFormat,
        journal: JournalLike,
        wall_s: Callable[[], float],
        tags: Tags | None,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._wall_s = wall_s
        self._tags = tags
        self._loop = asyncio.get_running_loop()
        self.format = format_
        self.back = asyncio.Event()
        """Set once rows are wanted back: from then on nothing is handed in, nor waited for that can be left."""
        self.deadline_at_s: float | None = None
        self.unsure = ""
        """What was heard when it was not clear whether a batch was made."""
        self.reason = ""
        """Why the last parcel was refused for good."""
        self.trouble = ""
        """What the last call met that is being waited out; "" while all is well."""
        self._unreachable: int | None = 0  # connections that failed, until one did not
        self.absent = False
        """Whether there is no batch API at this address, or none that works."""
        self.known: set[str] = set()
        """Batches that are known to be a part's, or nobody's of ours."""

    def note(self, event: Event, *, durable: bool = True) -> None:
        """Write an event into the journal."""
        self._journal.note(encode(event), durable=durable)

    async def call(self, request: BatchRequest) -> Got:
        """Make a call, once as far as it is up to us.

        Raises:
            HeadwayError: There is nobody at the address, and there never was in this run.
        """
        try:
            reply = await self._engine.request(
                request.method, request.path, request.body, headers=dict(request.headers), tags=self._tags
            )
            got = Got(reply.status, await reply.read())
            self._unreachable = None
        except (ProviderError, DeadlineExceeded, Overloaded) as error:
            got = Got(0, b"", str(error), not isinstance(error, ConnectFailed | Overloaded))
            if self._unreachable is not None and isinstance(error, ConnectFailed):
                self._unreachable += 1
                if self._unreachable >= UNREACHABLE_MAX:
                    raise
        self.trouble = got.said if got.trouble else ""
        return got

    async def stream(self, request: BatchRequest) -> Reply:
        """Make a call whose answer comes as it arrives; to be closed. Raises `HeadwayError`."""
        return await self._engine.request(
            request.method, request.path, request.body, headers=dict(request.headers), stream=True, tags=self._tags
        )

    async def pause(self, delay_s: float) -> None:
        """Wait, unless rows are wanted back."""
        try:
            async with asyncio.timeout(delay_s):
                await self.back.wait()
        except TimeoutError:
            pass

    async def hand_in(self, parcel: Parcel) -> Sent:
        """Upload a parcel and create its batch, as far as that is not done yet; its books are kept.

        Raises:
            HeadwayError: The credential is refused, or the journal cannot be written.
        """
        if not parcel.at_wall_s:
            parcel.at_wall_s = self._wall_s()
            keys, repairs, dollars = parcel.take_names(), tuple(parcel.asks), parcel.dollars
            at_wall_s = parcel.at_wall_s
            self.note(Intent(part=parcel.part, at_wall_s=at_wall_s, keys=keys, repairs=repairs, dollars=dollars))
        lines: list[bytes] = parcel.lines() if parcel.has_lines and not parcel.file_id else []
        if not parcel.file_id:
            upload = self.format.upload(lines, name=self.name(parcel.part))
            if upload is not None:
                lines = []  # one copy of them is enough
                sent = await self._upload(parcel, upload)
                if sent != "out":
                    return sent
        return await self._create(parcel, lines)

    def name(self, part: int) -> str:
        """What a part's rows' ids begin with; "-" and the place follow."""
        return f"{self._journal.run}-{part}"

    async def _upload(self, parcel: Parcel, upload: BatchRequest) -> Sent:
        tries = broken = 0
        while not self.back.is_set():
            parcel.state = "uploading"
            got = await self.call(upload)
            if got.status and got.status < 300:
                parcel.file_id = self.format.read_file_id(got.data)
                if parcel.file_id:
                    self.note(Uploaded(part=parcel.part, file_id=parcel.file_id), durable=False)
                    return "out"
            broken = broken + 1 if got.status >= 500 else 0
            if broken >= BROKEN_MAX or (not got.trouble and (got.status >= 300 or tries >= REFUSED_MAX)):
                return self._refused(got)
            tries += 1
            await self.pause(patience_s(tries))
        return "stopped"

    async def _create(self, parcel: Parcel, lines: list[bytes]) -> Sent:
        metadata = {"headway_run": self._journal.run, "headway_part": str(parcel.part)}
        tries = 0
        while not self.back.is_set():
            got = await self.call(self.format.create(file_id=parcel.file_id, lines=lines, metadata=metadata))
            if got.status and got.status < 300:
                view = self.format.read_batch(got.data)
                if view is None:
                    return "unsure"
                self.created(parcel, view)
                return "out"
            if self.format.over_queue(got.status, got.data):
                return "full"
            if got.status >= 500 or (not got.status and got.sent):
                self.unsure = got.said
                return "unsure"  # it may have been made: to make it once more is to pay twice
            if not got.trouble:
                return self._refused(got)
            tries += 1
            await self.pause(patience_s(tries))
        return "stopped"

    def created(self, parcel: Parcel, view: BatchView) -> None:
        """Its batch is at the provider."""
        self.known.add(view.id)
        parcel.batch_id, parcel.state, parcel.unsure = view.id, view.state, 0
        parcel.sent_at_s = self._loop.time()
        if view.created_wall_s is not None:
            parcel.sent_at_s -= max(0.0, self._wall_s() - view.created_wall_s)
        self.note(Submitted(part=parcel.part, batch_id=view.id, file_id=parcel.file_id))
        parcel.drop_lines()

    def _refused(self, got: Got) -> Sent:
        self.reason = f"the batch API refused a batch: {got.said}"
        if got.status in _AUTH:
            raise HeadwayError(f"{self.reason}; check the API key, then run again")
        self.absent = got.status in _ABSENT or got.status >= 500
        return "large" if got.status == 413 else "hopeless"

    async def watch(self, parcel: Parcel, alive: Callable[[], None]) -> BatchView | None:
        """Ask about a batch until it has ended; cancel it when rows are wanted back.

        Args:
            parcel: Whose batch.
            alive: Called once, when it turns out to run.

        Returns:
            How it ended; None where it is not there any more, or does not end although it was cancelled.

        Raises:
            HeadwayError: The credential is refused.
        """
        refusals = polls = 0
        told, heard, cancelled_at_s = False, False, None
        while True:
            now_s = self._loop.time()
            if self.back.is_set() and not heard:
                heard = not (await self.call(self.format.cancel(parcel.batch_id))).trouble
                if cancelled_at_s is None:
                    cancelled_at_s, polls = now_s, 0
            if cancelled_at_s is not None:
                if now_s - cancelled_at_s > CANCEL_MAX_S:
                    return None
                await asyncio.sleep(cancel_delay_s(polls))
            elif polls or self._loop.time() - parcel.sent_at_s < 1.0:  # one of an earlier run is asked about at once
                left_s = float("inf") if self.deadline_at_s is None else self.deadline_at_s - now_s
                delay_s = poll_delay_s(now_s - parcel.sent_at_s, left_s)
                await self.pause(max(delay_s, patience_s(refusals) if refusals else 0.0))
                if self.back.is_set():
                    continue
            polls += 1
            got = await self.call(self.format.status(parcel.batch_id))
            view = self.format.read_batch(got.data) if got.status and got.status < 300 else None
            if view is None:
                refusals = refusals + 1 if not got.trouble else 0
                if refusals >= REFUSED_MAX:
                    if got.status in _GONE or got.status < 300:
                        return None
                    raise HeadwayError(f"batch {parcel.batch_id} cannot be asked about: {got.said}; then run again")
                continue
            refusals, parcel.state = 0, view.state
            if not told and not view.over_queue and (view.ended or view.state != "validating"):
                told = True
                alive()
            if view.ended:
                return view

    async def cancel_all(self, batch_ids: list[str]) -> None:
        """Cancel batches whose answers nobody can keep; at best, and within a few seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCELS_S):
                cancels = [self.call(self.format.cancel(id_)) for id_ in batch_ids]
                await asyncio.gather(*cancels, return_exceptions=True)

    async def forget(self, parcel: Parcel) -> None:
        """Delete the file that was uploaded; at best."""
        request = self.format.delete_file(parcel.file_id) if parcel.file_id else None
        parcel.file_id = ""
        if request is not None:
            await self.call(request)

    def place(self, parcel: Parcel, custom_id: str) -> int:
        """The place that a row's id names; -1 for one that is not this parcel's."""
        head, _, n = custom_id.rpartition("-")
        if head != self.name(parcel.part) or not n.isdecimal() or not n.isascii() or int(n) >= len(parcel):
            return -1
        return int(n)
