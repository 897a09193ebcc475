"""Everything Headway raises, as one tree; the class says who can mend it.

    HeadwayError
    |-- ConfigError        you: a setting, a key in a file, an argument       (exit code 2)
    |-- InputError         you: a row, a column, a file of work               (exit code 2)
    |-- BudgetExceeded     you: the dollar or token cap that was set is spent
    |-- Overloaded         us:  the queue is full, nothing was sent
    |-- DeadlineExceeded   us:  the call's deadline passed before it was answered
    |-- Closed             us:  the engine was closed while the call was under way
    `-- ProviderError      them: there is no (whole) answer to hand on
        |-- ConnectFailed      no connection: nothing was sent, nothing billed
        |-- ProviderTimeout    silence for longer than the first-byte or idle limit
        |-- ConnectionLost     the connection broke, or the answer stopped before its end
        `-- BadReply           bytes that are no answer: too large, broken framing, broken JSON

An HTTP status is data, not an exception: a 404 or a final 429 is a `Reply` like any other. Errors are raised only
where there is no response. Every message is one sentence: what is wrong, where, and what to do.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadReply",
    "BudgetExceeded",
    "Closed",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "HeadwayError",
    "InputError",
    "Overloaded",
    "ProviderError",
    "ProviderTimeout",
]


class HeadwayError(Exception):
    """The root: catch this to catch whatever Headway raises. `code` is the word that stands in the call log."""

    code = "error"
    trace: Any = None
    """The call's `Trace` where a call failed: what was waited and tried before. None where there was no call."""


class ConfigError(HeadwayError):
    """A setting is wrong; the message names the key, where it was read and what was expected."""

    code = "config"


class InputError(HeadwayError):
    """A file of work is wrong; the message names the file and the row or column."""

    code = "input"


class BudgetExceeded(HeadwayError):
    """The next call's worst case does not fit under the cap any more; it was not sent."""

    code = "budget"


class Overloaded(HeadwayError):
    """The queue in front of the provider is full; nothing was sent."""

    code = "queue_full"


class DeadlineExceeded(HeadwayError):
    """The deadline passed first. `maybe_billed` is true when the request had been sent."""

    code = "deadline"

    def __init__(self, message: str, *, maybe_billed: bool = False) -> None:
        super().__init__(message)
        self.maybe_billed = maybe_billed


class Closed(HeadwayError):
    """The engine was closed; open a new one."""

    code = "closed"


class ProviderError(HeadwayError):
    """The provider gave no whole answer. `maybe_billed` is true when the request had been sent in full."""

    code = "provider"

    def __init__(self, message: str, *, maybe_billed: bool = False) -> None:
        super().__init__(message)
        self.maybe_billed = maybe_billed


class ConnectFailed(ProviderError):
    """Refused, unresolvable, TLS failure, or no connection within `connect_timeout_s`."""

    code = "connect_failed"


class ProviderTimeout(ProviderError):
    """Connected, then silent: no first byte, or a stream that went idle, for longer than its limit."""

    code = "provider_timeout"


class ConnectionLost(ProviderError):
    """Reset, or closed before the terminal event or the announced length."""

    code = "connection_lost"


class BadReply(ProviderError):
    """Not an answer of the format that was asked for, or larger than `reply_bytes_max`.

    `final` is true where trying again would bring the same.
    """

    code = "bad_reply"

    def __init__(self, message: str, *, maybe_billed: bool = False, final: bool = False) -> None:
        super().__init__(message, maybe_billed=maybe_billed)
        self.final = final
