"""Print an answer while it is being written, then how long it took to the first word and to the last.

Run it as it stands with OPENAI_API_KEY set; or against the simulator: start `headway sim` in another terminal, and
set OPENAI_BASE_URL=http://127.0.0.1:8181/v1 OPENAI_API_KEY=sim.

    python examples/stream.py "Write 60 words about rain."
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import headway


async def words(reply: headway.Reply) -> AsyncIterator[str]:
    """The text of a Responses stream. Events end with an empty line; chunks end anywhere."""
    rest = b""
    async for chunk in reply:
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            data = json.loads(event.partition(b"data: ")[2] or "{}")
            if data.get("type") == "response.output_text.delta":
                yield data["delta"]


async def main(prompt: str) -> int:
    """Ask, and print each piece as it comes; the exit code."""
    started_s, first_s = time.perf_counter(), None
    async with headway.Engine() as engine:
        request = {"model": "gpt-5.4-mini", "input": prompt, "stream": True}
        async with await engine.send("/v1/responses", request) as reply:  # leaving the block ends the stream
            if reply.status != 200:
                print(f"{reply.status}: {(await reply.read()).decode()}", file=sys.stderr)
                return 1
            async for word in words(reply):
                first_s = first_s or time.perf_counter() - started_s
                print(word, end="", flush=True)
    print(f"\n\nfirst word after {first_s or 0:.2f} s, all of it after {time.perf_counter() - started_s:.2f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(" ".join(sys.argv[1:]) or "Write 60 words about rain.")))
    except headway.HeadwayError as error:
        sys.exit(f"{error}")
