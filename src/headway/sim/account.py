"""One attempt at the simulated provider: what is known of it so far, and its one line in the books."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from random import Random
from typing import Final

import msgspec

from headway.sim.ask import Api, Ask
from headway.sim.ledger import Ledger, Row
from headway.sim.text import digest
from headway.types import Headers, Usage

__all__ = ["NOBODY", "Account", "content_of", "credential_of", "header_at", "key_of", "organisation_of", "scope_of"]


_KEY_HEADERS: Final = ("x-api-key", "api-key", "x-goog-api-key")
"""Anthropic's, Azure's and Gemini's."""

NOBODY: Final = "org-sim"
"""The organisation of keys that the settings give none."""


class Account:
    """An attempt under way. `close` books it, once; whoever calls first has said how it ended."""

    def __init__(
        self, *, path: str, api: Api, key: str, arrived_s: float, wall_s: float, ledger: Ledger
    ) -> None:  # fmt: skip
        self.path = path
        self.api = api
        self.key = key
        self.credential = credential_of(key)
        self.scope = self.credential
        self.organisation = NOBODY
        self.arrived_s = arrived_s
        self.wall_s = wall_s
        self.id = ""
        self.model = ""
        self.family = ""
        self.content = ""
        self.number = 0
        self.stream = False
        self.status = 0
        self.generated = 0
        self.hour_tokens = 0
        self.usage = Usage()
        self.headers: Headers = ()
        self.rng = Random(0)
        self.fault = ""
        self.lane = "online"
        self.batch = ""
        self.custom_id = ""
        self._ledger = ledger
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it is booked."""
        return self._closed

    def close(self, outcome: str) -> None:
        """Book it. What was generated until now is billed; a prompt is billed once its processing began."""
        if self._closed:
            return
        self._closed = True
        usage = self.usage
        self._ledger.book(
            Row(
                id=self.id,
                time_wall_s=self.wall_s,
                path=self.path,
                model=self.model,
                credential=self.credential,
                content=self.content,
                attempt=self.number,
                status=self.status,
                outcome=outcome,
                stream=self.stream,
                input_tokens=usage.input_tokens,
                cached_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                cache_hour_tokens=self.hour_tokens if usage.cache_write_tokens else 0,
                output_tokens=min(self.generated, usage.output_tokens),
                reasoning_tokens=min(self.generated, usage.reasoning_tokens),
                aborted=outcome == "aborted",
                lane=self.lane,
                batch=self.batch,
                custom_id=self.custom_id,
            )
        )


def key_of(headers: Headers) -> str:
    """The key a request carries, by any provider's header; "" when it carries none."""
    for name, value in headers:
        if name in _KEY_HEADERS and value:
            return value.strip()
        if name == "authorization":
            scheme, _, key = value.partition(" ")
            return key.strip() if scheme.lower() == "bearer" else ""
    return ""


def credential_of(key: str) -> str:
    """16 hex digits that stand for a key."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if key else ""


def organisation_of(key: str, names: Mapping[str, str]) -> str:
    """The organisation a key belongs to, by the settings' `organisations`; else one of its own."""
    return names.get(key) or (f"{NOBODY}-{credential_of(key)[:8]}" if key else NOBODY)


def scope_of(key: str, names: Mapping[str, str]) -> str:
    """What limits, caches, files and batches of a key belong to: its organisation where it has one, else itself."""
    return f"org:{names[key]}" if key in names else credential_of(key)


def header_at(headers: Headers, name: str) -> str:
    """The first value of a header; "" where it is not there."""
    return next((value for each, value in headers if each == name), "")


def content_of(ask: Ask) -> tuple[bytes, bytes]:
    """Digests of what is asked: of the model and the messages, and of those with every bound and form.

    Whether it is streamed is in neither.
    """
    words = digest(ask.model, *(part for turn in ask.turns for part in (turn.role, turn.text)), *ask.texts)
    form = (ask.schema, ask.json_only, ask.tools, ask.tool_choice, ask.effort, ask.dimensions)
    plain = form == (None, False, (), "auto", "", None)
    extra = b"" if plain else msgspec.json.encode(form, order="deterministic")
    return words, digest(words, ask.api, ask.tokens_max or 0, ask.answers, *ask.stop, extra)
