"""OpenAI's Batch API, which Azure, Groq, vLLM and others offer too: a file of requests in, two files of answers out.

Source: OpenAI API reference, "Batch" and "Files" (November 2026); FACTS section 3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headway.wire.batch import BatchError, Batches, BatchRequest, BatchRow, BatchView, compact, identifier, page_of
from headway.wire.decoding import UNREADABLE
from headway.wire.provider_errors import error_of, read_error

__all__ = ["OpenAIBatch"]

_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_NOT_RUN: Final = frozenset({"batch_expired", "batch_cancelled"})
_QUEUE_CODE: Final = "token_limit_exceeded"
_QUEUE: Final = re.compile(r"\benqueued token", re.IGNORECASE)
_QUEUE_MAX: Final = re.compile(r"Limit: ([0-9]{1,15}(?:,[0-9]{3}){0,5}) enqueued tokens", re.IGNORECASE)
_BOUNDARY: Final = b"headway-batch-file"
"""May be fixed: lines hold no line break, so nothing in them can look like a delimiter, which starts a line of its own
and not with a brace."""


class _Errors(msgspec.Struct):
    data: Any = None


class _Batch(msgspec.Struct):
    id: Any = ""
    status: Any = ""
    errors: _Errors | None = None
    output_file_id: Any = None
    error_file_id: Any = None
    metadata: Any = None
    created_at: Any = None
    expires_at: Any = None
    request_counts: Any = None


class _List(msgspec.Struct):
    data: list[_Batch] = []
    last_id: Any = None
    has_more: Any = False


class _Response(msgspec.Struct):
    status_code: Any = 0
    request_id: Any = ""
    body: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder().decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_list: Final = msgspec.json.Decoder(_List).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


class OpenAIBatch(Batches):
    """Implements `wire.batch.BatchFormat`.

    Args:
        endpoint: What the rows are posted to, e.g. ``/v1/responses``.
        prefix: What stands before ``/files`` and ``/batches`` in paths, e.g. ``/v1``.
    """

    name = "openai_batch"
    rows_max = 50_000
    bytes_max = 200_000_000
    one_model = True
    has_metadata = True

    def __init__(self, endpoint: str, prefix: str) -> None:
        super().__init__(f"{prefix}/batches", "after")
        self._prefix = prefix
        self._endpoint = endpoint
        self._before = b'","method":"POST","url":' + _encode(endpoint) + b',"body":'

    def line(self, custom_id: str, body: bytes) -> bytes:
        """See `BatchFormat.line`."""
        return b"".join((b'{"custom_id":"', custom_id.encode(), self._before, compact(body), b"}"))

    def upload(self, lines: Sequence[bytes], name: str = "batch") -> BatchRequest:
        """See `BatchFormat.upload`: a form with the purpose and the file."""
        head = (
            b"--" + _BOUNDARY + b'\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b"--" + _BOUNDARY + b'\r\ncontent-disposition: form-data; name="file"; filename="'
            + (identifier(name) or "batch").encode() + b'.jsonl"\r\ncontent-type: application/jsonl\r\n\r'
        )  # fmt: skip
        # One join, for the file may be large: its line feeds are the last of the head's and that of each line.
        body = b"\n".join((head, *lines, b"\r\n--" + _BOUNDARY + b"--\r\n"))
        kind = ("content-type", f"multipart/form-data; boundary={_BOUNDARY.decode()}")
        return BatchRequest("POST", f"{self._prefix}/files", body, (kind,))

    def read_file_id(self, data: bytes) -> str:
        """See `BatchFormat.read_file_id`."""
        try:
            return identifier(_decode_batch(data).id)
        except UNREADABLE:
            return ""

    def create(
        self, *, file_id: str = "", lines: Sequence[bytes] = (), metadata: Mapping[str, str] | None = None
    ) -> BatchRequest:
        """See `BatchFormat.create`."""
        fields: dict[str, Any] = {
            "input_file_id": file_id,
            "endpoint": self._endpoint,
            "completion_window": "24h",
        }
        if metadata:
            fields["metadata"] = dict(metadata)
        return BatchRequest("POST", self._batches, _encode(fields), repeatable=False)

    def results(self, view: BatchView) -> tuple[BatchRequest, ...]:
        """See `BatchFormat.results`: the output file and the error file, those of them that there are."""
        return tuple(BatchRequest("GET", f"{self._prefix}/files/{one}/content") for one in view.result_ids)

    def delete_file(self, file_id: str) -> BatchRequest:
        """See `BatchFormat.delete_file`."""
        return BatchRequest("DELETE", f"{self._prefix}/files/{file_id}")

    def read_batch(self, data: bytes) -> BatchView | None:
        """See `BatchFormat.read_batch`."""
        try:
            return _view(_decode_batch(data))
        except UNREADABLE:
            return None

    def read_list(self, data: bytes) -> tuple[tuple[BatchView, ...], str]:
        """See `BatchFormat.read_list`."""
        try:
            page = _decode_list(data)
        except UNREADABLE:
            return (), ""
        return page_of([_view(batch) for batch in page.data], page.last_id, page.has_more)

    def read_line(self, line: bytes) -> BatchRow | None:
        """See `BatchFormat.read_line`."""
        try:
            row = _decode_line(line)
        except UNREADABLE:
            return None
        response = row.response
        if response is None or not _is_status(response.status_code):
            return _without_answer(row)
        status, body = response.status_code, bytes(response.body)
        request_id = response.request_id if type(response.request_id) is str else ""
        if status < 300 and body not in (b"", b"null"):
            return BatchRow(custom_id=row.custom_id, status=status, body=body, request_id=request_id)
        error = read_error(max(status, 500 if status < 300 else 0), body)
        return BatchRow(
            custom_id=row.custom_id,
            status=status if status >= 300 else 0,
            body=body,
            request_id=request_id,
            error_code=error.code or str(status),
            message=error.message,
            retryable=error.retryable,
        )

    def over_queue(self, status: int, body: bytes) -> bool:
        """See `BatchFormat.over_queue`."""
        if status < 400:
            return False
        error = read_error(status, body)
        return error.outcome != "billing" and _is_queue(error.code, error.message)


def _without_answer(row: _Line) -> BatchRow | None:
    """A row that was not executed, or whose execution failed without an answer; None if nothing is said at all."""
    if type(row.error) is not dict:
        return None
    error = error_of(200, row.error)
    return BatchRow(
        custom_id=row.custom_id,
        error_code=error.code or "error",
        message=error.message,
        retryable=error.retryable or error.code in _NOT_RUN or error.code == "request_timeout",
        expired=error.code == "batch_expired",
        canceled=error.code == "batch_cancelled",
    )


def _view(batch: _Batch) -> BatchView | None:
    id_ = identifier(batch.id)
    if not id_ or type(batch.status) is not str:
        return None
    errors = _errors(batch.errors)
    maxima = [int(found[1].replace(",", "")) for one in errors if (found := _QUEUE_MAX.search(one.message))]
    files = (identifier(batch.output_file_id), identifier(batch.error_file_id))
    return BatchView(
        id=id_,
        state=batch.status,
        ended=batch.status in _ENDED,
        result_ids=tuple(file for file in files if file),
        errors=errors,
        over_queue=batch.status == "failed" and any(_is_queue(one.code, one.message) for one in errors),
        queue_tokens_max=maxima[0] if maxima else None,
        metadata=_pairs(batch.metadata, str),
        created_wall_s=_seconds(batch.created_at),
        expires_wall_s=_seconds(batch.expires_at),
        counts=_pairs(batch.request_counts, int),
    )


def _errors(errors: _Errors | None) -> tuple[BatchError, ...]:
    found = []
    for one in errors.data if errors is not None and type(errors.data) is list else ():
        if type(one) is dict:
            error, line = error_of(400, one), one.get("line")
            found.append(BatchError(error.code, error.message, line if type(line) is int else None))
    return tuple(found)


def _is_queue(code: str, message: str) -> bool:
    return code == _QUEUE_CODE or _QUEUE.search(message) is not None


def _pairs(value: Any, kind: type) -> dict[str, Any]:
    return {k: v for k, v in value.items() if type(v) is kind} if type(value) is dict else {}


def _seconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _is_status(value: Any) -> bool:
    return type(value) is int and 100 <= value <= 599
