"""Feeding rows to the loop: input that waits blocks nobody."""

import asyncio
import io
import os
import threading

import pytest

from headway.errors import InputError
from headway.jobs.feed import rows_of
from headway.jobs.source import open_source


def test_waiting_input_blocks_nobody():
    """While standard input is silent the loop runs on; rows come as they are written; the end is the end."""

    async def main():
        reader, writer = os.pipe()
        with io.FileIO(reader) as stdin:
            os.write(writer, b"text\nfirst\n")
            rows = rows_of(open_source("-", kind="csv", stdin=stdin))
            assert (await anext(rows)).row == {"text": "first"}
            second = asyncio.ensure_future(anext(rows))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not second.done()
            os.write(writer, b"second\n")
            assert (await second).row == {"text": "second"}
            os.close(writer)
            with pytest.raises(StopAsyncIteration):
                await anext(rows)

    asyncio.run(main())


def test_reading_ahead_is_bounded():
    """However much standard input has, only so much is read ahead; leaving early ends the reader."""

    async def main():
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        taken = 0
        with io.FileIO(reader) as stdin:
            os.write(writer, b"text\n")
            rows = rows_of(open_source("-", kind="csv", stdin=stdin))
            line = b"x" * 4095 + b"\n"
            first = asyncio.ensure_future(anext(rows))
            for _ in range(10_000):
                try:
                    taken += os.write(writer, line)
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                    if first.done() and taken > 100 * 4096:
                        break
            os.close(writer)
            assert taken < 10_000 * 4096
            await first
            await rows.aclose()
            readers = [thread for thread in threading.enumerate() if thread.name == "headway-input"]
            for thread in readers:
                await asyncio.to_thread(thread.join, 5)  # it may still sit in a read of what is closed below
                assert not thread.is_alive()

    asyncio.run(main())


def test_input_that_is_closed_meanwhile_is_an_input_error():
    """Whoever owns standard input may close it under the reader: one sentence, not a ValueError in its thread."""

    async def main():
        stdin = io.BytesIO(b"text\nfirst\n" + b"x" * 200_000 + b"\nlast\n")
        rows = rows_of(open_source("-", kind="text", stdin=stdin))
        stdin.close()
        with pytest.raises(InputError, match="cannot be read after row 2: it was closed while it was read"):
            async for _ in rows:
                pass

    asyncio.run(main())


def test_errors_cross_over():
    """What breaks the input in the reader's thread is raised where the rows are awaited."""

    async def main():
        reader, writer = os.pipe()
        os.write(writer, "text\nx\n".encode("utf-16") + b"\x00")
        os.close(writer)
        with io.FileIO(reader) as stdin, pytest.raises(InputError, match="after row 1"):
            async for _ in rows_of(open_source("-", kind="csv", stdin=stdin)):
                pass

    asyncio.run(main())
