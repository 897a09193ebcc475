"""When a job has to stop: failures that every further row would meet as well."""

from __future__ import annotations

import re

from headway.types import Result

__all__ = ["FIRST_FAILURES", "LATER_FAILURES", "Verdict"]

FIRST_FAILURES = 3
"""So many first results that all fail the same hopeless way stop the job."""
LATER_FAILURES = 32
"""So many in a row stop it once a row has succeeded: a key can be revoked and a provider go down midway."""

_FIRST = frozenset({"auth", "billing", "client_error", "connect_failed", "config", "closed"})
_LATER = frozenset({"auth", "billing", "connect_failed", "closed"})
_DOWN = frozenset({"server_error", "overloaded", "bad_reply", "provider_timeout", "connection_lost"})
"""What one row may meet by chance, and every row when the provider is down: only many in a row stop the job."""
_FIRST_OR_DOWN, _LATER_OR_DOWN = _FIRST | _DOWN, _LATER | _DOWN

_TOO_LONG_CODES = frozenset({"context_length_exceeded", "request_too_large", "string_above_max_length"})
_TOO_LONG = re.compile(r"prompt is too long|maximum context length|string too long", re.IGNORECASE)
"""Providers whose code for it is that of every wrong request say so in words. Source: Anthropic, "Context windows"
(invalid_request_error, "prompt is too long: ... tokens > ... maximum"); vLLM's OpenAI-compatible server."""


class Verdict:
    """Watches results; holds hopeless ones back until it is known whose fault they are: a row's, or all's.

    Rows held back when the job stops stay owed. Pure: no clock, no I/O.

    Args:
        own: Each row is a request of its own making, so that what is wrong with the first need not be with the next.
    """

    def __init__(self, *, own: bool = False) -> None:
        self._own = own
        self._succeeded = False
        self._alike: tuple[str, str] = ("", "")
        self.held: list[tuple[int, str, Result]] = []
        """Row, key and result; at most `LATER_FAILURES`."""
        self.reason = ""
        """Why the job has to stop, as a sentence; "" while it may go on."""
        self.drain = False
        """Whether what is in flight may still succeed and is worth waiting for."""

    def judge(self, row: int, key: str, result: Result) -> list[tuple[int, str, Result]]:
        """Take a result; return those that may be written down now, in order of arrival."""
        if result.outcome == "budget":
            self.reason, self.drain = result.error, True
            return []
        hopeless = _LATER_OR_DOWN if self._succeeded else _FIRST_OR_DOWN
        if result.outcome not in hopeless or _is_too_long(result) or (self._own and result.outcome == "client_error"):
            self._succeeded = self._succeeded or result.outcome in ("ok", "invalid_output")
            return [*self._release(), (row, key, result)]
        alike = (result.outcome, result.error_code)
        free = self._release() if alike != self._alike else []
        self._alike = alike
        self.held.append((row, key, result))
        patient = self._succeeded or result.outcome in _DOWN
        if len(self.held) >= (LATER_FAILURES if patient else FIRST_FAILURES):
            self.reason = result.error
        return free

    def close(self) -> list[tuple[int, str, Result]]:
        """The input is at its end: what is held is the rows' own fault, unless the same befell every row."""
        if self.held and not self._succeeded and not self.reason and self._alike[0] in _LATER:
            self.reason = self.held[-1][2].error
        return [] if self.reason else self._release()

    def _release(self) -> list[tuple[int, str, Result]]:
        held, self.held = self.held, []
        return held


def _is_too_long(result: Result) -> bool:
    """Whether a row was refused for its length: that is its own fault, and the next one may be shorter."""
    if result.outcome != "client_error":
        return False
    return result.status == 413 or result.error_code in _TOO_LONG_CODES or bool(_TOO_LONG.search(result.error))
