"""Pipelines: steps that start when what they need is there, stream into each other, and explain where the time went.

::

    @headway.step
    async def outline(topic: str) -> str: ...

    @headway.step
    async def write(outline: str) -> AsyncIterator[str]: ...

    @headway.pipeline
    async def article(topic: str):
        return write(outline(topic))

    async with article.run("tides") as run:
        async for chunk in run.stream(): ...
    print(run.report())

The package is called like the decorator in it, so it can be called as well: ``@headway.pipeline`` is ``pipeline``.
"""

from __future__ import annotations

import sys
from types import ModuleType

from headway.pipeline.current import current_run
from headway.pipeline.handle import Handle, Handles
from headway.pipeline.program import Pipeline, pipeline
from headway.pipeline.run import Run
from headway.pipeline.step import Step, step
from headway.pipeline.stream import Stream

__all__ = ["Handle", "Handles", "Pipeline", "Run", "Step", "Stream", "current_run", "pipeline", "step"]


class _Callable(ModuleType):
    __call__ = staticmethod(pipeline)


sys.modules[__name__].__class__ = _Callable
