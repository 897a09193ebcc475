"""A request as the data plane has it, whichever way it came in, and a refusal."""

from __future__ import annotations

from headway.types import Headers

__all__ = ["Refused", "Request", "uncounted"]


class Request:
    """One whole request.

    Args:
        method: In capitals.
        target: The raw path and query, as the client wrote them.
        headers: Names in lower case.
        body: All of it.
        notes: What was worked out from method, target and headers alone; requests whose are equal may share it.
    """

    __slots__ = ("body", "headers", "method", "notes", "target")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes = b"",
        notes: dict[str, object] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.notes: dict[str, object] = {} if notes is None else notes

    def header(self, name: str) -> str:
        """The first header of that (lower-case) name; "" if there is none."""
        return next((value for own, value in self.headers if own == name), "")


class Refused(Exception):
    """The request is answered by ourselves.

    Args:
        status: HTTP status, 400 to 599.
        message: One sentence: what is wrong and what to do.
        code: A word for programs.
    """

    def __init__(self, status: int, message: str, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def uncounted(refused: Refused) -> None:
    """Where nobody counts who is turned away."""
