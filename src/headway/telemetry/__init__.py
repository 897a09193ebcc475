"""Metrics, traces and what the logs say, made of the record of calls that every engine keeps.

::

    from prometheus_client import REGISTRY

    meters = headway.telemetry.Meters()
    engine.observe(meters)
    REGISTRY.register(meters.collector())

The gateway has it built in, at ``/metrics``. Importing this is light: a name's module is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headway.telemetry.meters import Meters
    from headway.telemetry.tracing import Tracing

__all__ = ["Meters", "Tracing"]

_HOME = {"Meters": "headway.telemetry.meters", "Tracing": "headway.telemetry.tracing"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'headway.telemetry' has no attribute {name!r}")
