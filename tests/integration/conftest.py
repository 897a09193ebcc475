"""The simulator that an SDK talks to: the driver's, or one of our own where a file here is run by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.integration.suite")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Its address, without a path."""
    if url := os.environ.get("SIMULATOR_URL"):
        yield url
        return
    from headway.sim import SimSettings, serving

    with serving(SimSettings(latency_scale=0, quality=None)) as url:
        yield url.removesuffix("/v1")
