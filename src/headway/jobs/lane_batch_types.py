"""What the batch lane asks of an engine and of a journal, and what comes of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import msgspec

from headway.types import Reply, Tags, Trace
from headway.wire.provider_errors import read_error

__all__ = ["BatchEngine", "Got", "JournalLike", "Sent"]


class BatchEngine(Protocol):
    """What is asked of an engine; `headway.engine.Engine` is one."""

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        tags: Tags | None = None,
    ) -> Reply:
        """See `Engine.request`."""
        ...

    async def cached(self, path: str, body: bytes, *, key_body: bytes | None = None) -> Reply | None:
        """See `Engine.cached`."""
        ...

    def adopt(
        self,
        path: str,
        body: bytes,
        status: int,
        answer: bytes,
        *,
        key_body: bytes | None = None,
        price_ratio: float = 1.0,
        tags: Tags | None = None,
        started_wall_s: float | None = None,
    ) -> Trace:
        """See `Engine.adopt`."""
        ...


class JournalLike(Protocol):
    """What is asked of a journal; `headway.jobs.journal.Journal` is one."""

    run: str
    events: list[bytes]

    def note(self, event: bytes, *, durable: bool = True) -> None:
        """See `Journal.note`."""
        ...


class Got(msgspec.Struct, frozen=True):
    """What a call came to. Status 0: there is no answer."""

    status: int
    data: bytes = b""
    problem: str = ""
    sent: bool = True
    """Without an answer: whether it may have taken effect."""

    @property
    def trouble(self) -> bool:
        """Whether it is worth making again."""
        return not self.status or (self.status >= 400 and read_error(self.status, self.data).retryable)

    @property
    def said(self) -> str:
        """Why it was refused."""
        message = read_error(self.status, self.data).message if self.status else self.problem
        return f"{self.status or ''} {message}".strip().rstrip(".")


Sent: TypeAlias = Literal["out", "full", "unsure", "large", "hopeless", "stopped"]
"""How handing a parcel in went: it is there; no room in the queue; nobody knows; the body is too large; refused for
good; or the rows are wanted back."""
