"""Every official SDK over Headway, each in an environment of its own: their pins clash.

An environment holds the SDK, Headway and pytest at the versions of `constraints-<name>.txt`; see `tests.environments`.
By hand: ``.venvs/openai-*/bin/python -m pytest --confcutdir tests/integration <file>``.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from headway.sim import SimSettings, serving
from tests.environments import NoRegistry, python_with

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SDKS = {
    "pydantic-ai": "pydantic-ai-slim[openai]",
    "langchain-openai": "langchain-openai",
    "instructor": "instructor",
    "openai": "openai httpx",
    "anthropic": "anthropic",
    "google-genai": "google-genai",
    "mistralai": "mistralai",
    "groq": "groq",
}
"""What is installed for each, the largest environments first."""

AT_ONCE = 2
RUN_S = 300


def environment(name: str) -> Path:
    """The interpreter of an SDK's environment, built if need be."""
    return python_with(name, SDKS[name], HERE / f"constraints-{name}.txt")


def run(name: str, url: str) -> subprocess.CompletedProcess[str]:
    """An SDK's tests, in its environment, against the simulator there."""
    python = environment(name)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "HEADWAY_", "PYTEST_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # what was compiled once stays so, for SDKs are large
    file = HERE / f"sdk_{name.replace('-', '_')}.py"
    tolerant = [f"-Wdefault::{kind}" for kind in ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")]
    return subprocess.run(
        [str(python), "-m", "pytest", str(file), "--confcutdir", str(HERE), *tolerant],  # others' code ages, ours may not
        cwd=ROOT, env={**kept, "SIMULATOR_URL": url}, capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """All of those that were selected, started at once, two at a time."""
    wanted = {item.callspec.params["name"] for item in request.session.items if item.fspath == request.fspath}
    with serving(SimSettings(latency_scale=0, quality=None)) as url, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run, name, url.removesuffix("/v1")) for name in SDKS if name in wanted}


@pytest.mark.parametrize("name", SDKS)
def test_sdk(name, runs):
    """Plain, streamed, tool and structured calls, sync and async, cached, retried and failed: see `suite`."""
    try:
        done = runs[name].result()
    except NoRegistry as why:
        if os.environ.get("SDKS_REQUIRED") or os.environ.get("CI"):
            raise
        pytest.skip(str(why))
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
