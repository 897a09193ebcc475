"""Where a run's time went: its critical path, its waterfall, and what many runs say of each step."""

from headway.pipeline.explain.critical import CriticalPath, Link, critical_path, slacks_s
from headway.pipeline.explain.report import RunReport

__all__ = ["CriticalPath", "Link", "RunReport", "critical_path", "slacks_s"]
