"""Requests as rows: files that hold whole requests, such as OpenAI's and Anthropic's batch inputs, made into a task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from headway.errors import ConfigError, InputError
from headway.prompts.output import Api
from headway.prompts.task import Task

__all__ = ["First", "Requests", "first_request"]

_APIS: Final[tuple[tuple[str, Api], ...]] = (
    ("/chat/completions", "chat"),
    ("/responses", "responses"),
    ("/v1/messages", "messages"),
)
_SHOWN_MAX: Final = 100


class First(NamedTuple):
    """What the first request of a file tells of the others."""

    api: Api | None
    """None: it does not say."""
    url: str
    """As it is written there; "" when it is not."""
    model: str


class Requests(Task):
    """Each row is a request already, and is sent as it is: a row's `body`, or `params` as in Anthropic's batches.

    ::

        {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5.4-mini", ...}}
        {"custom_id": "a-1", "params": {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [...]}}

    Rows were parsed, so it is the body's own values, names and order that are sent, without the white space between
    them. Rows may name different models. They have to be for one url; one that is not is a row that cannot be asked
    about, and so is one without a body, without a model, or that asks for a stream. What ids rows have, and whether
    they are unique, is their owner's business. The answer's text is the output, whatever it says; also when it was
    cut at the bound that the request itself has set.

    Args:
        api: What the rows are requests of: "responses", "chat" or "messages".
        model: What reports and plans name; the rows' own models are what is sent.
        url: What rows name, where that is spelled in another way than the API's own path.
        where: What error messages call this task.
    """

    def __init__(
        self, *, api: Api = "chat", model: str = "as the rows say", url: str = "", where: str = "requests"
    ) -> None:
        super().__init__(model=model, prompt="{body}", api=api, instruct=False, repairs_max=0, where=where)
        self.max_output_tokens = None  # each request has its own
        self._url = url or self.path
        self._flex = False

    @property
    def bears_cutting(self) -> bool:
        """The bound is the request's own: what it leaves is what was asked for."""
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        """None that every row has: each row without a request tells so by itself."""
        return ()

    @property
    def fingerprint(self) -> str:
        """32 hex digits, of the API alone: all else is in the rows."""
        return _digest(b"requests", self.path.encode())

    def row_key(self, row: Mapping[str, Any]) -> str:
        """32 hex digits of the request; the row's custom_id is none of it.

        Raises:
            InputError: As `body`.
        """
        return _digest(self.path.encode(), _encoded(self._request(row)))

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The row's request.

        Raises:
            InputError: The row holds none that could be sent; the sentence says why.
        """
        request = self._request(row)
        return _encoded({**request, "service_tier": "flex"} if self._flex else request)

    def accept(self, text: str) -> str:
        """The text as it is."""
        return text

    def accept_whole(self, answer: bytes) -> Any:
        """The whole answer, decoded, for one that has no text: tool calls. Raises `ValueError` when it is no JSON."""
        return msgspec.json.decode(answer)

    def flex(self) -> Requests:
        """As `Task.flex`; a service tier that a request names gives way."""
        task = super().flex()
        assert isinstance(task, Requests)
        task._flex = True
        return task

    def _request(self, row: Mapping[str, Any]) -> dict[str, Any]:
        name = "body" if "body" in row else "params"
        request = row.get(name)
        if not isinstance(request, dict):
            raise InputError("the row holds no request; it needs an object named 'body' (or 'params')")
        method, url = row.get("method") or "POST", row.get("url") or self._url
        if url != self._url:
            raise InputError(
                f"the row is for {_shown(url)} and this job for {self._url!r}; give rows of another url a file of "
                "their own"
            )
        if name == "params" and self.api != "messages":
            raise InputError(f"the row's 'params' are a Messages request, and this job is for {self._url!r}")
        if method != "POST":
            raise InputError(f"the row's method is {_shown(method)}, and only POST can be asked for")
        if request.get("stream"):
            raise InputError("the request asks for a stream, which has no place in a file; leave 'stream' out")
        model = request.get("model")
        if not isinstance(model, str) or not model:
            raise InputError("the request names no model; each needs its own 'model'")
        return request


def first_request(row: Mapping[str, Any]) -> First | None:
    """What a row tells when it is a request, of whatever API; None when it is none.

    Raises:
        ConfigError: It is for a url that jobs have no use for.
    """
    name = "body" if "body" in row else "params"
    request = row.get(name)
    if not isinstance(request, dict):
        return None
    model, url = request.get("model"), row.get("url")
    model = model if isinstance(model, str) else ""
    if not isinstance(url, str) or not url:
        return First("messages" if name == "params" else None, "", model)
    for suffix, api in _APIS:
        if url.endswith(suffix):
            return First(api, url, model)
    known = ", ".join(suffix for suffix, _ in _APIS)
    raise ConfigError(f"requests for {_shown(url)} cannot be run; a job's are for one of: {known}")


def _encoded(request: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(request)
    except (TypeError, UnicodeEncodeError) as error:
        raise InputError(f"the request cannot be written as JSON: {error}") from None


def _shown(value: Any) -> str:
    return repr(value)[:_SHOWN_MAX]


def _digest(path: bytes, body: bytes) -> str:
    return hashlib.blake2b(path + b"\0" + body, digest_size=16).hexdigest()
