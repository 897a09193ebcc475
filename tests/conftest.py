"""Nothing a test does may reach the user's own caches, logs, keys or settings."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("HEADWAY_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HEADWAY_HOME", str(tmp_path / "state"))
