"""OpenAI's Batch API: what it accepts, how it shows a batch, and the files it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Any, Final

import msgspec

from headway.sim.ask import Api, map_at, object_of
from headway.sim.batch_jobs import Job, Jobs, RowIn, Who
from headway.sim.files import FileStore, no_such, page
from headway.sim.profiles import profile_for
from headway.sim.refusals import Refused, invalid
from headway.sim.text import dice, digest

__all__ = ["OpenAIBatches"]

ENDPOINTS: Final[Mapping[str, Api]] = MappingProxyType(
    {"/v1/responses": "responses", "/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}
)
_EMBEDDINGS: Final = "/v1/embeddings"
_ERRORS_MAX: Final = 100
_AT_ONCE: Final = 200
"""Lines looked at before other requests get their turn."""
_LATE: Final = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This request was not executed because the batch was cancelled.",
}


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Model(msgspec.Struct):
    model: str = ""
    input: Any = None
    """Embeddings: what is counted."""


class OpenAIBatches:
    """The endpoints under ``/v1/batches``.

    Args:
        jobs: Every batch.
        files: Every file.
    """

    def __init__(self, jobs: Jobs, files: FileStore) -> None:
        self._jobs = jobs
        self._files = files

    async def create(self, who: Who, raw: bytes) -> dict[str, Any]:
        """A new batch. Raises `Refused` (400, 429)."""
        body = object_of(raw)
        path = str(body.get("endpoint") or "")
        if path not in ENDPOINTS:
            raise invalid(f"Invalid value for 'endpoint': expected one of {', '.join(ENDPOINTS)}.", "endpoint")
        if body.get("completion_window") != "24h":
            raise invalid("Invalid value for 'completion_window': expected '24h'.", "completion_window")
        metadata = _metadata(body)
        held = self._files.get(who, str(body.get("input_file_id") or ""))
        if held is None or held.purpose != "batch":
            raise invalid("Invalid value for 'input_file_id': there is no such file with purpose 'batch'.",
                          "input_file_id")  # fmt: skip
        self._jobs.check_rate(who)
        api = ENDPOINTS[path]
        rows, model, errors = await self._read(held.content, path)
        family = (known[1].family or known[0]) if (known := profile_for(model)) else model
        tokens = 0 if errors else await self._tokens(api, rows)
        errors = errors or self._over_queue(who, model, family, tokens)
        job = self._jobs.make(
            "batch", who, api, path, tuple(rows), content=digest(held.content), model=family, tokens=tokens
        )
        job.errors = errors or self._own_error(job)
        job.about = {"input_file_id": held.id, "metadata": metadata, "model": model or None}
        await self._jobs.add(job)
        return self._view(job)

    async def get(self, who: Who, job_id: str) -> dict[str, Any]:
        """A batch as it is now. Raises `Refused` (404)."""
        return self._view(await self._job(who, job_id))

    async def cancel(self, who: Who, job_id: str) -> dict[str, Any]:
        """A batch that is being cancelled. Raises `Refused` (404, 409)."""
        job = await self._job(who, job_id)
        if not self._jobs.cancel(job):
            status = self._view(job)["status"]
            raise Refused(409, f"Cannot cancel a batch with status '{status}'.", "invalid_request_error", None)
        return self._view(job)

    async def listed(self, who: Who, query: dict[str, str]) -> dict[str, Any]:
        """A page of batches, newest first. Raises `Refused` (400)."""
        found = page([{"id": job.id} for job in self._jobs.all("batch", who)], query, least=20, most=100)
        found["data"] = [await self.get(who, row["id"]) for row in found["data"]]
        return found

    async def _job(self, who: Who, job_id: str) -> Job:
        job = await self._jobs.get("batch", who, job_id)
        if job is None:
            raise no_such("Batch", job_id)
        return job

    async def _read(self, content: bytes, path: str) -> tuple[list[RowIn], str, list[dict[str, Any]]]:
        """The rows of a file, their model, and what is wrong with it."""
        limits = self._jobs.settings
        if len(content) > limits.bytes_max:
            text = f"The batch input file is larger than the {limits.bytes_max:,} bytes that are allowed."
            return [], "", [_error("file_size_exceeded", None, text)]
        rows: list[RowIn] = []
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        model, whole = "", memoryview(content)
        decode, model_of = msgspec.json.Decoder(_Line).decode, msgspec.json.Decoder(_Model).decode
        at, number, inputs = 0, 0, 0
        while at < len(content) and len(errors) < _ERRORS_MAX:
            end = content.find(b"\n", at)
            end = len(content) if end < 0 else end
            number += 1
            line, at = whole[at:end], end + 1
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if not content[end - len(line) : end].strip():
                continue
            if len(rows) >= limits.rows_max:
                text = f"The batch input file contains too many requests. The maximum is {limits.rows_max:,}."
                return [], "", [_error("too_many_tasks", None, text)]
            try:
                row = decode(line)
                body = model_of(row.body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                code = "missing_required_parameter" if "missing required" in str(error) else "invalid_json_line"
                errors.append(_error(code, number, f"This line is not a valid batch request: {error}."))
                continue
            model = model or body.model
            inputs += len(body.input) if isinstance(body.input, list) and path == _EMBEDDINGS else 1
            if inputs > limits.rows_max and path == _EMBEDDINGS:
                text = f"The batch input file contains too many embedding inputs. The maximum is {limits.rows_max:,}."
                return [], "", [_error("too_many_tasks", None, text)]
            if wrong := _wrong(row, path, seen, body.model, model):
                errors.append(_error(wrong[0], number, wrong[1]))
            seen.add(row.custom_id)
            rows.append(RowIn(row.custom_id, row.body))
        if not rows and not errors:
            errors.append(_error("empty_file", None, "The batch input file is empty."))
        return rows, model, errors

    async def _tokens(self, api: Api, rows: list[RowIn]) -> int:
        """Prompt tokens of a batch; not counted where nobody limits them."""
        total = 0
        for start in range(0, len(rows) if self._jobs.settings.queue_tokens_max else 0, _AT_ONCE):
            total += sum(self._jobs.author.tokens(api, bytes(row.body)) for row in rows[start : start + _AT_ONCE])
            await asyncio.sleep(0)
        return total

    def _own_error(self, job: Job) -> list[dict[str, Any]]:
        """The simulated failure of a batch."""
        if job.fault != "failed":
            return []
        return [_error("internal_error", None, "The batch could not be processed. Please try again.")]

    def _over_queue(self, who: Who, model: str, family: str, tokens: int) -> list[dict[str, Any]]:
        """Why it does not fit into the queue. Raises `Refused` (429) where that is told at once."""
        settings, most = self._jobs.settings, self._jobs.settings.queue_tokens_max
        if most is None or self._jobs.queued_tokens(who, family) + tokens <= most:
            return []
        text = (
            f"Enqueued token limit reached for {model} in organization {who.organisation}. Limit: {most:,} enqueued"
            " tokens. Please try again once some in_progress batches have been completed."
        )
        form = settings.over_queue
        if form == "either":
            now_s = asyncio.get_running_loop().time()
            form = "failed" if dice("over queue", who.scope, round(now_s * 1e6)).random() < 0.5 else "refused"
        if form == "refused":
            raise Refused(429, text, "tokens", "token_limit_exceeded", outcome="throttled")
        return [_error("token_limit_exceeded", None, text)]

    def _view(self, job: Job) -> dict[str, Any]:
        """As the API shows it."""
        now_s, clock = job.seen_s, job.clock
        status = clock.status(now_s)
        if job.errors:
            status = "validating" if now_s < clock.started_s else "failed"
            job.close()
        elif job.ended(now_s) and not job.closed:
            self._close(job, status)
        ended = status in ("completed", "expired", "cancelled")
        cancelled = clock.cancelling_s <= now_s
        times = {
            "created_at": (clock.created_s, True),
            "in_progress_at": (clock.started_s, status not in ("validating", "failed")
                               and clock.started_s < clock.cancelling_s),
            "finalizing_at": (clock.stop_s, status == "finalizing" or (ended and not cancelled)),
            "cancelling_at": (clock.cancelling_s, cancelled),
            "expires_at": (clock.expires_s, True),
            "failed_at": (clock.started_s, status == "failed"),
            "completed_at": (clock.ended_s, status == "completed"),
            "expired_at": (clock.ended_s, status == "expired"),
            "cancelled_at": (clock.ended_s, status == "cancelled"),
        }  # fmt: skip
        usage = job.usage
        return {
            "id": job.id, "object": "batch", "endpoint": job.path, **job.about, "completion_window": "24h",
            "status": status,
            "errors": {"object": "list", "data": job.errors} if status == "failed" else None,
            "output_file_id": job.files[0], "error_file_id": job.files[1],
            **{name: int(job.wall_s(at_s)) if told and at_s < inf else None for name, (at_s, told) in times.items()},
            "request_counts": _counts(job, status),
            "usage": {
                "input_tokens": usage.input_tokens, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
                "total_tokens": usage.input_tokens + usage.output_tokens,
            } if ended else None,
        }  # fmt: skip

    def _close(self, job: Job, status: str) -> None:
        """Write the output and the error file."""
        good: list[bytes] = []
        bad: list[bytes] = []
        for place, answered in job.answers.items():
            response = {"status_code": answered.status, "request_id": f"req_{answered.request}", "body": answered.body}
            line = _line(job, job.rows[place].custom_id, response, None)
            (good if answered.status == 200 else bad).append(line)
        code = "batch_cancelled" if status == "cancelled" else "batch_expired"
        late = [_line(job, custom_id, None, {"code": code, "message": _LATE[code]}) for custom_id in job.unanswered()]
        job.failed += len(late)
        wall_s = job.wall_s(job.clock.ended_s)
        output = errors = None
        if good:
            output = self._files.keep(
                job.who.scope, f"{job.id}_output.jsonl", "batch_output", b"".join(good), wall_s,
                gone=job.fault == "output_404",
            ).id  # fmt: skip
        if bad or late:
            content = b"".join(bad + late)
            errors = self._files.keep(job.who.scope, f"{job.id}_error.jsonl", "batch_output", content, wall_s).id
        job.files = output, errors
        job.close()


def _wrong(row: _Line, path: str, seen: set[str], asked: str, model: str) -> tuple[str, str] | None:
    """Code and message of what is wrong with a line; None when nothing is."""
    if row.custom_id in seen:
        return "duplicate_custom_id", f"The custom_id '{row.custom_id[:100]}' is used more than once."
    if row.method != "POST":
        return "invalid_method", f"The method must be POST, not '{row.method[:20]}'."
    if row.url != path:
        return "invalid_url", f"The url '{row.url[:100]}' does not match the batch's endpoint '{path}'."
    if not asked:
        return "missing_required_parameter", "The body has no model."
    if profile_for(asked) is None:
        return "model_not_found", f"The model '{asked[:100]}' does not exist or does not support the Batch API."
    if asked != model:
        return "mismatched_model", f"All requests of a batch must name one model: '{model}', not '{asked[:100]}'."
    return None


def _error(code: str, line: int | None, message: str) -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": None}


def _line(job: Job, custom_id: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
    row_id = f"batch_req_{digest(job.id, custom_id).hex()}"
    return msgspec.json.encode({"id": row_id, "custom_id": custom_id, "response": response, "error": error}) + b"\n"


def _counts(job: Job, status: str) -> dict[str, int]:
    if status in ("validating", "failed"):
        return {"total": 0, "completed": 0, "failed": 0}
    if job.fault == "counts":
        return {"total": job.total, "completed": min(1, job.total), "failed": 0}
    return {"total": job.total, "completed": job.succeeded, "failed": job.failed}


def _metadata(body: dict[str, Any]) -> dict[str, Any] | None:
    """Up to 16 short texts. Raises `Refused` (400)."""
    if body.get("metadata") is None:
        return None
    found = map_at(body, "metadata")
    fits = all(isinstance(value, str) and len(name) <= 64 and len(value) <= 512 for name, value in found.items())
    if not isinstance(body["metadata"], dict) or len(found) > 16 or not fits:
        raise invalid("Invalid 'metadata': expected up to 16 pairs of texts, names of 64 and values of 512 characters"
                      " at most.", "metadata")  # fmt: skip
    return found
