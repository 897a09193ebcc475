"""An environment for each library of a comparison: their pins clash with each other's and with ours.

Built on first use under `.venvs/compare-<name>-<digest>`, at the versions of `constraints-<name>.txt`, and again when
what it was built from changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".venvs"
PACKAGES = {
    "openai": "openai",
    "litellm": "litellm",
    "litellm-proxy": "litellm[proxy]",
    "async-batch-llm": "async-batch-llm[openai]",
    "curator": "bespokelabs-curator",
    "langgraph": "langgraph",
    "pydantic-graph": "pydantic-graph",
    "sf-hamilton": "sf-hamilton",
}
NPM = {"portkey": {"@portkey-ai/gateway": "1.15.2", "@hono/node-server": "1.13.8"}}
"""Exact versions, also of what they need: with newer ones of its server Portkey's streams fail."""
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

    def build(home: Path) -> list[str]:
        venv.create(home, symlinks=True, clear=True)
        return [
            sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "-qq",
            "--disable-pip-version-check", "--constraint", str(constraints), PACKAGES[name],
        ]  # fmt: skip

    return _built(name, made_of, build) / "bin" / "python"


def node_modules(name: str) -> Path:
    """The packages from npm of a program for Node.js, built if need be.

    Raises:
        NoRegistry: The packages cannot be had.
    """

    def build(home: Path) -> list[str]:
        home.mkdir(parents=True)
        (home / "package.json").write_text(
            json.dumps({"private": True, "dependencies": NPM[name], "overrides": NPM[name]}), "utf-8"
        )
        options = "--no-audit --no-fund --no-package-lock --ignore-scripts --no-update-notifier --loglevel=error"
        return ["npm", "install", "--prefix", str(home), *options.split()]

    return _built(name, NPM[name], build) / "node_modules"


def _built(name: str, made_of: object, build: Callable[[Path], list[str]]) -> Path:
    """Where it is; `build` prepares a directory and gives the command that fills it."""
    stem = f"compare-{name}"
    home = HOME / f"{stem}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    if home.exists():
        return home
    building = HOME / f"building-{stem}-{os.getpid()}"
    try:
        done = subprocess.run(build(building), capture_output=True, text=True, timeout=BUILD_S, check=False)
        why = done.stderr.strip()[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"not done in {BUILD_S} s"
    if why:
        shutil.rmtree(building)
        raise NoRegistry(f"the environment of {name} cannot be built: {why}")
    for old in HOME.glob(f"{stem}-{'[0-9a-f]' * 12}"):
        shutil.rmtree(old)
    building.rename(home)
    return home


def version(name: str) -> str:
    """The version that is compared."""
    package = PACKAGES[name].partition("[")[0]
    pins = (HERE / f"constraints-{name}.txt").read_text("utf-8").splitlines()
    return next(line.partition("==")[2] for line in pins if line.startswith(f"{package}=="))
