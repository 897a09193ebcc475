"""What `import headway` costs over `import httpx2`, each in a fresh interpreter, taken alternately."""

from __future__ import annotations

import statistics
import subprocess
import sys

from common import emit

CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def import_ms(module: str) -> float:
    done = subprocess.run([sys.executable, "-c", CODE.format(module)], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1e3


def main() -> None:
    runs = [(import_ms("httpx2"), import_ms("headway")) for _ in range(11)]
    httpx2, headway = (statistics.median(column) for column in zip(*runs, strict=True))
    measured = f"{headway - httpx2:+.0f} ms (headway {headway:.0f}, httpx2 {httpx2:.0f})"
    emit("import headway over import httpx2", "<= +60 ms", measured, reached=headway - httpx2 <= 60)


if __name__ == "__main__":
    main()
