"""An environment for each library of a comparison: their pins clash with each other's and with ours.

Built on first use under `.venvs/compare-<name>-<digest>`, at the versions of `constraints-<name>.txt`, and again when
what it was built from changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".venvs"
PACKAGES = {
    "openai": "openai",
    "litellm": "litellm",
    "async-batch-llm": "async-batch-llm[openai]",
    "curator": "bespokelabs-curator",
    "langgraph": "langgraph",
    "pydantic-graph": "pydantic-graph",
    "sf-hamilton": "sf-hamilton",
}
BUILD_S = 900


class NoRegistry(Exception):
    """The environment could not be built."""


def environment(name: str) -> Path:
    """The interpreter of a library's environment, built if need be.

    Raises:
        NoRegistry: The packages cannot be had.
    """
    constraints = HERE / f"constraints-{name}.txt"
    made_of = (sys.version, PACKAGES[name], constraints.read_text("utf-8"))
    stem = f"compare-{name}"
    home = HOME / f"{stem}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    if python.exists():
        return python
    building = HOME / f"building-{stem}-{os.getpid()}"
    venv.create(building, symlinks=True, clear=True)
    command = [
        sys.executable, "-m", "pip", "--python", str(building / "bin" / "python"), "install", "-qq",
        "--disable-pip-version-check", "--constraint", str(constraints), PACKAGES[name],
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
        why = done.stderr.strip()[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"not done in {BUILD_S} s"
    if why:
        shutil.rmtree(building)
        raise NoRegistry(f"the environment of {name} cannot be built: {why}")
    for old in HOME.glob(f"{stem}-{'[0-9a-f]' * 12}"):
        shutil.rmtree(old)
    building.rename(home)
    return python


def version(name: str) -> str:
    """The version that is compared."""
    package = PACKAGES[name].partition("[")[0]
    pins = (HERE / f"constraints-{name}.txt").read_text("utf-8").splitlines()
    return next(line.partition("==")[2] for line in pins if line.startswith(f"{package}=="))
