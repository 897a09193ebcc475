"""`asyncio.gather` and a semaphore under the official SDK, with the SDK's own retries (2 unless told otherwise)."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from drive import Row, drive


async def gathered(rows: list[Row], url: str, at_once: int) -> int:
    limit, failed = asyncio.Semaphore(at_once), 0
    async with openai.AsyncOpenAI(base_url=url, api_key="sim") as client:

        async def one(row: Row) -> None:
            nonlocal failed
            async with limit:
                try:
                    await client.chat.completions.create(**row)
                except openai.APIError:
                    failed += 1

        await asyncio.gather(*[one(row) for row in rows])
    return failed


def main(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    return asyncio.run(gathered(rows, url, options["at_once"]))


if __name__ == "__main__":
    drive(main)
