"""`/stream`: a question in an address, and its answer as it comes, as server-sent events or as plain text.

Nothing is asked for a `HEAD`, for what a browser fetches ahead, for another origin's page, or when an `EventSource`
comes back on its own because its line broke: a second answer would be a second one to pay for.

An answer out of the cache may be kept by its asker for as long as the cache will; any other may be kept, too, but has
to be asked about: the tag names the one answer of the provider that it was made of, so 304 is said only while that one
is what the cache would give again.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

import msgspec

from headway.engine.question import Question
from headway.errors import HeadwayError
from headway.gateway.app.doors.asking import asked, question_of
from headway.gateway.app.doors.keeping import head_of, keeping, tag_of
from headway.gateway.app.doors.parameters import of_address, of_body
from headway.gateway.app.doors.sending import NO_STORE, TYPES, Left, Relay, refuse, send_whole
from headway.gateway.app.doors.visitor import Visitor
from headway.gateway.app.plane import Message, Receive, Send, while_there, whole_body
from headway.gateway.request import Refused
from headway.gateway.serving import Serving
from headway.types import Headers

__all__ = ["StreamDoor"]

_EVENTS: Final = "text/event-stream"
_FIELDS_MAX: Final = 16


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the query, or the JSON body, may say."""

    prompt: str = ""
    model: str = ""
    system: str = ""
    max_tokens: int | None = None
    api: str = ""
    format: str = ""


class StreamDoor:
    """An ASGI application; see the module.

    Args:
        serving: Who answers.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        visitor = Visitor(self._serving, scope["headers"])
        events = _EVENTS in visitor.header("accept").lower()
        try:
            visitor.check_site()
            visitor.check_purpose()
        except Refused as refused:
            self._serving.refused(refused)
            await refuse(send, refused, events=False)
            return
        try:
            if visitor.header("last-event-id"):
                await send_whole(send, 204, (NO_STORE,))  # which tells an EventSource to stop asking
                return
            if scope["method"] == "POST":
                said = await self._read_body(visitor, receive)
            else:
                said = _of_query(scope.get("query_string", b""))
            if said is None:
                return
            form = _form(said, visitor)
            question = question_of(
                self._serving,
                said.prompt,
                model=said.model,
                system=said.system,
                max_tokens=said.max_tokens,
                api=said.api,
            )
            if scope["method"] == "HEAD":
                self._serving.check(visitor.request("POST", question.path))
                await send_whole(send, 200, (("content-type", TYPES[form]), NO_STORE))
                return
        except Refused as refused:
            self._serving.refused(refused)
            await refuse(send, refused, events=events)
            return
        await while_there(receive, self._answer(scope, send, visitor, question, form))

    async def _read_body(self, visitor: Visitor, receive: Receive) -> _Asked | None:
        """What a body asks; None where its sender has gone. Raises `Refused`."""
        if visitor.header("content-type").partition(";")[0].strip().lower() != "application/json":
            # A form of another origin's page can say anything but this.
            raise Refused(415, "the body must be JSON, with content-type: application/json", "unsupported_media_type")
        visitor.check_key()  # before the body is taken
        limits = self._serving.settings.limits
        try:
            body = await whole_body(receive, limits)
        except TimeoutError:
            raise Refused(408, "the request's body did not come in time", "request_timeout") from None
        if body is None:
            return None
        if len(body) > limits.body_bytes_max:
            most = limits.body_bytes_max >> 20
            raise Refused(413, f"the request's body is larger than {most} MiB", "request_too_large")
        return of_body(body, _Asked)

    async def _answer(self, scope: Message, send: Send, visitor: Visitor, question: Question, form: str) -> None:
        """Ask, and hand on what comes."""
        events = _EVENTS in visitor.header("accept").lower()
        known = visitor.header("if-none-match")
        try:
            if known:
                headers = await self._unchanged(visitor, question, form, known)
                if headers is not None:
                    await send_whole(send, 304, headers)
                    return
            answering = await asked(self._serving, visitor, question)
        except HeadwayError as error:
            await refuse(send, Refused(400, str(error), error.code), events=events)
            return
        except Refused as refused:
            await refuse(send, refused, events=events)
            return
        async with answering:
            relay = Relay(send, scope, self._serving.settings.limits.write_s)
            try:
                await relay.begin(head_of(answering.reply, question, form))
                await (relay.text if form == "text" else relay.events)(answering)
            except Left:
                relay.end_at_once()

    async def _unchanged(self, visitor: Visitor, question: Question, form: str, known: str) -> Headers | None:
        """The headers of a 304, where what the asker has is what the cache would give him; None where not."""
        for bound in question.bounds[: 1 if question.output_tokens_max is None else None]:
            request = visitor.request("POST", question.path, question.body(bound))
            reply = await self._serving.door.kept(request)
            if reply is None:
                continue
            async with reply:
                tag = tag_of(reply, question, form)
            tags = {one.strip().removeprefix("W/") for one in known.split(",")}
            return keeping(reply, tag) if tag and (tag.removeprefix("W/") in tags or "*" in tags) else None
        return None


def _of_query(query: bytes) -> _Asked:
    """What an address asks. Raises `Refused`."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError:
        raise Refused(
            400, f"the address is not understood: it is no UTF-8, or has more than {_FIELDS_MAX} parameters"
        ) from None
    said = dict(pairs)
    if len(said) < len(pairs):
        raise Refused(400, "the address says something twice; say each of its parameters once")
    return of_address(said, _Asked)


def _form(said: _Asked, visitor: Visitor) -> str:
    """In what form the answer is wanted: "sse" or "text". Raises `Refused`."""
    if said.format:
        if said.format not in TYPES:
            raise Refused(400, f"format must be sse or text, not {said.format[:40]!r}")
        return said.format
    accepted = visitor.header("accept").lower()
    # A person who typed the address sees text; whoever takes anything gets events.
    return "text" if _EVENTS not in accepted and ("text/plain" in accepted or "text/html" in accepted) else "sse"
