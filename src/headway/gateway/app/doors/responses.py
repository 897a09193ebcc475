"""What is asked and answered on one Realtime connection, as calls: judged and paid for like any other, a row for each.

A response is asked for by the client (`response.create`), or by the provider's own ear for the end of a turn. Its key
is judged and its worst case set aside then, at 4,096 tokens of text, as for any answer without a bound; what it took is
known at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from headway.attempt.line import OUTPUT_TOKENS_ASSUMED
from headway.attempt.upstreams import Upstream
from headway.engine.record import attempt_trace
from headway.errors import BudgetExceeded
from headway.gateway.keys import Admitted
from headway.gateway.request import Refused
from headway.gateway.serving import Serving
from headway.types import Call, Outcome, Trace, Usage
from headway.wire.realtime import Asked, Event, Took, dollars_of, outcome_of
from headway.wire.tokens import estimate_tokens

__all__ = ["Responses", "is_bound"]

_OPEN_MAX: Final = 64
"""Responses of one connection at once; the API has one, and one for each that is out of band."""
_CREATE: Final = "response.create"
_UNTOLD: Final = "what is written down of speech has a model and a price of its own, and this key is bound to either"
_FIXED: Final = "this key is bound to models or dollars, so the model stays; open another connection for another one"


def is_bound(admitted: Admitted | None) -> bool:
    """Whether there is a bound on a key's models or dollars."""
    return admitted is not None and any(key.has_cap or "*" not in key.models for key in admitted.chain)


class _Response:
    """One of them, from the moment it was asked for."""

    __slots__ = ("call", "event_id", "said_bytes", "settle", "trace")

    def __init__(self, call: Call, trace: Trace, settle: Callable[[Trace], None] | None, event_id: str | None) -> None:
        self.call = call
        self.trace = trace
        self.settle = settle
        self.event_id = event_id
        self.said_bytes = 0


class Responses:
    """See the module.

    Args:
        serving: Whose engine has the log that they are in.
        call: The connection's; each response is a copy of it.
        admitted: Whose key pays; None where there are no keys.
        judge: Raises `Refused` where the key may not ask any more.
        priced: The upstream's own price, where one is set.
    """

    def __init__(
        self,
        serving: Serving,
        call: Call,
        admitted: Admitted | None,
        judge: Callable[[], None],
        priced: Upstream | None,
    ) -> None:
        self._serving = serving
        self._call = call
        self._admitted = admitted
        self.is_bound = is_bound(admitted)
        self._judge = judge
        self._rates = priced.rates() if priced is not None else None
        self._model = call.view.model
        self._asked: list[_Response] = []
        self._open: dict[str, _Response] = {}
        self.idle = asyncio.Event()
        """Set while nothing is being answered."""
        self.idle.set()

    async def asked(self, asked: Asked | None) -> None:
        """The client has sent an event, or a frame that is none; it may have to wait for its key's limits.

        Raises:
            Refused: The key may not ask, or is bound and nobody could tell what it would cost; or too many wait.
            HeadwayError: There is no money for it, or its limits leave no room in time.
        """
        if self.is_bound and (asked is None or asked.transcribes):
            raise Refused(403, _UNTOLD, "cost_unknown")
        if self.is_bound and asked is not None and asked.models - {self._call.view.model, self._model}:
            raise Refused(403, _FIXED, "model_not_allowed")
        if len(self._asked) >= _OPEN_MAX and asked is not None and asked.type == _CREATE:
            raise Refused(429, f"{_OPEN_MAX} responses were asked for and have not begun; wait for them", "busy")
        if asked is not None and asked.type == _CREATE:
            self._asked.append(await self._begin(asked.event_id))
            self.idle.clear()

    async def said(self, event: Event) -> None:
        """The provider has sent an event. Raises as `asked`, for a response that nobody asked for."""
        if event.type == "response.created":
            await self._created(event)
        elif event.type == "response.done":
            response = self._open.pop(event.of, None)
            if response is not None:
                outcome, finish, code = event.ended
                response.trace.error_code = code
                self._end(response, outcome, finish, event.took)
        elif event.type == "error" and event.error is not None:
            self._refused(event.error.event_id, event.error.code or event.error.type or "error")
        elif event.type == "session.created" and event.session is not None:
            self._model = event.session.model or self._model
        elif event.is_content and (response := self._open.get(event.of)) is not None:
            response.said_bytes += event.said_bytes
            if response.trace.first_content_at_s is None:
                response.trace.first_content_at_s = asyncio.get_running_loop().time()

    def close(self, outcome: Outcome) -> None:
        """The connection is gone: what was being answered was cut short, and may have been billed."""
        for response in [*self._asked, *self._open.values()]:
            self._end(response, outcome, "", None)
        self._asked.clear()
        self._open.clear()
        self.idle.set()

    async def _begin(self, event_id: str | None) -> _Response:
        self._judge()
        engine = self._serving.engine
        budget = engine.budget
        if budget is not None and budget.cap.dollars_spent >= budget.cap.dollars_max:
            raise BudgetExceeded(f"the budget of ${budget.cap.dollars_max:g} is spent")
        caller, trace = self._call.trace, engine.new_trace()
        for name in ("path", "format", "model", "tenant", "upstream", "tags"):
            setattr(trace, name, getattr(caller, name))
        trace.stream, trace.cache = True, "off"
        call = replace(self._call, trace=trace, deadline_at_s=trace.started_at_s + engine.settings.timeout_s)
        settle = None
        if self._admitted is not None:
            dollars = self._dollars(Took(output_tokens=OUTPUT_TOKENS_ASSUMED))
            settle = await self._admitted.allowance.take(call, dollars, OUTPUT_TOKENS_ASSUMED)
        trace.wait_s = asyncio.get_running_loop().time() - trace.started_at_s
        trace.sent_at_s = trace.started_at_s + trace.wait_s
        return _Response(call, trace, settle, event_id)

    async def _created(self, event: Event) -> None:
        response = self._asked.pop(0) if self._asked else await self._begin(None)
        response.trace.first_byte_at_s = asyncio.get_running_loop().time()
        if len(self._open) >= _OPEN_MAX:
            self._end(self._open.pop(next(iter(self._open))), "abandoned", "", None)
        self._open[event.of] = response
        self.idle.clear()

    def _refused(self, event_id: str | None, code: str) -> None:
        """An error may be the answer to a question, or to anything else that the client has sent."""
        response = next((one for one in self._asked if one.event_id == event_id), None)
        if response is not None:
            self._asked.remove(response)
            response.trace.error_code = code
            self._end(response, outcome_of(code), "", None)

    def _end(self, response: _Response, outcome: Outcome, finish: str, took: Took | None) -> None:
        """Write it down, and pay."""
        trace, call = response.trace, response.call
        cut = took is None and outcome in ("abandoned", "connection_lost", "closed") and trace.sent_at_s is not None
        usage = took.usage if took is not None else None
        if cut:
            usage = Usage(output_tokens=estimate_tokens(response.said_bytes), estimated=True)
            took = Took(output_tokens=usage.output_tokens) if usage is not None else None
        attempt = attempt_trace(trace, 0, trace.sent_at_s or trace.started_at_s, trace.start_wall_s + trace.wait_s)
        for one in (attempt, trace):
            one.usage, one.finish, one.maybe_billed = usage, finish, cut
            one.dollars = self._dollars(took) if took is not None else 0.0
            one.upstream, one.flight_id, one.error_code = call.origin, trace.id, trace.error_code
            one.sent_at_s, one.first_byte_at_s = trace.sent_at_s, trace.first_byte_at_s
            one.first_content_at_s = trace.first_content_at_s
            one.status = 200 if trace.first_byte_at_s is not None else None
        trace.attempts = 1
        if response.settle is not None:
            attempt.on_end(response.settle)
        self._serving.engine.settle(attempt, trace, outcome)
        if not self._asked and not self._open:
            self.idle.set()

    def _dollars(self, took: Took) -> float | None:
        if self._rates is not None:
            return self._rates.dollars(took.usage)
        found = dollars_of(self._model, self._call.origin, took)
        return found if found is not None else dollars_of(self._call.view.model, self._call.origin, took)
