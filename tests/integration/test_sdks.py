"""Every official SDK over Headway, each in an environment of its own: their pins clash.

An environment holds the SDK, Headway and pytest at the versions of `constraints-<name>.txt`. It is built once, under
`.venvs/`, and again when what it was built from changes. Without a package registry these tests are skipped, except
under `make integration` and in CI. By hand: ``.venvs/openai-*/bin/python -m pytest --confcutdir tests/integration <file>``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from headway.sim import SimSettings, serving

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HOME = ROOT / ".venvs"
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
BUILD_S = 900
RUN_S = 300


class NoRegistry(Exception):
    """The environment could not be built."""


def environment(name: str) -> Path:
    """The interpreter of an SDK's environment, built if need be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    constraints = HERE / f"constraints-{name}.txt"
    simulator = project["optional-dependencies"]["sim"]  # for who runs a file by hand
    wanted = sorted({"pytest", *SDKS[name].split(), *project["dependencies"], *simulator})
    made_of = (sys.version, ROOT, wanted, constraints.read_text("utf-8"))
    home = HOME / f"{name}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    if python.exists():
        return python
    building = HOME / f"building-{name}-{os.getpid()}"
    venv.create(building, symlinks=True, clear=True)
    command = [
        sys.executable, "-m", "pip", "--python", str(building / "bin" / "python"), "install", "-qq", "--no-compile",
        "--disable-pip-version-check", "--constraint", str(constraints), *wanted,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode:
        shutil.rmtree(building)
        raise NoRegistry(f"the environment of {name} cannot be built: {done.stderr.strip()[-500:]}")
    # Headway itself, editable: what an editable install comes to, without building a wheel for each of eight.
    (packages,) = building.glob("lib/python*/site-packages")
    (packages / "headway.pth").write_text(f"{ROOT / 'src'}\n", "utf-8")
    for old in HOME.glob(f"{name}-{'[0-9a-f]' * 12}"):
        shutil.rmtree(old)
    building.rename(home)
    return python


def run(name: str, url: str) -> subprocess.CompletedProcess[str]:
    """An SDK's tests, in its environment, against the simulator there."""
    python = environment(name)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "HEADWAY_", "PYTEST_"))}
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
