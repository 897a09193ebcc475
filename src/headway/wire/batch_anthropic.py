"""Anthropic's Message Batches: one JSON body of requests in, one stream of results out.

Batches carry no metadata, so what has to be found again stands in the rows' ids.

Source: Anthropic API reference, "Message Batches" (November 2026); "Errors" for the statuses; FACTS section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headway.wire.batch import Batches, BatchRequest, BatchRow, BatchView, compact, identifier, page_of
from headway.wire.decoding import UNREADABLE
from headway.wire.provider_errors import read_error
from headway.wire.rate_headers import rfc3339_s

__all__ = ["AnthropicBatch"]

_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What a request by itself is answered with, by the error's type."""
_OPEN: Final = b'{"requests":['
_CLOSE: Final = b"]}"


class _Batch(msgspec.Struct):
    id: Any = ""
    processing_status: Any = ""
    created_at: Any = None
    expires_at: Any = None
    archived_at: Any = None
    request_counts: Any = None


class _List(msgspec.Struct):
    data: list[_Batch] = []
    last_id: Any = None
    has_more: Any = False


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


class _ErrorType(msgspec.Struct, frozen=True):
    type: Any = ""


class _Error(msgspec.Struct):
    error: _ErrorType = _ErrorType()
    request_id: Any = ""


_decode_batch: Final = msgspec.json.Decoder(_Batch).decode
_decode_list: Final = msgspec.json.Decoder(_List).decode
_decode_line: Final = msgspec.json.Decoder(_Line).decode
_decode_error: Final = msgspec.json.Decoder(_Error).decode


class AnthropicBatch(Batches):
    """Implements `wire.batch.BatchFormat`.

    Args:
        path: What the rows would be posted to by themselves, e.g. ``/v1/messages``.
    """

    name = "anthropic_batch"
    rows_max = 100_000
    bytes_max = 256_000_000
    one_model = False
    has_metadata = False

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}/batches", "after_id")

    def line(self, custom_id: str, body: bytes) -> bytes:
        """See `BatchFormat.line`."""
        return b"".join((b'{"custom_id":"', custom_id.encode(), b'","params":', compact(body), b"}"))

    def upload(self, lines: Sequence[bytes], name: str = "batch") -> None:
        """None: the rows go into `create`."""

    def read_file_id(self, data: bytes) -> str:
        """There are no files."""
        return ""

    def create(
        self, *, file_id: str = "", lines: Sequence[bytes] = (), metadata: Mapping[str, str] | None = None
    ) -> BatchRequest:
        """See `BatchFormat.create`. Metadata is left out: there is no place for it."""
        pieces = [piece for line in lines for piece in (b",", line)]  # joined once, for they may be large
        pieces[:1] = [_OPEN]
        return BatchRequest("POST", self._batches, b"".join((*pieces, _CLOSE)), repeatable=False)

    def results(self, view: BatchView) -> tuple[BatchRequest, ...]:
        """See `BatchFormat.results`. Of our own making, not `results_url`: a key goes to its own origin alone."""
        return tuple(BatchRequest("GET", f"{self._batches}/{one}/results") for one in view.result_ids)

    def delete_file(self, file_id: str) -> None:
        """None: there are no files."""

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
        kind = row.result.type
        if kind == "succeeded" and bytes(row.result.message).startswith(b"{"):
            return BatchRow(custom_id=row.custom_id, status=200, body=bytes(row.result.message))
        if kind in ("expired", "canceled"):
            return BatchRow(
                custom_id=row.custom_id,
                error_code=f"batch_{kind}",
                message=f"the request was not executed: {kind}",
                retryable=True,
                expired=kind == "expired",
                canceled=kind == "canceled",
            )
        return _errored(row) if kind == "errored" else None

    def over_queue(self, status: int, body: bytes) -> bool:
        """See `BatchFormat.over_queue`: whatever limit it is, requests a minute or requests in the queue, it passes."""
        return status >= 400 and read_error(status, body).outcome == "throttled"


def _errored(row: _Line) -> BatchRow:
    body = bytes(row.result.error)
    try:
        error = _decode_error(body)
    except UNREADABLE:
        error = _Error()
    type_ = error.error.type if type(error.error.type) is str else ""
    status = _STATUS.get(type_, 500)
    view = read_error(status, body)
    return BatchRow(
        custom_id=row.custom_id,
        status=status,
        body=body,
        request_id=error.request_id if type(error.request_id) is str else "",
        error_code=view.code or type_ or "errored",
        message=view.message,
        retryable=view.retryable,
    )


def _view(batch: _Batch) -> BatchView | None:
    id_ = identifier(batch.id)
    if not id_ or type(batch.processing_status) is not str:
        return None
    ended, counts = batch.processing_status == "ended", batch.request_counts
    return BatchView(
        id=id_,
        state=batch.processing_status,
        ended=ended,
        # Archived (29 days on) its results are gone.
        result_ids=(id_,) if ended and batch.archived_at is None else (),
        created_wall_s=_seconds(batch.created_at),
        expires_wall_s=_seconds(batch.expires_at),
        counts={k: v for k, v in counts.items() if type(v) is int} if type(counts) is dict else {},
    )


def _seconds(value: Any) -> float | None:
    return rfc3339_s(value) if type(value) is str else None
