"""Keys at the gateway's door: who asks, whether he may, and what his request takes along into the engine.

    keys = await Keys.open(path)
    keys.guard(request)                        # before the body: a key, and one that may use the path
    admitted = keys.admit(request, view)       # when the body was read: the model
    reply = await engine.handle(admitted.applied(call))       # or await admitted.counted(call), see there

Both raise `Refused` and take microseconds: keys are in memory. The waiting for the key's limits and dollars is done by
the call itself, where it needs them: what the cache answers costs nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from math import inf
from pathlib import Path

from msgspec.structs import replace

from headway.gateway.keys.books import Books
from headway.gateway.keys.meter import KeyAllowance
from headway.gateway.keys.records import Known, SecretRow
from headway.gateway.keys.text import digest_of, in_headers, split
from headway.gateway.request import Refused, Request
from headway.policy.keys import Denied, Key, allows, bounded_priority, ends_wall_s, may_ask
from headway.store.writer import log_warning
from headway.types import Call, Headers, RequestView, Trace

__all__ = ["Admitted", "Keys"]

_NOBODY = SecretRow(id="", key="", digest=bytes(32), created_wall_s=0.0)
_VERDICTS_MAX = 10_000
_NOTE = "key"
_SHAPE = "copy all of it, hw-<id>-<secret>, 59 characters"


class Admitted:
    """A key that may come in, and what its calls take along. One object for each key."""

    __slots__ = ("allowance", "chain", "ends_wall_s", "generation", "key", "share")

    def __init__(self, chain: tuple[Key, ...], allowance: KeyAllowance, generation: int) -> None:
        self.chain = chain
        self.key = chain[0]
        self.allowance = allowance
        self.generation = generation
        self.ends_wall_s = ends_wall_s(chain)
        self.share = f"group {self.key.share}" if self.key.share else f"key {self.key.id}"
        """Whose kept answers, and answers under way, it may get: they are found by the call's sample, among others."""

    def __repr__(self) -> str:
        return f"Admitted({self.key.name!r})"

    @property
    def name(self) -> str:
        """For logs."""
        return self.key.name

    def may_ask(self, model: str) -> bool:
        """Whether it may ask that model."""
        return may_ask(self.chain, model)

    def applied(self, call: Call) -> Call:
        """The call as this key's: paid by it, with no more than its priority, apart from other keys' answers."""
        call.trace.tenant = self.key.id
        return replace(
            call,
            allowance=self.allowance,
            priority=bounded_priority(self.chain, call.priority),
            sample=f"{len(self.share)} {self.share} {call.sample}",
        )

    async def counted(self, call: Call) -> Call:
        """Count what no try of the engine pays for: a list, a file, what passes through. It may have to wait.

        Raises:
            KeyOverloaded: The key's limits leave no room in time.
        """
        settle = await self.allowance.take(call, 0.0, 0)
        sent = Trace("attempt", call.trace.id, call.trace.started_at_s, call.trace.start_wall_s)
        sent.sent_at_s = call.trace.started_at_s
        settle(sent)
        return self.applied(call)


class Keys:
    """All keys of one process; see the module. For one event loop."""

    def __init__(self, path: Path, *, wall_s: Callable[[], float] | None, warn: Callable[[str], None]) -> None:
        self._path = path
        self._books = Books(path, self._changed, wall_s=wall_s, warn=warn)
        self._wall_s = self._books.wall_s
        self._known = Known(edits=-1, keys={}, secrets={})
        self._admitted: dict[str, Admitted] = {}
        self._allowances: dict[str, KeyAllowance] = {}
        self._verdicts: dict[tuple[str, str, str | None, bool], Denied | None] = {}
        self._generation = 0

    @classmethod
    async def open(
        cls, path: Path, *, wall_s: Callable[[], float] | None = None, warn: Callable[[str], None] = log_warning
    ) -> Keys:
        """Read the file of keys; it is made when it is missing.

        Args:
            path: See `default_path`.
            wall_s: Calendar time; None: the loop's, or the system's.
            warn: Told a sentence when the file cannot be used.

        Raises:
            ConfigError: The file cannot be had.
        """
        keys = cls(path, wall_s=wall_s, warn=warn)
        await keys._books.open()
        return keys

    async def aclose(self) -> None:
        """Write down what was spent. Idempotent; the engine should be closed before."""
        await self._books.aclose()

    def __len__(self) -> int:
        """How many keys can be used now."""
        return self._known.usable(self._wall_s())

    @property
    def any_made(self) -> bool:
        """Whether there is a key, be it one that has ended."""
        return bool(self._known.keys)

    @property
    def known(self) -> Known:
        """All keys, as they are now; to be read only."""
        return self._known

    @property
    def path(self) -> Path:
        """The file of keys."""
        return self._path

    def guard(self, request: Request) -> None:
        """Look at a request's head. Raises `Refused` where its key is none, or may not use the path."""
        admitted = self._of(request)
        path = request.target.partition("?")[0]
        self._judge(admitted, path, None, readable=True)

    def admit(self, request: Request, view: RequestView) -> Admitted:
        """Let a request in whose body was read.

        Args:
            request: The whole of it.
            view: What was read of it; an empty one where no reader knows its path.

        Raises:
            Refused: Its key is none, or may not do that.
        """
        admitted = self._of(request)
        readable = bool(view.format) or request.method in ("GET", "HEAD")
        model = view.model if view.format else None  # what cannot be read is judged by that
        self._judge(admitted, request.target.partition("?")[0], model, readable=readable)
        return admitted

    def admin(self, headers: Headers) -> Key:
        """The admin key that a request came with, whatever its path. Raises `Refused` where it is none."""
        admitted = self._known_by(in_headers(headers))
        self._check_end(admitted)
        if not all(key.admin for key in admitted.chain):
            raise Refused(403, "this is not an admin key; make one with headway keys create NAME --admin", "not_admin")
        return admitted.key

    def admin_text(self, text: str) -> Key:
        """The same of a key that was typed in, or that a cookie holds."""
        if split(text.strip()) is None:
            raise Refused(401, f"that is no key of this gateway; {_SHAPE}", "invalid_key")
        return self.admin((("x-api-key", text),))

    def admitted(self, id_: str) -> Admitted | None:
        """A key whose bearer was recognised in another way than by its text; None where there is no such key."""
        return self._entry(id_)

    def _of(self, request: Request) -> Admitted:
        """Whose request it is. What was found out about equal heads holds as long as no key changes."""
        noted = request.notes.get(_NOTE)
        if not isinstance(noted, Admitted) or noted.generation != self._generation:
            noted = request.notes[_NOTE] = self._known_by(in_headers(request.headers))
        self._check_end(noted)
        return noted

    def _known_by(self, text: str | None) -> Admitted:
        """Whose key it is; found by its public id, and compared in constant time."""
        if text is None:
            raise Refused(401, "different keys came with one request; send one", "invalid_key")
        parts = split(text)
        if parts is None and text:
            raise Refused(401, f"what came is no key of this gateway in full; {_SHAPE}", "invalid_key")
        if parts is None:
            raise Refused(
                401,
                "no key of this gateway came with the request; send one as the API key (Authorization: Bearer hw-...)",
                "invalid_key",
            )
        id_, secret = parts
        row = self._known.secrets.get(id_, _NOBODY)
        same = hmac.compare_digest(row.digest, digest_of(secret))
        admitted = self._entry(row.key)
        if not same or admitted is None:
            raise Refused(401, "this gateway does not know the key", "invalid_key")
        if row.until_wall_s < inf:
            if row.until_wall_s <= self._wall_s():
                raise Refused(401, "this key was replaced by another; use that", "key_rotated")
            ending = Admitted(admitted.chain, admitted.allowance, admitted.generation)
            ending.ends_wall_s = min(row.until_wall_s, ending.ends_wall_s)
            return ending
        return admitted

    def _check_end(self, admitted: Admitted) -> None:
        now_s = self._wall_s()
        if admitted.ends_wall_s <= now_s:
            denied = allows(admitted.chain, "", None, now_wall_s=now_s)
            if denied is None or denied.status != 401:  # the secret's grace is over
                raise Refused(401, "this key was replaced by another; use that", "key_rotated")
            raise Refused(denied.status, denied.reason, denied.code)

    def _judge(self, admitted: Admitted, path: str, model: str | None, *, readable: bool) -> None:
        """Raises `Refused` where the key may not do that; `model` is None where that is not to be judged."""
        asked = admitted.key.id, path, model, readable
        try:
            denied = self._verdicts[asked]
        except KeyError:
            denied = allows(admitted.chain, path, model, now_wall_s=self._wall_s(), readable=readable)
            if len(self._verdicts) >= _VERDICTS_MAX:
                self._verdicts.clear()
            if denied is None or denied.status != 401:
                self._verdicts[asked] = denied
        if denied is not None:
            raise Refused(denied.status, denied.reason, denied.code)

    def _entry(self, id_: str) -> Admitted | None:
        """A key as it stands; made when it is first asked for. None where there is none, or none above it."""
        found = self._admitted.get(id_)
        if found is None and (chain := self._known.chain(id_)):
            meters = tuple(self._books.meter(key) for key in chain)
            allowance = self._allowances.get(id_)
            if allowance is None or allowance.meters != meters:
                allowance = self._allowances[id_] = KeyAllowance(meters)
            found = self._admitted[id_] = Admitted(chain, allowance, self._generation)
        return found

    def _changed(self, known: Known) -> None:
        """Keys were made, revoked or rotated: what was worked out about them is worked out anew."""
        self._generation += 1
        self._known = known
        self._verdicts.clear()
        self._admitted.clear()
        for id_ in [id_ for id_ in self._allowances if id_ not in known.keys]:
            del self._allowances[id_]
