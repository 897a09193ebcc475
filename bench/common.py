"""What the benches share: one JSON line a figure, the real input, and clean surroundings.

A figure is what was asked, what was measured and whether it was reached; ratios are taken side by side in one run, for
a lone absolute time says more about the machine than about the code.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


def emit(figure: str, asked: str, measured: Any, *, reached: bool | None, **more: Any) -> None:
    """Print one figure as a JSON line."""
    line = {"figure": figure, "asked": asked, "measured": measured, "reached": reached, **more}
    print(json.dumps(line), flush=True)


def shared(name: str) -> Path:
    """A real input; the bench ends with a message where it is not there."""
    path = SHARED / name
    if not path.exists():
        print(json.dumps({"skipped": f"{name} is not in ../shared/data beside this checkout"}))
        sys.exit(0)
    return path


def banking77() -> list[dict[str, str]]:
    """3,080 real customer questions with their intent (CC BY 4.0, PolyAI)."""
    with shared("banking77_test.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def own_state() -> str:
    """A fresh directory for caches and logs; the user's own are left alone."""
    home = tempfile.mkdtemp(prefix="headway-bench-")
    os.environ["HEADWAY_HOME"] = home
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        os.environ.pop(name, None)
    return home


def ledger(base_url: str) -> dict[str, Any]:
    """The simulator's own account of every attempt."""
    url = base_url.removesuffix("/v1") + "/sim/ledger"
    with urllib.request.urlopen(url) as answer:
        return json.loads(answer.read())


def spread(values: list[float]) -> dict[str, float]:
    """Median and range of repeated runs."""
    ordered = sorted(values)
    return {
        "median": round(ordered[len(ordered) // 2], 2),
        "min": round(ordered[0], 2),
        "max": round(ordered[-1], 2),
        "runs": len(ordered),
    }
