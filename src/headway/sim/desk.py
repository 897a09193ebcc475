"""Everything a provider answers that is no model's answer: files, batches, models, health, the books."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from headway.errors import ConnectionLost
from headway.sim.account import credential_of, header_at, key_of, organisation_of, scope_of
from headway.sim.anthropic import message_error
from headway.sim.anthropic_batches import MessageBatches
from headway.sim.batch_jobs import Jobs, Who
from headway.sim.batch_rows import RowAuthor
from headway.sim.batch_settings import FaultDice
from headway.sim.batches import OpenAIBatches
from headway.sim.directory import check_key, look_up
from headway.sim.files import FileStore, no_such
from headway.sim.latency import network_s
from headway.sim.ledger import Ledger
from headway.sim.refusals import FAULT_REFUSALS, HTML, Refused, not_found, too_large
from headway.sim.settings import SimSettings
from headway.sim.text import Memo, dice, digest
from headway.types import Headers, Reply

__all__ = ["MARK", "Desk", "upload_bytes_max"]

MARK: Final = ("x-headway-simulator", "1")
"""On every answer: this is a simulator, not a model."""

_JSON: Final = ("content-type", "application/json")
_FILES, _BATCHES, _MESSAGES = "/v1/files", "/v1/batches", "/v1/messages/batches"
_PATHS_MAX: Final = 100_000
_CALL_FAULTS: Final = ("call_429", "call_500", "call_503")


class Desk:
    """One simulator's.

    Args:
        settings: What to play.
        ledger: The books.
        author: Answers the rows of batches.
        wall: Calendar time.
    """

    def __init__(self, settings: SimSettings, ledger: Ledger, author: RowAuthor, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._dice = FaultDice(settings.batches.faults)
        self._files = FileStore(settings.batches.files_bytes_max, wall)
        self.jobs = Jobs(settings.batches, settings.seed, author, self._dice, wall)
        """Every batch; `await desk.jobs.settle()` before reading the ledger of an in-process simulator."""
        self._batches = OpenAIBatches(self.jobs, self._files)
        self._messages = MessageBatches(self.jobs)
        self._asked: Memo[str, int] = Memo(_PATHS_MAX)

    async def answer(self, method: str, path: str, query: str, headers: Headers, body: bytes) -> Reply:
        """Answer a request that is none to a model.

        Raises:
            ConnectionLost: The answer to an upload or to a new batch was lost, by a fault.
        """
        area = path.removeprefix("/openai")
        if not area.startswith((_FILES, _BATCHES, _MESSAGES)):
            return await self._look_up(method, path, key_of(headers))
        key = key_of(headers)
        names = self._settings.organisations
        who = Who(credential_of(key), scope_of(key, names), organisation_of(key, names))
        asked = f"{method} {area}"
        number = self._asked.put(asked, (self._asked.get(asked) or 0) + 1)
        rng = dice(self._settings.seed, "desk", asked, number)
        request = digest("desk", self._settings.seed, asked, number).hex()
        trip_s = network_s(self._settings.region, self._settings.latency_scale, rng) / 2
        await _sleep(trip_s)
        anthropic = area.startswith(_MESSAGES)
        kind = _JSON
        try:
            if len(body) > upload_bytes_max(self._settings, method, path):
                raise too_large()
            check_key(key, self._settings.api_keys)
            self._upset(rng)
            if anthropic:
                raw, kind = await self._message(who, method, area, query, headers, body)
            elif area.startswith(_FILES):
                raw, kind = self._file(who, method, area, query, headers, body, rng)
            else:
                raw = await self._batch(who, method, area, query, body)
            status = 200
            if method == "POST" and area in (_FILES, _BATCHES, _MESSAGES):
                self._lose("upload_lost" if area == _FILES else "create_lost", rng)
        except Refused as refused:
            status, raw, kind = refused.status, refused.body(), _JSON
            if refused.outcome == "html":
                raw, kind = HTML, ("content-type", "text/html")
            elif anthropic:
                status, raw = message_error(refused, request)
        await _sleep(trip_s)
        told = (("request-id", f"req_{request}"), ("anthropic-organization-id", who.organisation))
        if not anthropic:
            told = (("x-request-id", f"req_{request}"), ("openai-organization", who.organisation))
        return Reply(status, (kind, *told, MARK), raw)

    async def _look_up(self, method: str, path: str, key: str) -> Reply:
        if path == "/sim/ledger":
            await self.jobs.settle()
        try:
            return Reply(200, (_JSON, MARK), look_up(method, path, key, self._settings.api_keys, self._ledger))
        except Refused as refused:
            return Reply(refused.status, (_JSON, MARK), refused.body())

    def _upset(self, rng: Random) -> None:
        """Raises `Refused` where a fault befalls the call."""
        if fault := self._dice.throw(_CALL_FAULTS, rng):
            status, message, kind, code = FAULT_REFUSALS[fault.removeprefix("call_")]
            raise Refused(status, message, kind, code)

    def _lose(self, kind: str, rng: Random) -> None:
        """Raises `ConnectionLost` where what was done is not told."""
        if self._dice.throw((kind,), rng):
            raise ConnectionLost(f"the simulated connection was dropped ({kind})", maybe_billed=True)

    def _file(
        self, who: Who, method: str, path: str, query: str, headers: Headers, body: bytes, rng: Random
    ) -> tuple[bytes, tuple[str, str]]:
        file_id, _, rest = path.removeprefix(_FILES).removeprefix("/").partition("/")
        files = self._files
        found: Any
        if method == "POST" and path == _FILES:
            found = files.upload(who, header_at(headers, "content-type"), body).view()
        elif method == "GET" and path == _FILES:
            found = files.listed(who, _query(query))
        elif method == "DELETE" and file_id and not rest:
            found = files.delete(who, file_id)
        elif method == "GET" and file_id and rest in ("", "content"):
            held = files.get(who, file_id)
            if held is None:
                raise no_such("File", file_id)
            if rest:
                if self._dice.throw(("content_502",), rng):
                    raise Refused(502, "Bad gateway", "server_error", None, outcome="html")
                return held.content, ("content-type", "application/octet-stream")
            found = held.view()
        else:
            raise not_found(method, path)
        return msgspec.json.encode(found), _JSON

    async def _batch(self, who: Who, method: str, path: str, query: str, body: bytes) -> bytes:
        job_id, _, rest = path.removeprefix(_BATCHES).removeprefix("/").partition("/")
        if method == "POST" and path == _BATCHES:
            found = await self._batches.create(who, body)
        elif method == "GET" and path == _BATCHES:
            found = await self._batches.listed(who, _query(query))
        elif method == "GET" and job_id and not rest:
            found = await self._batches.get(who, job_id)
        elif method == "POST" and job_id and rest == "cancel":
            found = await self._batches.cancel(who, job_id)
        else:
            raise not_found(method, path)
        return msgspec.json.encode(found)

    async def _message(
        self, who: Who, method: str, path: str, query: str, headers: Headers, body: bytes
    ) -> tuple[bytes, tuple[str, str]]:
        job_id, _, rest = path.removeprefix(_MESSAGES).removeprefix("/").partition("/")
        host = header_at(headers, "host")
        base = f"http://{host}{_MESSAGES}" if host else f"https://api.anthropic.com{_MESSAGES}"
        if method == "POST" and path == _MESSAGES:
            found = await self._messages.create(who, body, base)
        elif method == "GET" and path == _MESSAGES:
            found = await self._messages.listed(who, _query(query), base)
        elif method == "GET" and job_id and not rest:
            found = await self._messages.get(who, job_id, base)
        elif method == "POST" and job_id and rest == "cancel":
            found = await self._messages.cancel(who, job_id, base)
        elif method == "DELETE" and job_id and not rest:
            found = await self._messages.delete(who, job_id)
        elif method == "GET" and job_id and rest == "results":
            return await self._messages.results(who, job_id), ("content-type", "application/x-jsonl")
        else:
            raise not_found(method, path)
        return msgspec.json.encode(found), _JSON


def upload_bytes_max(settings: SimSettings, method: str, path: str) -> int:
    """How large a request's body may be: files and Message Batches have limits of their own."""
    area = path.removeprefix("/openai")
    if method == "POST" and area in (_FILES, _MESSAGES):
        own = settings.batches
        return own.upload_bytes_max if area == _FILES else own.message_bytes_max
    return settings.body_bytes_max


def _query(query: str) -> dict[str, str]:
    return dict(parse_qsl(query))


async def _sleep(delay_s: float) -> None:
    if delay_s > 0:
        await asyncio.sleep(delay_s)
