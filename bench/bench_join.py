"""100 identical requests at once, against the simulator on loopback: what its ledger says was attempted."""

from __future__ import annotations

import asyncio

from common import emit, ledger, own_state
from headway import Engine
from headway.sim import SimSettings
from headway.sim.server import serving

BODY = {"model": "gpt-5.4-mini", "input": "Summarise: the river rose in the night and the bridge was closed."}


async def burst(url: str, *, cache: str, stream: bool) -> int:
    """Distinct bodies that came back from 100 identical requests."""
    async with Engine(base_url=url, api_key="sim", cache=cache, log="off") as engine:
        replies = await asyncio.gather(*[engine.send("/v1/responses", BODY | {"stream": stream}) for _ in range(100)])
        return len(set(await asyncio.gather(*[reply.read() for reply in replies])))


def main() -> None:
    own_state()
    for stream in (False, True):
        for cache, expected in (("memory", 1), ("off", 100)):
            with serving(SimSettings(seed=1)) as url:
                distinct = asyncio.run(burst(url, cache=cache, stream=stream))
                attempts = ledger(url)["totals"]["attempts"]
            kind = "streams" if stream else "whole answers"
            reuse = "on" if cache != "off" else "off"
            emit(
                f"100 identical concurrent requests ({kind}), reuse {reuse}",
                f"exactly {expected} attempt(s) in the ledger",
                attempts,
                reached=attempts == expected,
                distinct_bodies=distinct,
            )


if __name__ == "__main__":
    main()
