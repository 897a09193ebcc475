"""OpenAI's Files, as much of them as batches need: uploads, look-ups, contents, deletion. All of it in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from email.message import Message
from typing import Any, Final

import msgspec

from headway.sim.batch_jobs import Who
from headway.sim.refusals import Refused, invalid
from headway.sim.text import Memo, digest

__all__ = ["FileStore", "StoredFile", "no_such", "page", "read_form"]

_PURPOSES: Final = (
    "assistants", "batch", "fine-tune", "vision", "user_data", "evals",
)  # fmt: skip
_PARTS_MAX: Final = 32
_HEAD_MAX: Final = 16_384
_FILES_MAX: Final = 100_000
_FIELD: Final = re.compile(rb"\r\n\r\n")


class StoredFile(msgspec.Struct, kw_only=True):
    """A file that is held."""

    id: str
    scope: str
    name: str
    purpose: str
    created_wall_s: float
    content: bytes
    downloads: int = 0
    gone: bool = False
    """Named, but not there: a fault."""

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id, "object": "file", "bytes": len(self.content), "created_at": int(self.created_wall_s),
            "filename": self.name, "purpose": self.purpose, "status": "processed", "status_details": None,
            "expires_at": None,
        }  # fmt: skip


class FileStore:
    """The files of all organisations.

    Args:
        bytes_max: Of all uploads together with the outputs; beyond it uploads are refused.
        wall: Calendar time.
    """

    def __init__(self, bytes_max: int, wall: Callable[[], float]) -> None:
        self._bytes_max = bytes_max
        self._wall = wall
        self._files: dict[str, StoredFile] = {}
        self._bytes = 0
        self._times: Memo[bytes, int] = Memo(_FILES_MAX)

    def upload(self, who: Who, kind: str, body: bytes) -> StoredFile:
        """Keep what a form carries. Raises `Refused` (400, 413)."""
        fields, name, content = read_form(kind, body)
        purpose = fields.get("purpose", "")
        if content is None:
            raise invalid("Missing required parameter: 'file'.", "file", "missing_required_parameter")
        if purpose not in _PURPOSES:
            raise invalid(f"Invalid value for 'purpose': expected one of {', '.join(_PURPOSES)}.", "purpose")
        if self._bytes + len(content) > self._bytes_max or len(self._files) >= _FILES_MAX:
            raise invalid(
                "Your organization has exceeded its file storage quota. Delete files you do not need.", "file"
            )
        return self.keep(who.scope, name, purpose, content, self._wall())

    def keep(
        self, scope: str, name: str, purpose: str, content: bytes, wall_s: float, *, gone: bool = False
    ) -> StoredFile:
        """Keep a file; its id depends on what is in it and how often that was kept before."""
        mark = digest(scope, name, purpose, content)
        number = self._times.put(mark, (self._times.get(mark) or 0) + 1)
        held = StoredFile(
            id=f"file-{digest('file', mark, number).hex()[:24]}", scope=scope, name=name, purpose=purpose,
            created_wall_s=wall_s, content=content, gone=gone,
        )  # fmt: skip
        self._files[held.id] = held
        self._bytes += len(content)
        return held

    def get(self, who: Who, file_id: str) -> StoredFile | None:
        """A file of an organisation; None where it has no such one."""
        held = self._files.get(file_id)
        return held if held is not None and held.scope == who.scope and not held.gone else None

    def delete(self, who: Who, file_id: str) -> dict[str, Any]:
        """Forget a file. Raises `Refused` (404)."""
        held = self.get(who, file_id)
        if held is None:
            raise no_such("File", file_id)
        del self._files[file_id]
        self._bytes -= len(held.content)
        return {"id": file_id, "object": "file", "deleted": True}

    def listed(self, who: Who, query: dict[str, str]) -> dict[str, Any]:
        """A page of the files of an organisation, newest first unless `order` is asc."""
        mine = [held for held in self._files.values() if self.get(who, held.id) is not None]
        mine = [held for held in mine if held.purpose == query.get("purpose", held.purpose)]
        if query.get("order", "desc") != "asc":
            mine.reverse()
        return page([held.view() for held in mine], query, least=10_000, most=10_000)


def page(rows: Sequence[dict[str, Any]], query: dict[str, str], *, least: int, most: int) -> dict[str, Any]:
    """What follows `after`, at most `limit`, as OpenAI lists it. Raises `Refused` (400).

    Args:
        rows: All of them, in order.
        query: Of the request.
        least: The limit where none is asked for.
        most: The highest limit that may be asked for.
    """
    asked = query.get("limit", str(least))
    if not asked.isdigit() or not 1 <= int(asked) <= most:
        raise invalid(f"Invalid 'limit': expected a number from 1 to {most}.", "limit")
    after = query.get("after", "")
    start = next((place + 1 for place, row in enumerate(rows) if row["id"] == after), 0) if after else 0
    if after and not start:
        raise invalid(f"Invalid 'after': there is no {after[:100]!r}.", "after")
    found = rows[start : start + int(asked)]
    return {
        "object": "list", "data": list(found), "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None, "has_more": start + len(found) < len(rows),
    }  # fmt: skip


def no_such(what: str, its_id: str) -> Refused:
    """404."""
    return Refused(404, f"No such {what} object: {its_id[:200]}", "invalid_request_error", None, "id")


def read_form(kind: str, body: bytes) -> tuple[dict[str, str], str, bytes | None]:
    """A multipart form: its text fields, the file's name, the file (None where there is none).

    Args:
        kind: The request's content type, with the boundary.
        body: The form.

    Raises:
        Refused: 400; it is no such form.
    """
    head = Message()
    head["content-type"] = kind
    boundary = head.get_param("boundary")
    if head.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise invalid("Invalid Content-Type: expected multipart/form-data with a boundary.")
    mark = b"--" + boundary.encode("latin-1", "replace")
    fields: dict[str, str] = {}
    name, content = "", None
    at = body.find(mark)
    for _ in range(_PARTS_MAX):
        start = at + len(mark)
        if at < 0 or body[start : start + 2] != b"\r\n":
            break
        at = body.find(b"\r\n" + mark, start)
        split = body.find(b"\r\n\r\n", start, start + _HEAD_MAX)
        if at < 0 or not start <= split < at:
            raise invalid("We could not parse your multipart form: a part of it does not end.")
        told, file_name = _disposition(body[start + 2 : split])
        if told == "file":
            name, content = file_name or "upload", body[split + 4 : at]
        elif told:
            fields[told] = body[split + 4 : at].decode("utf-8", "replace")
        at += 2
    return fields, name, content


def _disposition(head: bytes) -> tuple[str, str]:
    """The name of a part, and its file's."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            told = Message()
            told["content-disposition"] = value.strip()
            field, file = (told.get_param(key, "", "content-disposition") for key in ("name", "filename"))
            return str(field), str(file)
    return "", ""
