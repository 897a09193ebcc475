"""Providers' batch APIs: many requests handed in at once, answered within a day, at half the price.

A `BatchFormat` says which calls to make (`BatchRequest`: method, path, body, headers) and reads what comes back into
frozen views, so that whoever uses it needs to know no provider. Like the readers of `wire.base` formats are pure and
stateless, and survive any bytes: what cannot be read gives None, "" or an empty tuple, never an exception.

A format that has uploads (`upload` gives a request) takes two steps: upload the lines, then `create` with the file's
id. The others take the lines in `create`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from headway.types import Headers

__all__ = [
    "CUSTOM_ID",
    "PRICE_RATIO",
    "BatchError",
    "BatchFormat",
    "BatchRequest",
    "BatchRow",
    "BatchView",
    "Batches",
    "compact",
    "identifier",
    "page_of",
    "result_lines",
]

CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What a row's custom_id may be: Anthropic's rule, which OpenAI's API takes as well."""

PRICE_RATIO: Final = 0.5
"""Of the price of the same request sent by itself. Source: OpenAI, "Batch API"; Anthropic, "Batch processing"."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")
_BREAKS: Final = re.compile(rb"[\r\n]+")


class BatchRequest(msgspec.Struct, frozen=True):
    """A call to make: `Engine.request(method, path, body, headers=dict(headers))`."""

    method: str
    path: str
    """Relative to the base URL, as a task's path is."""
    body: bytes = b""
    headers: Headers = ()
    """Beside the engine's own."""
    repeatable: bool = True
    """False: sent twice it is paid twice, so it is not tried again after a failure that may have reached them."""


class BatchError(msgspec.Struct, frozen=True):
    """Why a whole batch failed."""

    code: str = ""
    message: str = ""
    line: int | None = None
    """Of the input, from 1, where one is at fault."""


class BatchView(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its provider tells of it."""

    id: str
    state: str = ""
    """The provider's own word, e.g. ``in_progress``."""
    ended: bool = False
    """Nothing more will come; what there is can be fetched, and every row without an answer is still owed."""
    result_ids: tuple[str, ...] = ()
    """What `BatchFormat.results` makes its requests of; before the end, too, where files are there already."""
    errors: tuple[BatchError, ...] = ()
    over_queue: bool = False
    """It failed for want of room in the queue: submit it again, unchanged, when others have ended."""
    queue_tokens_max: int | None = None
    """How many prompt tokens may be queued for this model, where an error said so."""
    metadata: Mapping[str, str] = {}
    created_wall_s: float | None = None
    """Unix seconds, like `expires_wall_s`."""
    expires_wall_s: float | None = None
    counts: Mapping[str, int] = {}
    """As told, e.g. total, completed, failed. Not to be trusted: they may lag, and stay wrong at the end."""


class BatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one row of a batch."""

    custom_id: str
    status: int = 0
    """HTTP status, as the same request by itself would have had; 0: it was not executed."""
    body: bytes = b""
    """The answer, or the error, byte for byte as the same request by itself would have had it; b"": none."""
    request_id: str = ""
    error_code: str = ""
    message: str = ""
    retryable: bool = False
    """Another try may mend it; so it may for rows that expired or were cancelled, which were not executed."""
    expired: bool = False
    canceled: bool = False


class BatchFormat(Protocol):
    """One provider's batch API, for requests to one path."""

    name: str
    """E.g. ``openai_batch``."""
    rows_max: int
    """Rows in one batch."""
    bytes_max: int
    """Bytes of one batch's body: every line and the byte after it."""
    one_model: bool
    """All rows of a batch have to name the same model."""
    has_metadata: bool
    """A batch carries `create`'s metadata, at most 16 pairs of 64 and 512 characters, and lists tell it."""

    def line(self, custom_id: str, body: bytes) -> bytes:
        """One row of a batch, without a line end: the request's own bytes, put in.

        Args:
            custom_id: Unique in its batch; see `CUSTOM_ID`.
            body: The request's JSON body, which must not be streamed.
        """
        ...

    def upload(self, lines: Sequence[bytes], name: str = "batch") -> BatchRequest | None:
        """The call that uploads rows, as a file called `name`; None where they go into `create`."""
        ...

    def read_file_id(self, data: bytes) -> str:
        """The uploaded file's id out of the upload's answer; "" if there is none."""
        ...

    def create(
        self, *, file_id: str = "", lines: Sequence[bytes] = (), metadata: Mapping[str, str] | None = None
    ) -> BatchRequest:
        """The call that creates the batch, of the uploaded file or of the rows."""
        ...

    def status(self, batch_id: str) -> BatchRequest:
        """The call that asks for a batch."""
        ...

    def cancel(self, batch_id: str) -> BatchRequest:
        """The call that ends a batch early. What was answered until then is billed, and can be fetched."""
        ...

    def list(self, *, after: str = "", limit: int = 100) -> BatchRequest:
        """The call that lists batches, the newest first: `limit` (1 to 100) of them, after that cursor."""
        ...

    def results(self, view: BatchView) -> tuple[BatchRequest, ...]:
        """The calls that fetch what there is of a batch's answers and errors; unordered lines, best streamed."""
        ...

    def delete_file(self, file_id: str) -> BatchRequest | None:
        """The call that deletes a file (the input's id, or one of `result_ids`); None where there are no files."""
        ...

    def read_batch(self, data: bytes) -> BatchView | None:
        """The batch out of an answer to `create`, `status` or `cancel`."""
        ...

    def read_list(self, data: bytes) -> tuple[tuple[BatchView, ...], str]:
        """The batches of a list, and the cursor for what follows; "" at its end."""
        ...

    def read_line(self, line: bytes) -> BatchRow | None:
        """One line of a result file; None for one that is no row."""
        ...

    def over_queue(self, status: int, body: bytes) -> bool:
        """Whether `create` was refused for want of room in the queue: wait for other batches to end, then again.

        False where it is money that is wanting (`wire.provider_errors`), which no wait mends.
        """
        ...


class Batches:
    """The calls about batches that the formats share, for implementations of `BatchFormat` to build on.

    Args:
        batches: Their path, e.g. ``/v1/batches``.
        cursor: What the list's query calls the last batch that is known.
    """

    def __init__(self, batches: str, cursor: str) -> None:
        self._batches = batches
        self._cursor = cursor

    def status(self, batch_id: str) -> BatchRequest:
        """See `BatchFormat.status`."""
        return BatchRequest("GET", f"{self._batches}/{batch_id}")

    def cancel(self, batch_id: str) -> BatchRequest:
        """See `BatchFormat.cancel`."""
        return BatchRequest("POST", f"{self._batches}/{batch_id}/cancel")

    def list(self, *, after: str = "", limit: int = 100) -> BatchRequest:
        """See `BatchFormat.list`."""
        more = f"&{self._cursor}={after}" if after else ""
        return BatchRequest("GET", f"{self._batches}?limit={limit}{more}")


def compact(body: bytes) -> bytes:
    """A JSON body on one line: line breaks in JSON only stand between tokens, where a space means the same."""
    body = body.strip()
    return _BREAKS.sub(b" ", body) if b"\n" in body or b"\r" in body else body


def identifier(value: Any) -> str:
    """An id that may stand in a path as it is; "" for anything else, which must not get into one."""
    return value if type(value) is str and _ID.fullmatch(value) else ""


def page_of(found: Sequence[BatchView | None], last_id: Any, more: Any) -> tuple[tuple[BatchView, ...], str]:
    """What `BatchFormat.read_list` gives: those of a page that could be read, and the cursor to the next one."""
    views = tuple(view for view in found if view is not None)
    last = identifier(last_id) or (views[-1].id if views else "")
    return views, last if more is True else ""


def result_lines(rest: bytes, chunk: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines of a file that comes in chunks, and what is left of the last one.

    Args:
        rest: What was left before; at the end of the file it is the last line.
        chunk: What came.
    """
    *lines, rest = (rest + chunk).split(b"\n")
    return [line for line in lines if line.strip()], rest
