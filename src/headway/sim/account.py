"""One attempt at the simulated provider: what is known of it so far, and its one line in the books."""

from __future__ import annotations

from hashlib import blake2b
from random import Random

import msgspec

from headway.sim.ask import Ask
from headway.sim.ledger import Ledger, Row
from headway.sim.text import digest
from headway.types import Headers, Usage

__all__ = ["Account", "bearer", "content_of", "credential_of"]


class Account:
    """An attempt under way. `close` books it, once; whoever calls first has said how it ended."""

    def __init__(self, *, path: str, key: str, arrived_s: float, wall_s: float, ledger: Ledger) -> None:
        self.path = path
        self.key = key
        self.credential = credential_of(key)
        self.arrived_s = arrived_s
        self.wall_s = wall_s
        self.id = ""
        self.model = ""
        self.content = ""
        self.number = 0
        self.stream = False
        self.status = 0
        self.generated = 0
        self.usage = Usage()
        self.headers: Headers = ()
        self.rng = Random(0)
        self.fault = ""
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
                output_tokens=min(self.generated, usage.output_tokens),
                reasoning_tokens=min(self.generated, usage.reasoning_tokens),
                aborted=outcome == "aborted",
            )
        )


def bearer(headers: Headers) -> str:
    """The key a request carries; "" when it carries none."""
    for name, value in headers:
        if name == "authorization":
            scheme, _, key = value.partition(" ")
            return key.strip() if scheme.lower() == "bearer" else ""
    return ""


def credential_of(key: str) -> str:
    """16 hex digits that stand for a key."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if key else ""


def content_of(ask: Ask) -> tuple[bytes, bytes]:
    """Digests of what is asked: of the model and the messages, and of those with every bound and form.

    Whether it is streamed is in neither.
    """
    words = digest(ask.model, *(part for turn in ask.turns for part in (turn.role, turn.text)), *ask.texts)
    form = (ask.schema, ask.json_only, ask.tools, ask.tool_choice, ask.effort, ask.dimensions)
    plain = form == (None, False, (), "auto", "", None)
    extra = b"" if plain else msgspec.json.encode(form, order="deterministic")
    return words, digest(words, ask.api, ask.tokens_max or 0, ask.answers, *ask.stop, extra)
