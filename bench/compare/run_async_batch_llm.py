"""async-batch-llm's `process_prompts` over its own OpenAI-compatible model.

Settings are its defaults but for the concurrency; `rpm` tells it the limit, `burst_s` that it is kept in slices, and
`cooldown_s` how long to pause at a 429 (300 unless told).
"""

from __future__ import annotations

import asyncio
from typing import Any

from async_batch_llm import ProcessorConfig, RateLimitConfig, llm, process_prompts
from drive import Row, drive


async def processed(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    first = rows[0]
    system = first["messages"][0]["content"]
    extra = {name: value for name, value in first.items() if name not in ("model", "messages")}
    strategy = llm(
        f"openai-compatible:{first['model']}",
        base_url=url,
        api_key="sim",
        system_instruction=system,
        generation_config=extra,
    )
    config = ProcessorConfig(
        concurrency=options["at_once"],
        max_requests_per_minute=options.get("rpm"),
        quota_burst_seconds=options.get("burst_s"),
        rate_limit=RateLimitConfig(cooldown_seconds=options["cooldown_s"])
        if "cooldown_s" in options
        else RateLimitConfig(),
    )
    prompts = [(str(number), row["messages"][1]["content"]) for number, row in enumerate(rows)]
    batch = await process_prompts(strategy, prompts, config=config)
    return len(rows) - batch.succeeded


def main(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    return asyncio.run(processed(rows, url, options))


if __name__ == "__main__":
    drive(main)
