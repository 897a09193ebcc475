"""The Realtime API's events, as far as a relay reads them: whose response began, spoke and ended, and what it took.

Source: OpenAI API reference, "Realtime client events" and "Realtime server events" (`response.create`;
`response.created`, `response.*.delta`, `response.done`, `error`, `session.created`), and its WebSocket guide for how
browsers tell a key.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headway.types import Outcome, Usage
from headway.wire.decoding import UNREADABLE

__all__ = [
    "FORMAT",
    "KEY_PROTOCOLS",
    "Asked",
    "Event",
    "Took",
    "dollars_of",
    "outcome_of",
    "read_asked",
    "read_event",
    "said_once",
]

FORMAT: Final = "openai_realtime"

KEY_PROTOCOLS: Final = ("headway-key.", "openai-insecure-api-key.")
"""How a browser's WebSocket tells a key, which can set no headers: as a subprotocol, beside the one that is meant."""

_BILLING: Final = frozenset(("insufficient_quota", "billing_hard_limit_reached"))
_SAID: Final = ("text.delta", "transcript.delta", "arguments.delta")
_ENDED_EARLY: Final = "cancelled"


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one response by kind; audio, images and what was cached are part of the sums."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached: int = 0
    input_audio: int = 0
    cached_audio: int = 0
    input_image: int = 0
    cached_image: int = 0
    output_audio: int = 0

    @property
    def usage(self) -> Usage:
        """As of any other answer."""
        return Usage(input_tokens=self.input_tokens, cached_tokens=self.cached, output_tokens=self.output_tokens)


class _Input(msgspec.Struct, frozen=True):
    transcription: Any = None


class _Audio(msgspec.Struct, frozen=True):
    input: _Input | None = None


class _Named(msgspec.Struct, frozen=True):
    model: str | None = None


class _Wanted(msgspec.Struct, frozen=True):
    type: str | None = None
    model: str | None = None
    audio: _Audio | None = None
    input_audio_transcription: Any = None


class Asked(msgspec.Struct, frozen=True):
    """A client's event."""

    type: str = ""
    event_id: str | None = None
    session: _Wanted | None = None
    response: _Named | None = None

    @property
    def models(self) -> set[str]:
        """Those that it names."""
        return {named.model for named in (self.session, self.response) if named is not None and named.model}

    @property
    def transcribes(self) -> bool:
        """Whether it has speech written down beside the answers, by a model of its own, which no response tells of."""
        wanted = self.session or _Wanted()
        heard = wanted.audio.input if wanted.audio is not None else None
        asked = wanted.input_audio_transcription is not None or (heard is not None and heard.transcription is not None)
        return asked or wanted.type == "transcription" or self.type.startswith("transcription_session.")


class _Counts(msgspec.Struct, frozen=True):
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _Inputs(msgspec.Struct, frozen=True):
    audio_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens: int | None = None
    cached_tokens_details: _Counts | None = None


class _Usage(msgspec.Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Inputs | None = None
    output_token_details: _Counts | None = None


class _Error(msgspec.Struct, frozen=True):
    code: str | None = None
    message: str | None = None
    type: str | None = None
    event_id: str | None = None


class _Details(msgspec.Struct, frozen=True):
    reason: str | None = None
    error: _Error | None = None


class _Response(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    status_details: _Details | None = None
    usage: _Usage | None = None


class _Session(msgspec.Struct, frozen=True):
    model: str | None = None


class Event(msgspec.Struct, frozen=True):
    """A provider's event."""

    type: str = ""
    response_id: str | None = None
    response: _Response | None = None
    error: _Error | None = None
    session: _Session | None = None
    delta: msgspec.Raw = msgspec.Raw(b"")

    @property
    def of(self) -> str:
        """The response that it belongs to; "" for none."""
        return self.response_id or (self.response.id if self.response is not None else "") or ""

    @property
    def is_content(self) -> bool:
        """Whether it is a piece of an answer."""
        return self.type.startswith("response.") and self.type.endswith(".delta")

    @property
    def said_bytes(self) -> int:
        """Of text, roughly; audio has a transcript."""
        return max(0, len(bytes(self.delta)) - 2) if self.type.endswith(_SAID) else 0

    @property
    def took(self) -> Took | None:
        """What a response took; None where it does not say so."""
        usage = self.response.usage if self.response is not None else None
        if usage is None:
            return None
        inputs = usage.input_token_details or _Inputs()
        cached, outputs = inputs.cached_tokens_details or _Counts(), usage.output_token_details or _Counts()
        return Took(
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cached=inputs.cached_tokens or 0,
            input_audio=inputs.audio_tokens or 0,
            cached_audio=cached.audio_tokens or 0,
            input_image=inputs.image_tokens or 0,
            cached_image=cached.image_tokens or 0,
            output_audio=outputs.audio_tokens or 0,
        )

    @property
    def ended(self) -> tuple[Outcome, str, str]:
        """How a response ended: the log's word, the finish, and an error's code.

        One that its client, or somebody who began to speak, has cut short counts as abandoned.
        """
        response = self.response or _Response()
        details = response.status_details or _Details()
        status = response.status or "completed"
        if status == "failed":
            error = details.error or _Error()
            code = error.code or error.type or "failed"
            return outcome_of(code), status, code
        return ("abandoned" if status == _ENDED_EARLY else "ok"), details.reason or status, ""


def outcome_of(code: str) -> Outcome:
    """The log's word for an error's code."""
    if code in _BILLING:
        return "billing"
    if "rate_limit" in code:
        return "throttled"
    return "client_error" if "invalid" in code or "not_found" in code else "server_error"


_asked: Final = msgspec.json.Decoder(Asked)
_event: Final = msgspec.json.Decoder(Event)


def read_asked(text: str) -> Asked | None:
    """A client's event; None where it is none."""
    try:
        return _asked.decode(text)
    except UNREADABLE:
        return None


def said_once(text: str) -> str | None:
    """The same JSON with each name once: of two, others might take another one than `read_asked`; None: it is none."""
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except UNREADABLE:
        return None


def read_event(text: str) -> Event | None:
    """A provider's event; None where it is none."""
    try:
        return _event.decode(text)
    except UNREADABLE:
        return None


def dollars_of(model: str, origin: str, took: Took) -> float | None:
    """What it costs by the ``genai-prices`` package, whose prices tell audio and images from text; None: unknown.

    Args:
        model: The model's name.
        origin: Where it is served; one that sells no such model is priced by the model's name alone.
        took: The tokens.
    """
    from genai_prices import Usage as Counted  # 0.1 s: imported when the first price is asked for
    from genai_prices import calc_price

    counted = Counted(
        input_tokens=took.input_tokens,
        output_tokens=took.output_tokens,
        cache_read_tokens=took.cached,
        input_audio_tokens=took.input_audio,
        cache_audio_read_tokens=took.cached_audio,
        output_audio_tokens=took.output_audio,
        input_image_tokens=took.input_image,
        cache_image_read_tokens=took.cached_image,
    )
    for url in (origin or None, None, "https://api.openai.com"):
        try:
            found = calc_price(counted, model, provider_api_url=url)
        except (LookupError, ValueError):
            continue
        return float(found.total_price)
    return None
