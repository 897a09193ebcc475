"""Bad input: what one request costs everybody else, and what a flood of them does to a client who means well.

    python bench/gateway/hostile.py [--only stalls,floods] [--seconds 6] [--turns 3]

*Stalls*: each of `tests/gateway/attacks.py` once, against a gateway within this process whose loop is watched: the
longest that one callback had the processor (its thread's CPU time, so that a busy machine does not matter). Nobody else
is served in that time.

*Floods*: each attack at a steady rate from a process of its own against a served gateway with keys, by turns with
nothing, while a client who means well asks 100 times a second. Asked: its p99 within 20 % of without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from load import paced, quantile
from others import headway
from provider import provider
from tests.gateway.attacks import CASES, MARK, Case, asked, status_of

from common import emit, own_state

BODY = (
    b'{"model":"gpt-5.4-mini","stream":true,"user":"chunks=100000,pace=0.02",'
    b'"messages":[{"role":"user","content":"%d"}]}'
)
DRIPS, READERS = 1_000, 50
STALL_MS = 5.0
FLOOD_PER_S, FLOOD_BYTES_PER_S = 200.0, 5e6
"""A flood is so many requests a second, or as many as come to so many bytes."""


def _large(name: str, body: Callable[[], str], path: str = "/v1/chat/completions") -> Case:
    def make(key: str) -> bytes:
        return asked(key, body(), line=f"POST {path} HTTP/1.1")

    return Case(name, make, (200,), heavy=True)


TEXT = '{"model":"gpt-5.4-mini","messages":[{"role":"user","content":"%s"}]}'
LARGE = (
    _large("1 MB of text", lambda: TEXT % ("word " * 200_000)),
    _large("30 MB of text", lambda: TEXT % ("word " * 6_000_000)),
    _large("30 MB of text with escapes", lambda: TEXT % ("wo\\n" * 7_500_000)),
    _large("300 KB in 100,000 messages", lambda: f'{{"model":"m","messages":[{",".join(["{}"] * 100_000)}]}}'),
    _large(
        "an image of 20 MB",
        lambda: (
            '{"model":"gpt-5.4-mini","messages":[{"role":"user","content":[{"type":"image_url","image_url":'
            '{"url":"data:image/png;base64,' + "iVBOR" * 4_000_000 + '"}}]}]}'
        ),
    ),
    _large(
        "embeddings of 300,000 tokens",
        lambda: (
            f'{{"model":"text-embedding-3-small","input":[{",".join(["[" + ",".join(["1234"] * 8_000) + "]"] * 37)}]}}'
        ),
        "/v1/embeddings",
    ),
)
"""Requests that may well be meant."""


# -- stalls ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def watched() -> Iterator[list[float]]:
    """The longest CPU seconds that a callback of this thread's loop took, from when it was last set to 0."""
    longest, run = [0.0], asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        start_s = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], time.thread_time() - start_s)

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield longest
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


def sent(port: int, raw: bytes) -> int:
    """Send it from a thread, and read an answer's status."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(raw)
        with contextlib.suppress(ConnectionError):
            return int((client.recv(65536) + b"HTTP/1.1 0 ").split(b" ", 2)[1])
    return 0


async def stalls(cache: str) -> None:
    """What holds the loop."""
    from tests.gateway.helpers import gateway

    from headway.gateway.keys import KeyStore
    from headway.policy.keys import Key

    with provider() as upstream, tempfile.TemporaryDirectory() as folder, watched() as longest:
        path = Path(folder) / "keys"
        with KeyStore(path) as store:
            key = store.create(Key(id="", name="app"))[1].reveal()
        base, handler = f"http://127.0.0.1:{upstream}/v1", None
        async with gateway(handler, base_url=base, keys=str(path), cache=cache) as url:  # type: ignore[arg-type]
            port, found = int(url.rpartition(":")[2]), []
            for case in (*LARGE, *CASES):
                raw, took = case.make(key), []
                for _ in range(3):
                    longest[0] = 0.0
                    status = await asyncio.to_thread(sent, port, raw)
                    await asyncio.sleep(0.05)
                    took.append(longest[0] * 1e3)
                found.append((min(took), case.name, status, len(raw)))
    more = {"cache": cache}
    for ms, name, status, size in sorted(found, reverse=True):
        if ms > STALL_MS:
            figure, ok = f"one callback: {name}", ms <= STALL_MS
            emit(figure, f"<= {STALL_MS:g} ms", round(ms, 1), reached=ok, status=status, bytes=size, **more)
    longer = sum(ms > STALL_MS for ms, *_ in found)
    emit("requests that hold the loop", f"<= {STALL_MS:g} ms each", longer, reached=not longer, of=len(found), **more)


# -- floods ------------------------------------------------------------------------------------------------------------


async def drip(port: int, key: str, until_s: float, counts: Counter[str]) -> None:
    """A thousand connections whose headers come a byte a second; who is refused begins again."""

    async def one() -> None:
        while time.perf_counter() < until_s:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nx-drip: ")
                counts["connected"] += 1
                while time.perf_counter() < until_s and not reader.at_eof():
                    writer.write(b"y")
                    await asyncio.sleep(1)
                counts["ended"] += reader.at_eof()
                writer.close()

    await asyncio.gather(*[one() for _ in range(DRIPS)])


async def sip(port: int, key: str, until_s: float, counts: Counter[str]) -> None:
    """Fifty who ask for a stream without end, 50 chunks a second, and take a byte a second of it."""
    loop = asyncio.get_running_loop()

    async def one() -> None:
        body = BODY % random.randrange(10**9)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(0)
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            counts["connected"] += 1
            with contextlib.suppress(ConnectionError):
                while time.perf_counter() < until_s:
                    await asyncio.sleep(1)
                    await loop.sock_recv(client, 1)

    await asyncio.gather(*[one() for _ in range(READERS)])


def flood(case: Case) -> Callable[[int, str, float, Counter[str]], Awaitable[None]]:
    """One of the cases over and over."""

    async def run(port: int, key: str, until_s: float, counts: Counter[str]) -> None:
        raw, tasks = case.make(key), set()
        per_s = min(FLOOD_PER_S, FLOOD_BYTES_PER_S / len(raw))

        async def one() -> None:
            with contextlib.suppress(OSError, TimeoutError):
                counts[str((await status_of(port, raw, patience_s=20))[0])] += 1

        while time.perf_counter() < until_s:
            if len(tasks) < 64:
                task = asyncio.ensure_future(one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / per_s)
        await asyncio.gather(*tasks)

    return run


def attacks() -> dict[str, Callable[[int, str, float, Counter[str]], Awaitable[None]]]:
    wanted = {
        "10 MB of headers", "a length and chunks", "a bare LF in the headers", "%2e%2e", "40 MB in chunks",
        "40 MB, announced", "100,000 brackets in a call", "30 MB of brackets", "30 MB of small messages",
        "a number of 1,000,000 digits", "a model of 1 MB", "a wrong key", "fields that name hosts",
    }  # fmt: skip
    return {"1,000 that drip": drip, "50 that sip": sip} | {c.name: flood(c) for c in CASES if c.name in wanted}


def attacker(name: str, port: int, key: str, seconds: float) -> None:
    """The process of an attack. It gets what the others leave of the processors: they are not what it is after."""
    os.nice(19)
    counts: Counter[str] = Counter()
    asyncio.run(attacks()[name](port, key, time.perf_counter() + seconds, counts))
    print(json.dumps(counts))


def floods(seconds: float, turns: int) -> None:
    """The client who means well, with and without."""
    from headway.gateway.keys import KeyStore
    from headway.policy.keys import Key

    with provider(delay_s=0.02) as upstream, tempfile.TemporaryDirectory(prefix="headway-bench-") as cwd:
        path = Path(cwd) / "keys"
        with KeyStore(path) as store:
            key = store.create(Key(id="", name="app"))[1].reveal()
        with headway(upstream, cwd, "headway", "--keys", str(path), key=key) as peer:
            with_key = f"x-api-key: {key}\r\n".encode()
            for name in attacks():
                alone: list[float] = []
                beside: list[float] = []
                ratios, counts = [], Counter[str]()
                for _ in range(turns):
                    quiet: list[float] = []
                    asyncio.run(paced(peer.port, with_key, 100, seconds, quiet))
                    command = [
                        sys.executable,
                        __file__,
                        "--attack",
                        name,
                        "--port",
                        str(peer.port),
                        "--seconds",
                        str(seconds),
                    ]
                    child = subprocess.Popen(
                        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"ATTACK_KEY": key}
                    )
                    time.sleep(0.7)  # until it has begun
                    loud: list[float] = []
                    asyncio.run(paced(peer.port, with_key, 100, max(1.0, seconds - 1), loud))
                    counts.update(json.loads(child.communicate(timeout=120)[0] or "{}"))
                    ratios.append(quantile(loud, 0.99) / quantile(quiet, 0.99))
                    alone += quiet
                    beside += loud
                emit(
                    f"p99 beside: {name}", "<= 1.2x", round(median(ratios), 2), reached=median(ratios) <= 1.2,
                    alone_ms=round(quantile(alone, 0.99) * 1e3, 1), beside_ms=round(quantile(beside, 0.99) * 1e3, 1),
                    alone_p50_ms=round(median(alone) * 1e3, 1), beside_p50_ms=round(median(beside) * 1e3, 1),
                    answers=dict(counts),
                )  # fmt: skip
        said = (Path(cwd) / "headway.log").read_text("utf-8")
        leaked = [secret for secret in (MARK, key.split("-", 2)[2]) if secret in said]
        emit("secrets in what was logged", "none", leaked, reached=not leaked, log_bytes=len(said))


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--only", default="stalls,floods")
    told.add_argument("--seconds", type=float, default=6.0)
    told.add_argument("--turns", type=int, default=3)
    told.add_argument("--attack", help=argparse.SUPPRESS)
    told.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = told.parse_args()
    if args.attack:
        attacker(args.attack, args.port, os.environ["ATTACK_KEY"], args.seconds)
        return
    if "stalls" in args.only:
        for cache in ("off", "memory"):
            asyncio.run(stalls(cache))
    if "floods" in args.only:
        floods(args.seconds, args.turns)


if __name__ == "__main__":
    if "--attack" not in sys.argv:
        own_state()
    main()
