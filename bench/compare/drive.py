"""What the drivers of a comparison share: rows in, figures out. A driver is `main(rows, url, options) -> failed rows`.

    python run_openai.py ROWS.jsonl http://127.0.0.1:8181/v1 OUT.json '{"at_once": 50}'

A row is the body of a Chat Completions request. The clock runs from the first row to the last answer: neither the
interpreter's start nor imports count.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def drive(main: Callable[[list[Row], str, dict[str, Any]], int]) -> None:
    """Read, run, write `{ok, failed, seconds}`."""
    rows_path, url, out_path, options = sys.argv[1:5]
    rows = [json.loads(line) for line in Path(rows_path).read_text("utf-8").splitlines()]
    start_s = time.perf_counter()
    failed = main(rows, url, json.loads(options))
    seconds = time.perf_counter() - start_s
    Path(out_path).write_text(json.dumps({"ok": len(rows) - failed, "failed": failed, "seconds": seconds}), "utf-8")
