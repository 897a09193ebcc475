"""Several small requests as one prompt, and its answer taken apart again: keyed JSON, in each format's own shape.

Requests can go together when they are the same bytes but for one user text. The merged request is those bytes with
another text and a greater bound; system text and instructions stay as they are. What a request asks for beyond the
fields that are named here (tools, a schema, pictures, earlier turns, stop texts) keeps it by itself.

Source: Cheng, Kasai, Yu, "Batch Prompting" (EMNLP Industry 2023); OpenAI and Anthropic API references for the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from headway.wire.decoding import UNREADABLE
from headway.wire.splice import with_output_bound

__all__ = ["BOUND_EXTRA_TOKENS", "Item", "answers_in", "item_of", "merged", "split"]

BOUND_EXTRA_TOKENS: Final = 8
"""For a member's key and quotes."""

_ORDER: Final = (
    "Answer each item on its own, by the instructions above. "
    "Return only a JSON object with the ids as keys and each answer as a string.\n"
)


class Item(NamedTuple):
    """A request around its one user text."""

    before: bytes
    text: str
    after: bytes


class _Turn(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: msgspec.Raw
    type: str = "message"


class _Common(msgspec.Struct, forbid_unknown_fields=True):
    """What changes nothing about how an answer is to be read: all these may stand in a request that is grouped."""

    model: str
    stream: Any = None
    temperature: Any = None
    top_p: Any = None
    metadata: Any = None
    service_tier: Any = None


class _OpenAI(_Common, forbid_unknown_fields=True):
    store: Any = None
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None


class _Responses(_OpenAI, forbid_unknown_fields=True):
    input: msgspec.Raw = msgspec.Raw()
    instructions: Any = None
    max_output_tokens: Any = None
    reasoning: Any = None


class _Chat(_OpenAI, forbid_unknown_fields=True):
    messages: msgspec.Raw = msgspec.Raw()
    max_tokens: Any = None
    max_completion_tokens: Any = None
    reasoning_effort: Any = None


class _Messages(_Common, forbid_unknown_fields=True):
    messages: msgspec.Raw = msgspec.Raw()
    max_tokens: Any = None
    system: Any = None
    top_k: Any = None


_KINDS: Final[tuple[tuple[str, type[_Common]], ...]] = (
    ("/chat/completions", _Chat),
    ("/responses", _Responses),
    ("/v1/messages", _Messages),
)
_decode_turns: Final = msgspec.json.Decoder(list[_Turn]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode
_UNFIT: Final = (*UNREADABLE, msgspec.MsgspecError)


def item_of(path: str, body: bytes) -> Item | None:
    """A request's one user text and what stands around it; None for one that cannot be grouped."""
    path = path.partition("?")[0]
    kind = next((kind for end, kind in _KINDS if path.endswith(end)), None)
    if kind is None:
        return None
    try:
        request = msgspec.json.decode(body, type=kind)
        raw = _user_text(bytes(request.input if isinstance(request, _Responses) else request.messages))  # type: ignore[attr-defined]
        text = _decode_text(raw)
    except _UNFIT:
        return None
    before, _, after = body.partition(raw)
    # The same bytes twice: nobody could say which of them is the item.
    return Item(before, text, after) if raw not in after and text.strip() else None


def _user_text(turns: bytes) -> bytes:
    """The JSON string of the only user turn, the last one. Raises `ValueError` where there is another kind of turn."""
    if turns[:1] == b'"':
        return turns
    *fixed, last = _decode_turns(turns)
    if last.role != "user" or any(turn.role not in ("system", "developer") for turn in fixed):
        raise ValueError("a conversation")
    return bytes(last.content)


def merged(item: Item, texts: Sequence[str], fields: Sequence[str], tokens_max: int | None) -> bytes:
    """One request for all `texts`, by the bytes that they have in common.

    Args:
        item: Any of them.
        texts: The members' user texts; their ids are "1", "2" and so on.
        fields: The format's names for the bound on output (`Reader.bound_fields`).
        tokens_max: The sum of the members' bounds; None where they have none.
    """
    lines = [f'{{"id": "{number}", "item": {_encode(text).decode()}}}' for number, text in enumerate(texts, 1)]
    body = item.before + _encode(_ORDER + "\n".join(lines)) + item.after
    if tokens_max is None:
        return body
    return with_output_bound(body, fields, tokens_max + BOUND_EXTRA_TOKENS * len(texts)) or body


def answers_in(text: str, members: int) -> list[str | None]:
    """Each member's answer out of the model's text; None where its key is missing, or holds no text.

    A fence or a few words around the object are tolerated.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        found = _decode(text[start : end + 1]) if 0 <= start < end else {}
    except _UNFIT:
        found = {}
    answers = [found.get(str(number)) for number in range(1, members + 1)]
    return [answer if type(answer) is str and answer.strip() else None for answer in answers]


def split(body: bytes, answers: Sequence[str | None]) -> list[bytes]:
    """The whole answer of each member, in the shape of the group's: its own text, and its share of the usage.

    Shares are equal to a token, and add up. A member without an answer has its share all the same, with no text.
    Raises `ValueError` for a body that is of none of the formats.
    """
    whole = _decode(body)
    usage = whole.get("usage")
    parts = []
    for place, answer in enumerate(answers):
        own = _with_text(whole, answer or "")
        if type(usage) is dict:
            own["usage"] = _shared(usage, len(answers), place)
        parts.append(_encode(own))
    return parts


def _with_text(whole: dict[str, Any], text: str) -> dict[str, Any]:
    if "choices" in whole:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return whole | {"choices": [choice]}
    if "output" in whole:
        said = next((item for item in whole["output"] if type(item) is dict and item.get("type") == "message"), {})
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item = {"type": "message", "role": "assistant", "status": "completed", **said, "content": content}
        return whole | {"output": [item], "status": "completed", "incomplete_details": None}
    if "content" in whole:
        return whole | {
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None
        }  # fmt: skip
    raise ValueError("an answer of no format that is known")


def _shared(usage: dict[str, Any], members: int, place: int) -> dict[str, Any]:
    """One member's part of every count; a smaller count's part is never greater than a greater one's."""
    own: dict[str, Any] = {}
    for name, value in usage.items():
        if type(value) is int:
            own[name] = (value + members - 1 - place) // members
        else:
            own[name] = _shared(value, members, place) if type(value) is dict else value
    for inputs, outputs in (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")):
        if "total_tokens" in own and type(own.get(inputs)) is int and type(own.get(outputs)) is int:
            own["total_tokens"] = own[inputs] + own[outputs]
    return own
