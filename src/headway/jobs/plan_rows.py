"""A plan's one pass over the input: what each row would be, in memory that does not grow with what the rows hold."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headway.errors import InputError
from headway.jobs.feed import rows_of
from headway.jobs.index import Index
from headway.jobs.parcel_events import open_parts
from headway.jobs.source import Source
from headway.policy.quantile import QuantileSketch
from headway.policy.volatile import Volatile, common_length, volatile_between
from headway.prompts.task import Task
from headway.types import Reply
from headway.wire import reader_for
from headway.wire.prices import Rates
from headway.wire.prompt_text import prompt_text
from headway.wire.tokens import count_tokens, estimate_tokens

__all__ = ["CacheLike", "Group", "RowsRead", "finished_keys", "read_rows"]

_LOOKED_UP_ALL = 20_000
_LOOKED_UP_ONE_IN = 16
"""The first 20,000 distinct requests are looked up in the cache, of the others every sixteenth: a look-up costs as
much as all the rest."""
_PAIRS = 32
"""The first so many requests are compared for what changes in their beginning."""
_SEEN_MIN = 3
_NAMED = 10
_COUNTED_MAX = 500
"""So many requests are counted with a tokenizer, where there is one; the others are estimated in their likeness."""
_EVENT, _HEADER = b'{"event":', b'{"headway_journal":'


class CacheLike(Protocol):
    """What is asked of an engine; `headway.engine.Engine` is one."""

    async def cached(self, path: str, body: bytes, *, key_body: bytes | None = None) -> Reply | None:
        """See `Engine.cached`."""
        ...


class _Finished(msgspec.Struct, frozen=True):
    key: str
    ok: bool


class _Event(msgspec.Struct, frozen=True):
    event: msgspec.Raw


_OWED, _FINISHED, _BATCHED = 0, 1, 2


class Group(msgspec.Struct):
    """Requests that have one price a token."""

    requests: int = 0
    tokens: int = 0


class RowsRead:
    """What the pass found. Tokens are the engine's estimate (a quarter of the characters), not yet calibrated."""

    def __init__(self, task: Task, rates: Rates | None) -> None:
        self.rows = self.unreadable = self.finished = self.batched = self.repeated = 0
        self.looked_up = self.found = self.behind = self.behind_looked_up = self.behind_found = 0
        """Distinct requests: looked up and found among the first; those behind, and likewise among them."""
        self.sketch = QuantileSketch()
        """Estimated input tokens of what is owed and not found in the cache."""
        self.body_bytes = 0
        self.groups: dict[int, Group] = {}
        """The same by price: tier's threshold -> requests."""
        self.too_long: list[int] = []
        """The first rows (from 1) that the model's window cannot hold, and how many there are."""
        self.too_long_count = 0
        self.models: set[str] = set()
        """The models that requests name, the first ten of them: one, unless rows are whole requests."""
        self.unbounded = 0
        """Requests that set no bound to their answer."""
        self.prefix = b""
        """What all requests begin with."""
        self.cut_rows = self.cut_tokens = 0
        """Rows whose columns the task's [context] cuts, and the tokens that it leaves out."""
        self.volatile: Volatile | None = None
        """Something that changes in it, seen to change at least three times."""
        self.counted_share: float | None = None
        """Tokens that a tokenizer counts for each that is estimated; None where there is none."""
        self._counted = self._estimated = 0
        self._tokenizer = find_spec("bpe_openai") is not None
        self._task = task
        self._rates = rates
        self._reader = reader_for(task.path)
        self._before = ""
        self._seen_volatile: dict[str, int] = {}

    @property
    def requests(self) -> int:
        """Distinct requests that are owed and not in the cache, as far as was looked."""
        return self.sketch.count

    @property
    def tokens(self) -> int:
        """Their estimated input tokens."""
        return sum(group.tokens for group in self.groups.values())

    def add(self, row: int, body: bytes) -> None:
        """Count a request that would be sent."""
        view = self._reader.read_request(body, ()) if self._reader is not None else None
        tokens = view.input_tokens if view is not None else len(body) // 4
        if view is not None and len(self.models) < _NAMED:
            self.models.add(view.model)
        self.unbounded += view is None or view.output_tokens_max is None
        self.sketch.add(tokens)
        self.body_bytes += len(body)
        if self._tokenizer and self.sketch.count <= _COUNTED_MAX:
            self._count(body)
        rates = self._rates
        tier = 0
        if rates is not None:
            if rates.tiers:
                tier = next((one.above_tokens for one in rates.tiers if tokens > one.above_tokens), 0)
            window = rates.context_window
            if window is not None and tokens + (self._task.max_output_tokens or 0) > window:
                self.too_long_count += 1
                if len(self.too_long) < _NAMED:
                    self.too_long.append(row + 1)
        group = self.groups.get(tier)
        if group is None:
            group = self.groups[tier] = Group()
        group.requests += 1
        group.tokens += tokens
        if self.sketch.count == 1:
            self.prefix = body
        elif not body.startswith(self.prefix):
            self.prefix = self.prefix[: common_length(self.prefix, body)]
        if self.sketch.count <= _PAIRS:
            self._compare(body)

    def _count(self, body: bytes) -> None:
        text = prompt_text(body)
        self._counted += count_tokens(text, self._task.model)
        self._estimated += estimate_tokens(len(text))
        self.counted_share = self._counted / self._estimated if self._estimated else None

    def _compare(self, body: bytes) -> None:
        """Look whether the beginning holds something that changes from this request's predecessor to it."""
        text = prompt_text(body)
        found = volatile_between(self._before, text) if self._before else None
        self._before = text
        if found is not None:
            seen = self._seen_volatile[found.what] = self._seen_volatile.get(found.what, 0) + 1
            self.volatile = found if seen >= _SEEN_MIN else self.volatile


def finished_keys(journal: Path, *, retry_failed: bool) -> Index:
    """The keys that earlier runs finished, or handed in with batches that are still out; for `read_rows`.

    The journal is read without a lock and without a change.

    Raises:
        InputError: It cannot be read.
    """
    finished, events = Index(), []
    decode, decode_event = msgspec.json.Decoder(_Finished).decode, msgspec.json.Decoder(_Event).decode
    try:
        with journal.open("rb") as lines:
            for line in lines:
                if line.startswith(_HEADER) or not line.endswith(b"\n"):
                    continue
                try:
                    if line.startswith(_EVENT):
                        events.append(bytes(decode_event(line).event))
                        continue
                    one = decode(line)
                except msgspec.DecodeError:
                    continue  # the run itself will say which line is damaged
                finished.put(one.key, _FINISHED if one.ok or not retry_failed else _OWED)
    except OSError as error:
        raise InputError(f"{journal} cannot be read: {error.strerror}") from None
    for part in open_parts(events)[0]:
        for i in range(len(part.keys)):
            if finished.get(part.keys[i]) < 0:
                finished.put(part.keys[i], _BATCHED)
    return finished


async def read_rows(
    source: Source,
    task: Task,
    *,
    rates: Rates | None,
    finished: Index | None,
    cache: CacheLike | None,
    on_row: Any = None,
) -> RowsRead:
    """Read the input once. Memory: about 20 bytes a distinct row.

    Args:
        source: The opened input; it is left open.
        task: Makes the requests.
        rates: For the model's window and price tiers.
        finished: From `finished_keys`; None when there is no journal.
        cache: Asked what is at hand; None: the cache is off, and equal rows are sent each by itself.
        on_row: Called with the number of rows read, after each.

    Raises:
        InputError: The input breaks midway.
    """
    read, equals, distinct = RowsRead(task, rates), Index(), Index()
    reuse = cache is not None
    async with aclosing(rows_of(source)) as rows:
        async for row in rows:
            read.rows += 1
            if on_row is not None:
                on_row(read.rows)
            asked = None if row.problem else _asked(task, row.row)
            if asked is None:
                read.unreadable += 1
                continue
            key, body, key_body = asked
            if left_out := task.left_out_tokens(row.row):
                read.cut_rows += 1
                read.cut_tokens += left_out
            nth = equals.count(key) if finished is not None else 0
            if finished is not None and (known := finished.get(f"{key}#{nth}")) > _OWED:
                read.finished += known == _FINISHED
                read.batched += known == _BATCHED
                continue
            if reuse and distinct.count(key if key_body is None else key_body.decode()):
                read.repeated += 1
                continue
            if cache is not None and await _at_hand(cache, read, task.path, body, key_body):
                continue
            read.add(row.index, body)
    return read


def _asked(task: Task, row: Mapping[str, Any]) -> tuple[str, bytes, bytes | None] | None:
    """Key, body, and the body that the cache key is made of; None for a row that cannot be asked about."""
    try:
        return task.row_key(row), task.body(row), task.key_body(row)
    except InputError:
        return None


async def _at_hand(cache: CacheLike, read: RowsRead, path: str, body: bytes, key_body: bytes | None) -> bool:
    if read.looked_up < _LOOKED_UP_ALL:
        read.looked_up += 1
        found = await cache.cached(path, body, key_body=key_body) is not None
        read.found += found
        return found
    read.behind += 1
    if read.behind % _LOOKED_UP_ONE_IN == 0:
        read.behind_looked_up += 1
        read.behind_found += await cache.cached(path, body, key_body=key_body) is not None
    return False
