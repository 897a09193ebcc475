"""What a process takes of its machine, by the names that Prometheus has for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

__all__ = ["process_figures"]

_PROC: Final = Path("/proc/self")


def process_figures() -> dict[str, float]:
    """This process's, by family; without what the system does not say; some 50 us, as descriptors are counted."""
    times = os.times()
    found = {"headway_workers": 1.0, "process_cpu_seconds_total": times.user + times.system}
    try:
        import resource

        found["process_max_fds"] = float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        # After the name, which may hold anything, in brackets: fields 3 and up. Source: proc(5).
        fields = (_PROC / "stat").read_text("latin-1").rpartition(")")[2].split()
        found["process_resident_memory_bytes"] = float(int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        found["process_start_time_seconds"] = time.time() - age_s
        found["process_open_fds"] = float(len(os.listdir(_PROC / "fd")))  # noqa: PTH208  # names are enough
    except (ImportError, OSError, ValueError, IndexError, AttributeError):
        pass  # no Linux: it has what it has
    return found
