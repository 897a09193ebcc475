"""What tests of several commands share."""

from __future__ import annotations

import pytest

from headway.sim import SimSettings, serving


@pytest.fixture(scope="module")
def server():
    """The base URL of a simulator that answers at once, and never errs."""
    with serving(SimSettings(seed=1, latency_scale=0, quality=None)) as url:
        yield url
