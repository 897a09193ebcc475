"""The gateway's side of the process that works out documents: started when somebody asks, ended some time after.

The event loop here only passes on bytes. A process that dies is started anew with the next question; one that does not
answer in time is ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Final

import msgspec

from headway.insight.desk import Ask

__all__ = ["Clerk", "ClerkFailed"]

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
ANSWER_S: Final = 20.0
IDLE_S: Final = 60.0
WAITING_MAX: Final = 256
"""Questions at once."""
_ENVIRONMENT: Final = frozenset(
    "PATH LD_LIBRARY_PATH PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONWARNINGS "
    "VIRTUAL_ENV HOME LANG LANGUAGE TZ TMPDIR TMP TEMP SYSTEMROOT".split()
)
"""What the process needs of the environment, by whole names, and locales; secrets are none of its business."""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("LC_")}


class ClerkFailed(Exception):
    """There is no answer: the process ended, did not answer in time, or has too much to do."""


class Clerk:
    """See the module. For one event loop.

    Args:
        path: The call log; "" where none is written.
        idle_s: How long after the last question the process ends.
        answer_s: How long a question may take.
    """

    def __init__(self, path: str | os.PathLike[str], *, idle_s: float = IDLE_S, answer_s: float = ANSWER_S) -> None:
        self.path = os.fspath(path)
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._number = 0
        self._asked_at_s = 0.0
        self._process: Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._starting: asyncio.Future[None] | None = None
        self._encode = msgspec.json.Encoder().encode
        self.starts = 0
        """How often a process was started: another one knows nothing of what the one before was told."""

    @property
    def pid(self) -> int:
        """The process's; 0 where there is none."""
        return self._process.pid if self._process is not None else 0

    async def ask(self, ask: Ask) -> tuple[int, bytes]:
        """A status and a JSON document.

        Raises:
            ClerkFailed: There is none.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise ClerkFailed("the dashboard has more to do than it can; close some of its pages")
        loop = asyncio.get_running_loop()
        self._asked_at_s = loop.time()
        process = await self._running()
        self._number += 1
        number = self._number
        answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._waiting[number] = answer
        try:
            assert process.stdin is not None
            process.stdin.write(b"%d %s\n" % (number, self._encode(ask)))
            async with asyncio.timeout(self._answer_s):
                await process.stdin.drain()
                return await answer
        except TimeoutError:
            if process is self._process and process.returncode is None:
                process.kill()
            raise ClerkFailed("the dashboard's figures did not come in time; try again") from None
        except (ConnectionError, RuntimeError):
            raise ClerkFailed("the dashboard's process ended; try again") from None
        finally:
            self._waiting.pop(number, None)
            if answer.done() and not answer.cancelled():
                answer.exception()

    async def aclose(self) -> None:
        """End the process. Idempotent."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _running(self) -> Process:
        """The process; started if need be, once for all who wait for it."""
        while self._process is None or self._keeping is None or self._keeping.done():
            if self._starting is None:
                started = self._starting = asyncio.get_running_loop().create_future()
                self._keeping = asyncio.ensure_future(self._keep(started))
            try:
                async with asyncio.timeout(self._answer_s):
                    await asyncio.shield(self._starting)
            except TimeoutError:
                raise ClerkFailed("the dashboard's process does not start; try again") from None
        return self._process

    async def _keep(self, started: asyncio.Future[None]) -> None:
        """One process, from its start to its end."""
        try:
            process = await asyncio.create_subprocess_exec(
                # -P: no module of the working directory is run
                sys.executable, "-P", "-m", "headway.insight", self.path,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=ANSWER_BYTES_MAX,
                start_new_session=True,  # Ctrl-C is the gateway's to hand on
                env=_environment(),
            )  # fmt: skip
        except OSError as error:
            self._starting = None
            started.set_exception(ClerkFailed(f"the dashboard's process cannot be started ({error.strerror})"))
            return
        self._process, self._starting = process, None
        self.starts += 1
        started.set_result(None)
        reading = asyncio.ensure_future(self._read(process))
        loop = asyncio.get_running_loop()
        try:
            while not reading.done():
                left_s = self._asked_at_s + self._idle_s - loop.time()
                if left_s <= 0.0 and not self._waiting:
                    return
                await asyncio.wait((reading,), timeout=max(0.01, left_s))
        finally:
            self._process = None
            await self._end(process, reading)

    async def _end(self, process: Process, reading: asyncio.Task[None]) -> None:
        reading.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ClerkFailed("the dashboard's process ended; try again"))
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(reading, process.wait(), return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()
            with suppress(ConnectionError):
                await process.stdin.wait_closed()
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            number, status, document = line.rstrip(b"\n").split(b" ", 2)
            answer = self._waiting.get(int(number))
            if answer is not None and not answer.done():
                answer.set_result((int(status), document))
