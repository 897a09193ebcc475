"""What a status, or a failure, says about a try, and the failures that only its reader can see."""

from __future__ import annotations

from typing import Final, cast

from headway.errors import BadReply, ConnectionLost, HeadwayError, ProviderError
from headway.types import Outcome

__all__ = ["cut_off", "outcome_of_error", "outcome_of_status", "unread"]

_OF_STATUS: Final[dict[int, Outcome]] = {401: "auth", 402: "billing", 403: "auth", 429: "throttled"}
_OWN: Final[dict[str, Outcome]] = {"budget": "budget", "queue_full": "queue_full", "deadline": "deadline"}


def outcome_of_status(status: int) -> tuple[Outcome, bool]:
    """Of an error answer that no reader reads (400 to 599): how it went, and whether trying again could help."""
    worse: Outcome = "server_error" if status >= 500 or status in (408, 409) else "client_error"
    outcome = _OF_STATUS.get(status, worse)
    return outcome, outcome in ("throttled", "server_error")


def outcome_of_error(error: HeadwayError) -> tuple[Outcome, bool]:
    """Of a try without a whole answer, likewise."""
    if not isinstance(error, ProviderError):
        return _OWN.get(error.code, "closed"), False
    return cast("Outcome", error.code), not (isinstance(error, BadReply) and error.final)


def unread(origin: str, status: int, format_: str) -> BadReply:
    """The body is no JSON of the format."""
    return BadReply(
        f"{origin} answered {status} with bytes that are not {format_} JSON; "
        "check that base_url points at the API itself",
        maybe_billed=True,
    )


def cut_off(origin: str) -> ConnectionLost:
    """The stream ended before it was over."""
    return ConnectionLost(
        f"the stream from {origin} ended without its terminal event, so what came is not the whole; try again",
        maybe_billed=True,
    )
