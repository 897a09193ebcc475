"""What the package offers, pinned; and how light it is to import."""

from __future__ import annotations

import subprocess
import sys

import headway

PUBLIC = [
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


def test_the_public_names_are_these():
    """Sorted, all importable, all documented."""
    assert headway.__all__ == PUBLIC == sorted(PUBLIC)
    for name in PUBLIC:
        value = getattr(headway, name)
        assert value.__doc__ or name == "Handler"


def test_importing_is_light():
    """Nothing optional, and no network client, is imported before it is used."""
    code = "import sys, headway; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "httpx2",
        "genai_prices",
        "rich",
        "structlog",
        "typer",
        "uvicorn",
        "zstandard",
        "jsonschema_rs",
        "sqlite3",
        "pyarrow",
    }
    assert not heavy & set(loaded)


def test_an_unknown_name_is_an_attribute_error():
    """Lazy names keep the usual error."""
    assert not hasattr(headway, "nonsense")
