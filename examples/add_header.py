"""Wrap a handler: a header of your own on every attempt, retries included.

A handler takes a `Call` and returns a `Reply`; whatever wraps one is a handler again. Given to `Engine(handler=...)` it
takes the network's place, under the cache, the retries and the limits.

Run it as it stands with OPENAI_API_KEY set; or against the simulator: start `headway sim` in another terminal, and
set OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim.
"""

import asyncio
import sys

from msgspec.structs import replace

import headway
from headway.upstream import Timeouts, Upstream


class WithHeader:
    """Adds one header to what passes."""

    def __init__(self, next_: headway.Handler, name: str, value: str) -> None:
        self._next = next_
        self._header = (name.lower(), value)

    async def __call__(self, call: headway.Call) -> headway.Reply:
        """Calls are frozen: hand on a changed copy."""
        return await self._next(replace(call, headers=(*call.headers, self._header)))


async def main() -> None:
    """One call with the header."""
    network = Upstream(Timeouts(), connections_max=64, reply_bytes_max=64 * 1024 * 1024)
    try:
        async with headway.Engine(handler=WithHeader(network, "X-Client-Request-Id", "nightly-triage")) as engine:
            reply = await engine.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "Say hello."})
            print(reply.status, (await reply.read()).decode())
    finally:
        await network.aclose()  # who opened it closes it


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except headway.HeadwayError as error:
        sys.exit(f"{error}")
