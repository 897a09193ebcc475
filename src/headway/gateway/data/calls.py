"""A request becomes a call: its headers sorted, the gateway's own credential in the place of the client's."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from headway.engine import Engine
from headway.engine.inbound import CONTROL_PREFIX, HOP_BY_HOP, NO_CONTROL, Control, read_control
from headway.gateway.data.homes import Home
from headway.gateway.request import Request
from headway.types import Call, Headers, RequestView, Timeouts
from headway.wire.endpoints import own_credential

__all__ = ["Calls", "Sorted", "answer_headers"]

_CARRIED: Final = frozenset(
    """
    accept anthropic-beta anthropic-version content-encoding content-type idempotency-key openai-beta range traceparent
    tracestate user-agent x-client-request-id
    """.split()
)
"""The client's headers that a provider sees: a list of what is known to name nobody and to choose no account."""

_PATIENCE: Final = "x-stainless-read-timeout"
"""How long the official SDKs' client waits for a byte, in seconds. Source: FACTS section 1."""
_UPSTREAM: Final = "headway-upstream"

_NOT_ANSWERED: Final = HOP_BY_HOP | frozenset(
    "alt-svc openai-organization openai-project set-cookie strict-transport-security x-should-retry".split()
)
"""The provider's headers that a client does not see: one connection's, another origin's, or about our account."""
_KEPT_MAX: Final = 1024


class Sorted(msgspec.Struct, frozen=True):
    """A request's headers by whom they are for."""

    carried: Headers
    control: Control
    patience: str
    """As the client wrote it: what follows from it is a matter of the engine's settings, which a reload changes."""
    upstream: str
    messages: bool
    """It is of the Messages API, whatever its path."""


class Calls:
    """Makes the gateway's calls.

    Args:
        engine: Whose calls they are.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        settings = engine.settings
        self._cache_mode = "on" if settings.cache != "off" or settings.caches else "off"
        self._timeouts: dict[str, Timeouts | None] = {}
        self._sent: dict[tuple[str, str, Headers], Headers] = {}

    def sort(self, request: Request) -> Sorted:
        """Take the headers apart.

        Raises:
            ConfigError: A control header is malformed.
        """
        known = request.notes.get("sorted")
        if isinstance(known, Sorted):
            return known
        carried, control, patience, upstream, messages = [], [], "", "", False
        for pair in request.headers:
            name = pair[0]
            if name in _CARRIED:
                carried.append(pair)
                messages = messages or name == "anthropic-version"
            elif name == _PATIENCE:
                patience = pair[1]
            elif name == _UPSTREAM:
                upstream = pair[1]
            elif name.startswith(CONTROL_PREFIX):
                control.append(pair)
        made = request.notes["sorted"] = Sorted(
            carried=tuple(carried),
            control=read_control(control) if control else NO_CONTROL,
            patience=patience,
            upstream=upstream,
            messages=messages,
        )
        return made

    def make(self, request: Request, path: str, home: Home, found: Sorted, view: RequestView, *, target: str) -> Call:
        """The call.

        Args:
            request: What came.
            path: Of it, without the query.
            home: Where it goes.
            found: From `sort`.
            view: What a reader read of it; an empty one where none did.
            target: Path and query at `home`.
        """
        engine, control = self._engine, found.control
        settings, trace = engine.settings, engine.new_trace()
        tenant = home.tenant
        trace.path = path
        trace.format, trace.model, trace.stream = view.format, view.model, view.stream
        trace.output_tokens_max, trace.tenant, trace.body_bytes = view.output_tokens_max, tenant[:16], len(request.body)
        trace.cache = "off"
        trace.upstream = home.origin
        trace.tags = control.tags
        return Call(
            method=request.method,
            origin=home.origin,
            path=target,
            headers=self._headers(home, path, found.carried),
            body=request.body,
            view=view,
            trace=trace,
            tenant=tenant,
            cache_mode=control.cache or self._cache_mode,  # type: ignore[arg-type]
            deadline_at_s=trace.started_at_s + min(control.deadline_s, settings.timeout_s),
            priority=control.priority,
            attempts_max=settings.attempts_max,
            timeouts=self._patience(found.patience) if found.patience else None,
            namespace=control.namespace,
            sample=control.sample,
            tags=control.tags,
        )

    def _headers(self, home: Home, path: str, carried: Headers) -> Headers:
        """What is sent; equal headers are one tuple, which the upstream client knows by its identity."""
        key = home.base_url, path, carried
        sent = self._sent.get(key)
        if sent is None:
            if len(self._sent) >= _KEPT_MAX:
                self._sent.clear()
            sent = self._sent[key] = (*carried, *_credential(home, path, carried))
        return sent

    def _patience(self, text: str) -> Timeouts | None:
        """The client's own patience, where it has less than the engine."""
        if text in self._timeouts:
            return self._timeouts[text]
        if len(self._timeouts) >= _KEPT_MAX:
            self._timeouts.clear()
        try:
            read_s = float(text)
        except ValueError:
            read_s = inf
        settings, made = self._engine.settings, None
        if 0 < read_s < max(settings.first_byte_timeout_s, settings.first_event_timeout_s, settings.idle_timeout_s):
            made = Timeouts(
                connect_s=settings.connect_timeout_s,
                first_byte_s=min(read_s, settings.first_byte_timeout_s),
                first_event_s=min(read_s, settings.first_event_timeout_s),
                first_content_s=settings.first_content_timeout_s,
                idle_s=min(read_s, settings.idle_timeout_s),
            )
        self._timeouts[text] = made
        return made


def answer_headers(headers: Headers, status: int) -> list[tuple[str, str]]:
    """The provider's headers that a client may see."""
    kept = [pair for pair in headers if pair[0] not in _NOT_ANSWERED and not pair[0].startswith(CONTROL_PREFIX)]
    if 300 <= status < 400:
        kept = [pair for pair in kept if pair[0] != "location"]  # it leads past this gateway
    return kept


def _credential(home: Home, path: str, carried: Headers) -> Headers:
    """The home's key, told as its format tells it."""
    key = home.key.reveal() if home.key is not None else ""
    if home.speaks_messages:
        told: Headers = own_credential("/v1/messages", key)
    else:
        told = own_credential(path, key)
    named = {name for name, _ in carried}
    return tuple(pair for pair in told if pair[0] not in named)
