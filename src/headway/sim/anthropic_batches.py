"""Anthropic's Message Batches: what is accepted, how a batch is shown, and its results."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import Any, Final

import msgspec

from headway.sim.batch_jobs import Job, Jobs, RowIn, Who
from headway.sim.refusals import Refused, invalid
from headway.sim.text import digest

__all__ = ["MessageBatches"]

_PATH: Final = "/v1/messages"
_ID_CHARS_MAX: Final = 64


class _Request(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _Create(msgspec.Struct):
    requests: list[_Request]


class MessageBatches:
    """The endpoints under ``/v1/messages/batches``. `base` is their own address, for the links in answers."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def create(self, who: Who, raw: bytes, base: str) -> dict[str, Any]:
        """A new batch. Raises `Refused` (400, 413, 429). Whether requests are valid is told in the results."""
        try:
            asked = msgspec.json.decode(raw, type=_Create).requests
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise invalid(f"requests: {error}") from None
        most = self._jobs.settings.message_rows_max
        if not 0 < len(asked) <= most:
            raise invalid(f"requests: expected 1 to {most:,} requests, got {len(asked):,}")
        seen: set[str] = set()
        for place, request in enumerate(asked):
            if not 0 < len(request.custom_id) <= _ID_CHARS_MAX:
                raise invalid(f"requests.{place}.custom_id: String should have 1 to {_ID_CHARS_MAX} characters")
            if request.custom_id in seen:
                raise invalid(f"requests.{place}.custom_id: '{request.custom_id}' is used more than once")
            seen.add(request.custom_id)
        self._jobs.check_rate(who)
        rows = tuple(RowIn(request.custom_id, request.params) for request in asked)
        job = self._jobs.make("msgbatch", who, "messages", _PATH, rows, content=digest(raw))
        await self._jobs.add(job)
        return self._view(job, base)

    async def get(self, who: Who, job_id: str, base: str) -> dict[str, Any]:
        """A batch as it is now. Raises `Refused` (404)."""
        return self._view(await self._job(who, job_id), base)

    async def listed(self, who: Who, query: dict[str, str], base: str) -> dict[str, Any]:
        """A page of batches, newest first. Raises `Refused` (400)."""
        limit = query.get("limit", "20")
        if not limit.isdigit() or not 1 <= int(limit) <= 1_000:
            raise invalid("limit: expected a number from 1 to 1000")
        ids = [job.id for job in self._jobs.all("msgbatch", who)]
        after, before = query.get("after_id", ""), query.get("before_id", "")
        if after in ids:
            ids = ids[ids.index(after) + 1 :]
        if before in ids:
            ids = ids[: ids.index(before)][-int(limit) :]
        found = [await self.get(who, job_id, base) for job_id in ids[: int(limit)]]
        return {
            "data": found, "has_more": len(found) < len(ids), "first_id": found[0]["id"] if found else None,
            "last_id": found[-1]["id"] if found else None,
        }  # fmt: skip

    async def cancel(self, who: Who, job_id: str, base: str) -> dict[str, Any]:
        """A batch that is being cancelled; one that has ended stays as it is. Raises `Refused` (404)."""
        job = await self._job(who, job_id)
        self._jobs.cancel(job)
        return self._view(job, base)

    async def delete(self, who: Who, job_id: str) -> dict[str, Any]:
        """Forget a batch that has ended. Raises `Refused` (400, 404)."""
        job = await self._job(who, job_id)
        if not job.ended(job.seen_s):
            raise invalid("A Message Batch must have ended before it is deleted.")
        self._jobs.forget(job)
        return {"id": job_id, "type": "message_batch_deleted"}

    async def results(self, who: Who, job_id: str) -> bytes:
        """JSON lines, in no order. Raises `Refused` (404)."""
        job = await self._job(who, job_id)
        if not job.ended(job.seen_s):
            raise _missing(f"Message Batch {job_id[:100]} has no available results.")
        self._close(job)
        return job.results

    async def _job(self, who: Who, job_id: str) -> Job:
        job = await self._jobs.get("msgbatch", who, job_id)
        if job is None:
            raise _missing(f"Message Batch {job_id[:100]} not found.")
        return job

    def _view(self, job: Job, base: str) -> dict[str, Any]:
        """As the API shows it; counts stay zero until the end."""
        now_s, clock = job.seen_s, job.clock
        ended = job.ended(now_s)
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        if ended:
            self._close(job)
            counts |= job.about
        else:
            counts["processing"] = job.total
        if ended and job.fault == "counts":
            counts |= {"succeeded": min(1, job.total), "errored": 0, "canceled": 0, "expired": 0}
        cancelling = clock.cancelling_s <= now_s
        return {
            "id": job.id, "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if cancelling else "in_progress",
            "request_counts": counts,
            "created_at": _time(job, clock.created_s), "expires_at": _time(job, clock.expires_s),
            "ended_at": _time(job, clock.ended_s) if ended else None,
            "cancel_initiated_at": _time(job, clock.cancelling_s) if cancelling else None,
            "archived_at": None,
            "results_url": f"{base}/{job.id}/results" if ended else None,
        }  # fmt: skip

    def _close(self, job: Job) -> None:
        """Write the results."""
        if job.closed:
            return
        lines, counts = [], {"succeeded": job.succeeded, "errored": job.failed, "canceled": 0, "expired": 0}
        for place, answered in job.answers.items():
            good = answered.status == 200
            told = {"type": "succeeded", "message": answered.body}
            lines.append(
                _line(job.rows[place].custom_id, told if good else {"type": "errored", "error": answered.body})
            )
        late = "expired" if job.clock.cancelling_s == inf else "canceled"
        for custom_id in job.unanswered():
            counts[late] += 1
            lines.append(_line(custom_id, {"type": late}))
        job.about, job.results = counts, b"".join(lines)
        job.close()


def _line(custom_id: str, result: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"custom_id": custom_id, "result": result}) + b"\n"


def _time(job: Job, at_s: float) -> str:
    return datetime.fromtimestamp(job.wall_s(at_s), UTC).isoformat().replace("+00:00", "Z")


def _missing(message: str) -> Refused:
    return Refused(404, message, "not_found_error", None)
