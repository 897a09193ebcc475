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
    from headway.engine.current import current_engine, using
    from headway.engine.memo import cached
    from headway.jobs.job_result import JobResult
    from headway.jobs.library import run, run_async
    from headway.pipeline import Handle, Handles, Pipeline, Run, Step, Stream, current_run, pipeline, step
    from headway.pipeline.ask import ask
    from headway.pipeline.mapreduce import MapPrompt, MapReduced, mapreduce
    from headway.pipeline.speculation import Follows, SpeculationSettings, Speculator, prefetch, speculation
    from headway.policy.degrade import Degrade
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
    "Degrade",
    "Engine",
    "Fitted",
    "Follows",
    "Handle",
    "Handler",
    "Handles",
    "HeadwayError",
    "InputError",
    "JobResult",
    "Json",
    "Labels",
    "MapPrompt",
    "MapReduced",
    "MergedTask",
    "Overloaded",
    "Pipeline",
    "ProviderError",
    "ProviderTimeout",
    "Reply",
    "Result",
    "Run",
    "Sentence",
    "Settings",
    "SpeculationSettings",
    "Speculator",
    "Step",
    "Stream",
    "SyncEngine",
    "Tags",
    "Task",
    "Text",
    "Transport",
    "Usage",
    "ask",
    "async_client",
    "cached",
    "client",
    "current_engine",
    "current_run",
    "fit",
    "mapreduce",
    "pipeline",
    "prefetch",
    "run",
    "run_async",
    "speculation",
    "step",
    "summarise",
    "using",
]

_HOME = {
    "Engine": "headway.engine",
    "SyncEngine": "headway.engine",
    "Settings": "headway.config",
    "ask": "headway.pipeline.ask",
    "cached": "headway.engine.memo",
    **dict.fromkeys(("current_engine", "using"), "headway.engine.current"),
    "Ask": "headway.prompts.outputs",
    "Degrade": "headway.policy.degrade",
    "Labels": "headway.prompts.labels",
    "MergedTask": "headway.prompts.merge",
    "Task": "headway.prompts.task",
    **dict.fromkeys(("Bullets", "Json", "Sentence", "Text"), "headway.prompts.output"),
    **dict.fromkeys(
        ("Budgets", "Calibration", "ContextBudget", "Fitted", "fit", "summarise"), "headway.prompts.context"
    ),
    "JobResult": "headway.jobs.job_result",
    **dict.fromkeys(("run", "run_async"), "headway.jobs.library"),
    **dict.fromkeys(
        ("Follows", "SpeculationSettings", "Speculator", "prefetch", "speculation"), "headway.pipeline.speculation"
    ),
    **dict.fromkeys(
        ("Handle", "Handles", "Pipeline", "Run", "Step", "Stream", "current_run", "pipeline", "step"),
        "headway.pipeline",
    ),
    **dict.fromkeys(("MapPrompt", "MapReduced", "mapreduce"), "headway.pipeline.mapreduce"),
    **dict.fromkeys(("AsyncTransport", "Transport", "async_client", "client"), "headway.transport"),
    **dict.fromkeys(("Call", "Handler", "Reply", "Result", "Tags", "Usage"), "headway.types"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'headway' has no attribute {name!r}")
