"""One row of a batch, answered as it would be online and booked at half the price."""

from __future__ import annotations

from typing import Final

import msgspec

from headway.sim.account import Account, content_of
from headway.sim.ask import Api, Ask
from headway.sim.bodies import Meta
from headway.sim.content import Author
from headway.sim.counting import PromptCounter
from headway.sim.formats import FORMATS
from headway.sim.ledger import Ledger
from headway.sim.refusals import FAULT_REFUSALS, Refused, invalid
from headway.sim.served import check_context, model_for, vectors_body
from headway.sim.text import Memo, digest
from headway.types import Usage

__all__ = ["Answered", "RowAuthor"]

_BAD: Final = "The row was refused by a simulated fault."


class Answered(msgspec.Struct, frozen=True):
    """What became of a row."""

    status: int
    request: str
    """The request's id."""
    body: msgspec.Raw
    usage: Usage


class RowAuthor:
    """Answers rows and books them.

    Args:
        seed: The simulator's.
        author: Who writes its online answers.
        counter: Counts prompts.
        attempts: How often each content was asked for, online attempts included.
        ledger: The books.
    """

    def __init__(
        self, seed: int, author: Author, counter: PromptCounter, attempts: Memo[bytes, int], ledger: Ledger
    ) -> None:
        self._seed = seed
        self._author = author
        self._counter = counter
        self._attempts = attempts
        self._ledger = ledger

    def tokens(self, api: Api, body: bytes) -> int:
        """How many prompt tokens a row has; 0 for one that cannot be read."""
        try:
            return self._counter.prompt(FORMATS[api].read(body, ""))
        except Refused:
            return 0

    def answer(
        self, api: Api, path: str, body: bytes, *, batch: str, custom_id: str, credential: str, wall_s: float,
        fault: str,
    ) -> Answered:  # fmt: skip
        """Run one row.

        Args:
            api: Its format.
            path: Its endpoint, for the books.
            body: The request.
            batch: The batch's id, for the books.
            custom_id: The row's id, for the books.
            credential: Digest of the key that made the batch.
            wall_s: When it is run, Unix seconds.
            fault: "row_400", "row_429", "row_500" or "".
        """
        account = Account(path=path, api=api, key="", arrived_s=0.0, wall_s=wall_s, ledger=self._ledger)
        account.credential, account.lane, account.batch, account.custom_id = credential, "batch", batch, custom_id
        try:
            ask = FORMATS[api].read(body, "")
            words, content = content_of(ask)
            account.number = self._attempts.put(content, (self._attempts.get(content) or 0) + 1)
            account.id = digest("id", self._seed, content, account.number).hex()
            account.content, account.model = content.hex()[:16], ask.model
            _fail(fault)
            raw = self._write(ask, words, account)
        except Refused as refused:
            account.id = account.id or digest("id", batch, custom_id).hex()
            account.status, raw = FORMATS[api].refusal(refused, account.id)
            account.close(refused.outcome)
        else:
            account.status, account.generated = 200, account.usage.output_tokens
            account.close("ok")
        return Answered(account.status, account.id, msgspec.Raw(raw), account.usage)

    def _write(self, ask: Ask, words: bytes, account: Account) -> bytes:
        """The whole answer; its usage is left in the account. Raises `Refused`."""
        _, profile = model_for(ask)
        tokens = self._counter.prompt(ask)
        check_context(tokens, profile)
        usage, created_wall_s = Usage(input_tokens=tokens), int(account.wall_s)
        if ask.api == "embeddings":
            account.usage = usage
            meta = Meta(id=account.id, model=ask.model, created_wall_s=created_wall_s, usage=usage)
            return msgspec.json.encode(vectors_body(ask, profile, meta, self._seed))
        done = [self._author.write(ask, profile, tokens, words, index) for index in range(ask.answers)]
        account.usage = usage = Usage(
            input_tokens=tokens,
            output_tokens=sum(each.output_tokens for each in done),
            reasoning_tokens=sum(each.reasoning_tokens for each in done),
        )
        meta = Meta(id=account.id[:24], model=ask.model, created_wall_s=created_wall_s, usage=usage, lane="batch")
        return msgspec.json.encode(FORMATS[ask.api].whole(ask, done, meta))


def _fail(fault: str) -> None:
    """Raises `Refused` where a fault befalls the row."""
    if fault == "row_400":
        raise invalid(_BAD)
    if fault:
        kind = fault.removeprefix("row_")
        status, message, name, code = FAULT_REFUSALS[kind]
        raise Refused(status, message, name, code, outcome="throttled" if kind == "429" else kind)
