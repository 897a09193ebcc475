"""What a client gets: a reply of the engine with what happened in `headway-*` headers, or a refusal."""

from __future__ import annotations

from math import ceil
from typing import Final

from headway.errors import (
    BudgetExceeded,
    Closed,
    ConfigError,
    ConnectFailed,
    DeadlineExceeded,
    HeadwayError,
    Overloaded,
    ProviderTimeout,
)
from headway.gateway.data.calls import answer_headers
from headway.gateway.request import Refused
from headway.types import Call, Headers, Reply
from headway.wire import reader_for
from headway.wire.refusals import refusal_body

__all__ = ["answered", "failed", "key_refused", "refused", "stated"]

_STATUS: Final[dict[type[HeadwayError], int]] = {
    Overloaded: 429,
    BudgetExceeded: 402,
    ConfigError: 400,
    DeadlineExceeded: 504,
    ProviderTimeout: 504,
    ConnectFailed: 502,
    Closed: 503,
}
"""Any other failure is a provider's broken answer: 502."""
_FINAL: Final = ("x-should-retry", "false")
"""The official SDKs obey it: what is answered here has been tried already. Source: FACTS section 1."""

_CREDENTIALS: Final = frozenset(("authorization", "x-api-key", "api-key"))
"""Of a call's headers these are the gateway's own: a client's are never sent on."""
_KEY_CODES: Final = frozenset(("invalid_api_key", "authentication_error"))


def answered(reply: Reply, call: Call) -> Reply:
    """The reply as the client gets it; it holds what the engine's reply held."""
    trace, body, status = call.trace, reply.body, reply.status
    headers = answer_headers(reply.headers, status)
    headers += ("headway-id", trace.id), ("headway-cache", trace.cache or "off")
    if body is not None or trace.attempts:
        wait_ms = round(trace.wait_s * 1000)
        headers += ("headway-attempts", str(trace.attempts)), ("headway-wait-ms", str(wait_ms))
    if body is not None and trace.dollars is not None:
        headers.append(("headway-cost", f"{trace.dollars:.9f}".rstrip("0").rstrip(".")))
    if status >= 400:
        headers.append(_FINAL)
    reply.headers = tuple(headers)
    return reply


def stated(reply: Reply) -> Reply:
    """A reply that passed through, as the client gets it."""
    reply.headers = tuple(answer_headers(reply.headers, reply.status))
    return reply


async def key_refused(path: str, reply: Reply, call: Call) -> Reply | None:
    """What is said where a provider refused the gateway's own key: the client would look for the fault in its own.

    None where it did not: where it answered something else, or no key was sent. What is replaced is closed.
    """
    if reply.status not in (401, 403) or not any(name in _CREDENTIALS for name, _ in call.headers):
        return None
    if reply.status == 403 and not _names_key(path, reply):  # of a model, a region, a right of its account
        return None
    await reply.aclose()
    said = (
        f"the upstream {call.trace.upstream} refused the gateway's own key ({reply.status}); its operator can mend that"
    )
    trace = call.trace
    told = ("headway-id", trace.id), ("headway-attempts", str(trace.attempts))
    return _said(path, 502, said, "upstream_key_refused", (*told, _FINAL))


def _names_key(path: str, reply: Reply) -> bool:
    """Whether an error is about the key, by the provider's word for it."""
    reader = reader_for(path)
    if reply.body is None or reader is None:
        return False
    view = reader.read_answer(reply.status, reply.body).error
    return view is not None and view.code in _KEY_CODES


def refused(path: str, refusal: Refused) -> Reply:
    """A refusal of ours."""
    return _said(path, refusal.status, refusal.message, refusal.code, (_FINAL,))


def failed(path: str, error: HeadwayError) -> Reply:
    """A failure of the engine."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 502)
    headers: Headers = () if isinstance(error, Closed) else (_FINAL,)  # another process may well take it
    retry_after_s: float | None = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers = (*headers, ("retry-after", str(ceil(retry_after_s))))  # a key's limits, or its dollars
    if error.trace is not None:
        headers = (*headers, ("headway-id", error.trace.id))
    return _said(path, status, str(error), error.code, headers)


def _said(path: str, status: int, message: str, code: str, headers: Headers) -> Reply:
    body = refusal_body(path, status, message, code)
    return Reply(status, (("content-type", "application/json"), *headers), body)
