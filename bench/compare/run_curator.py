"""Bespoke Curator's `LLM` over its OpenAI backend, online.

It asks the provider once for its limits; `rpm` and `tpm` tell it. Rows that fail for good are left out instead of
ending the run (`require_all_responses`). Its progress display and telemetry are off.
"""

from __future__ import annotations

import logging
import os
import tempfile
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its price list from the package, not from the network
os.environ["TELEMETRY_ENABLED"] = "false"
os.environ["CURATOR_DISABLE_RICH_DISPLAY"] = "1"
os.environ["CURATOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="headway-compare-")
os.environ["HOME"] = os.environ["CURATOR_CACHE_DIR"]  # it writes an id of its own there
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OPENAI_API_KEY"] = "sim"

import litellm.litellm_core_utils.default_encoding  # noqa: F401 - brings the encoding as a file, which else is downloaded
from bespokelabs import curator
from drive import Row, drive


class Labeller(curator.LLM):
    """One answer a row."""

    def prompt(self, row: Row) -> list[dict[str, str]]:
        return row["messages"]

    def parse(self, row: Row, response: str) -> dict[str, str]:
        return {"answer": response}


def main(rows: list[Row], url: str, options: dict[str, Any]) -> int:
    logging.disable(logging.WARNING)
    extra = {name: value for name, value in rows[0].items() if name not in ("model", "messages")}
    told = {"max_requests_per_minute": options.get("rpm"), "max_tokens_per_minute": options.get("tpm")}
    params = {"base_url": url, "require_all_responses": False} | {name: n for name, n in told.items() if n}
    labeller = Labeller(
        model_name=rows[0]["model"],
        backend="openai",
        generation_params=extra,
        backend_params=params,
    )
    found = labeller([{"messages": row["messages"]} for row in rows])
    return len(rows) - len(found.dataset)


if __name__ == "__main__":
    drive(main)
