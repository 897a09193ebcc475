"""`/chat`: a conversation on a WebSocket. Its frames are JSON; docs/doors.md has them in a table.

One answer at a time: what is said meanwhile waits, one at the most. Errors are frames, and the socket lives on; only a
key that is none, a frame that is too large, silence, and the end of the server close it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeAlias

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from headway.errors import HeadwayError
from headway.gateway.app.doors.asking import Answering, asked, question_of
from headway.gateway.app.doors.conversation import Conversation
from headway.gateway.app.doors.parameters import of_address
from headway.gateway.app.doors.sockets import GOING_AWAY, INTERNAL, POLICY, Place, Sockets, deny, ending_of, goodbye
from headway.gateway.app.doors.visitor import Visitor
from headway.gateway.request import Refused
from headway.gateway.serving import Serving

__all__ = ["Chat"]

PATH: Final = "/chat"


class _Frame(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """From the client."""


class _Say(_Frame, frozen=True, tag="say"):
    """Ask."""

    text: str
    model: str = ""
    """For this question; "": the socket's."""


class _Cancel(_Frame, frozen=True, tag="cancel"):
    """End the answer that is being given."""


class _Reset(_Frame, frozen=True, tag="reset"):
    """Forget what was said."""


class _Key(_Frame, frozen=True, tag="key"):
    """Show a key, for those who can set no headers; the first frame."""

    key: str


_AnyFrame: TypeAlias = _Say | _Cancel | _Reset | _Key
_decoder: Final[msgspec.json.Decoder[_AnyFrame]] = msgspec.json.Decoder(_AnyFrame)


class _Wishes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the socket's address may say, for all questions on it."""

    model: str = ""
    system: str = ""
    max_tokens: int | None = None
    api: str = ""


class Chat:
    """The endpoint.

    Args:
        serving: Who answers.
        sockets: Counts them.
    """

    def __init__(self, serving: Serving, sockets: Sockets) -> None:
        self._serving = serving
        self._sockets = sockets

    async def serve(self, socket: WebSocket) -> None:
        """Hold one conversation."""
        try:
            visitor, agreed = self._sockets.visitor(socket, PATH)
            wishes = of_address(socket.query_params, _Wishes)
            known = _known(visitor)
            with self._sockets.one(known=known) as place:
                await socket.accept(agreed or None)
                talk = _Talk(self._serving, socket, visitor, wishes, None if known else place)
                try:
                    await talk.run()
                except (OSError, WebSocketDisconnect):
                    pass  # the client has gone
        except Refused as refused:
            self._serving.refused(refused)
            await deny(socket, refused)


class _Talk:
    """One socket's conversation."""

    def __init__(
        self, serving: Serving, socket: WebSocket, visitor: Visitor, wishes: _Wishes, place: Place | None
    ) -> None:
        limits = serving.settings.doors
        self._serving = serving
        self._limits = limits
        self._socket = socket
        self._visitor = visitor
        self._wishes = wishes
        self._place = place
        """A stranger's; None for who is known."""
        self._said = Conversation(limits.turns_max, limits.turns_bytes_max)
        self._waiting: _Say | None = None
        self._answer: asyncio.Task[None] | None = None
        self._speaking = self._stopped = False

    async def run(self) -> None:
        """Until either side has had enough."""
        ending = ending_of(self._socket)
        end = asyncio.ensure_future(ending.wait())
        heard = asyncio.ensure_future(self._socket.receive())
        try:
            while True:
                watched: set[asyncio.Future[Any]] = {heard}
                watched |= {self._answer} if self._answer is not None else set()
                watched |= {end} if not end.done() else set()
                await asyncio.wait(watched, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED)
                if not any(future.done() for future in watched):
                    await self._tire()
                    return
                if self._answer is not None and self._answer.done():
                    self._answer.result()
                    self._next(ending=end.done())
                if heard.done():
                    message = heard.result()
                    if message["type"] != "websocket.receive" or not await self._take(message):
                        return
                    heard = asyncio.ensure_future(self._socket.receive())
                if end.done() and self._answer is None:
                    await goodbye(self._socket, GOING_AWAY, "the gateway ends")
                    return
        finally:
            await self._leave(end, heard)

    async def _leave(self, *futures: asyncio.Future[Any]) -> None:
        """End what is under way, the provider's answer above all."""
        ended = [*futures, *([self._answer] if self._answer is not None else [])]
        for future in ended:
            future.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        # Cancelled by the server, or by a mistake of ours; any other way it is closed already.
        await goodbye(self._socket, GOING_AWAY if ending_of(self._socket).is_set() else INTERNAL)

    @property
    def _known(self) -> bool:
        return self._place is None

    def _patience(self) -> float | None:
        """How long the client may say nothing; None while something is answered."""
        if not self._known:
            return self._limits.hello_s
        return None if self._answer is not None else self._limits.idle_s

    async def _tire(self) -> None:
        if self._known:
            await goodbye(self._socket, 1000, f"nothing was said for {self._limits.idle_s:g} seconds")
        else:
            await self._fail(Refused(401, "no key came in time; send one in the first frame", "invalid_key"))
            await goodbye(self._socket, POLICY, "no key came in time")

    async def _take(self, message: Any) -> bool:
        """One frame of the client's; whether to go on."""
        try:
            frame = _read(message)
        except Refused as refused:
            await self._fail(refused)
            return True
        if isinstance(frame, _Key) or not self._known:
            return await self._meet(frame)
        if isinstance(frame, _Say):
            await self._hear(frame)
        elif isinstance(frame, _Cancel):
            self._stop()
        else:
            self._waiting = None
            self._stop()
            if self._answer is not None:
                await asyncio.wait((self._answer,))
            self._said.reset()
            await self._send({"type": "reset"})
        return True

    async def _meet(self, frame: _AnyFrame) -> bool:
        """The first frame, where no key came before it."""
        try:
            if not isinstance(frame, _Key):
                raise Refused(401, "the first frame must show a key of this gateway", "invalid_key")
            self._visitor.bring(frame.key)
            self._visitor.check_key()
            if self._place is not None:
                self._place.take(known=True)
        except Refused as refused:
            self._serving.refused(refused)
            await self._fail(refused)
            await goodbye(self._socket, POLICY, refused.code)
            return False
        self._place = None
        return True

    async def _hear(self, say: _Say) -> None:
        if self._answer is None:
            self._begin(say)
        elif self._waiting is None:
            self._waiting = say
        else:
            await self._fail(Refused(429, "one answer is being given and one question waits; cancel, or wait", "busy"))

    def _begin(self, say: _Say) -> None:
        self._speaking, self._stopped = True, False
        self._answer = asyncio.ensure_future(self._give(say))

    def _next(self, *, ending: bool) -> None:
        """After an answer: what was said meanwhile."""
        self._answer, waiting = None, self._waiting
        self._waiting = None
        if waiting is not None and not ending:
            self._begin(waiting)

    def _stop(self) -> None:
        if self._answer is not None and self._speaking:
            self._stopped = True
            self._answer.cancel()

    async def _give(self, say: _Say) -> None:
        """One answer, from question to last frame."""
        pieces: list[str] = []
        answering: Answering | None = None
        try:
            wishes = self._wishes
            question = question_of(
                self._serving,
                self._said.asked(say.text),
                model=say.model or wishes.model,
                system=wishes.system,
                max_tokens=wishes.max_tokens,
                api=wishes.api,
            )
            answering = await asked(self._serving, self._visitor, question)
            async with answering:
                async for text in answering:
                    pieces.append(text)
                    await self._send({"type": "token", "text": text})
            last = {"type": "done", **await answering.took()}
        except Refused as refused:
            last = _error(refused)
        except HeadwayError as error:
            last = _error(Refused(400, str(error), error.code))
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            last = {"type": "cancelled", **(await answering.took() if answering is not None else {})}
        finally:
            self._speaking = False
        self._said.add(say.text, "".join(pieces))
        await self._send(last)

    async def _fail(self, refused: Refused) -> None:
        await self._send(_error(refused))

    async def _send(self, frame: dict[str, Any]) -> None:
        await self._socket.send_text(msgspec.json.encode(frame).decode())


def _known(visitor: Visitor) -> bool:
    """Whether he may speak; False where he still has to show a key. Raises `Refused` where he may not."""
    try:
        visitor.check_key()
    except Refused as refused:
        if refused.status != 401 or visitor.shows_key:
            raise
        return False
    return True


def _read(message: Any) -> _AnyFrame:
    """A frame. Raises `Refused`."""
    text = message.get("text")
    if text is None:
        raise Refused(400, "a frame must be text, and JSON", "bad_frame")
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as problem:
        said = f"the frame is not understood: {problem}; its type is say, cancel, reset or key"
        raise Refused(400, said[:300], "bad_frame") from None


def _error(refused: Refused) -> dict[str, Any]:
    return {"type": "error", "message": refused.message, "code": refused.code, "status": refused.status}
