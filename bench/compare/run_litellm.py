"""litellm's Router with one deployment, called from `asyncio.gather` and a semaphore.

`rpm` tells it the limit, which it keeps under the routing strategy that counts requests; `num_retries` is its own
default (2) unless told otherwise.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its price list from the package, not from the network

import litellm
from drive import Row, drive


async def routed(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    model = rows[0]["model"]
    params: dict[str, Any] = {"model": f"openai/{model}", "api_base": url, "api_key": "sim"}
    if "rpm" in options:
        params["rpm"] = options["rpm"]
    told = {name: options[name] for name in ("num_retries", "routing_strategy") if name in options}
    router = litellm.Router(model_list=[{"model_name": model, "litellm_params": params}], **told)
    limit, failed = asyncio.Semaphore(options["at_once"]), 0

    async def one(row: Row) -> None:
        nonlocal failed
        async with limit:
            try:
                await router.acompletion(**row)
            except Exception:  # noqa: BLE001 - its refusals of its own are of several families; all are failed rows
                failed += 1

    await asyncio.gather(*[one(row) for row in rows])
    return failed


def main(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    litellm.suppress_debug_info = True
    return asyncio.run(routed(rows, url, options))


if __name__ == "__main__":
    drive(main)
