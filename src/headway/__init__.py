"""Headway: the performance engine for applications that call language models.

The same calls, answered sooner, more of them at once, for less money, and proven by measurement. Start with `Engine`
(or `SyncEngine`), give it a `Task` for many rows, or type ``headway demo``. Importing this is light: a name's module
is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headway.errors import (
    BadReply,
    BudgetExceeded,
    Closed,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    HeadwayError,
    InputError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
)

if TYPE_CHECKING:
    from headway.config import Settings
    from headway.engine import Engine, SyncEngine
    from headway.engine.memo import cached
    from headway.jobs.job_result import JobResult
    from headway.jobs.library import run, run_async
    from headway.prompts.context import Budgets, Calibration, ContextBudget, Fitted, fit, summarise
    from headway.prompts.labels import Labels
    from headway.prompts.merge import MergedTask
    from headway.prompts.output import Bullets, Json, Sentence, Text
    from headway.prompts.outputs import Ask
    from headway.prompts.task import Task
    from headway.transport import AsyncTransport, Transport, async_client, client
    from headway.types import Call, Handler, Reply, Result, Tags, Usage

__version__ = "0.1.0"

__all__ = [
    "Ask",
    "AsyncTransport",
    "BadReply",
    "BudgetExceeded",
    "Budgets",
    "Bullets",
    "Calibration",
    "Call",
    "Closed",
    "ConfigError",
    "ConnectFailed",
    "ConnectionLost",
    "ContextBudget",
    "DeadlineExceeded",
    "Engine",
    "Fitted",
    "Handler",
    "HeadwayError",
    "InputError",
    "JobResult",
    "Json",
    "Labels",
    "MergedTask",
    "Overloaded",
    "ProviderError",
    "ProviderTimeout",
    "Reply",
    "Result",
    "Sentence",
    "Settings",
    "SyncEngine",
    "Tags",
    "Task",
    "Text",
    "Transport",
    "Usage",
    "async_client",
    "cached",
    "client",
    "fit",
    "run",
    "run_async",
    "summarise",
]

_HOME = {
    "Engine": "headway.engine",
    "SyncEngine": "headway.engine",
    "Settings": "headway.config",
    "cached": "headway.engine.memo",
    "Ask": "headway.prompts.outputs",
    "Labels": "headway.prompts.labels",
    "MergedTask": "headway.prompts.merge",
    "Task": "headway.prompts.task",
    **dict.fromkeys(("Bullets", "Json", "Sentence", "Text"), "headway.prompts.output"),
    **dict.fromkeys(
        ("Budgets", "Calibration", "ContextBudget", "Fitted", "fit", "summarise"), "headway.prompts.context"
    ),
    "JobResult": "headway.jobs.job_result",
    **dict.fromkeys(("run", "run_async"), "headway.jobs.library"),
    **dict.fromkeys(("AsyncTransport", "Transport", "async_client", "client"), "headway.transport"),
    **dict.fromkeys(("Call", "Handler", "Reply", "Result", "Tags", "Usage"), "headway.types"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'headway' has no attribute {name!r}")
