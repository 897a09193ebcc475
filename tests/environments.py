"""What a test needs that does not go with our own environment: another one for each, under `.venvs/`.

Built once, and again when what it was built from changes; two test processes wait for each other. Without a package
registry there is none, and the tests that need one are skipped, except under `make integration` and in CI.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["NoRegistry", "node_modules", "node_version", "or_skip", "python_with"]

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venvs"
BUILD_S = 900


class NoRegistry(Exception):
    """The environment could not be built."""


def or_skip(build: Callable[[], Path]) -> Path:
    """What `build` gives; where that cannot be had, the test is skipped, or fails where it has to run."""
    try:
        return build()
    except NoRegistry as why:
        if os.environ.get("SDKS_REQUIRED") or os.environ.get("CI"):
            raise
        pytest.skip(str(why))


def python_with(name: str, packages: str, constraints: Path) -> Path:
    """The interpreter of an environment with these packages, what Headway needs, and Headway itself from the sources.

    Raises:
        NoRegistry: It cannot be built.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    simulator = project["optional-dependencies"]["sim"]  # for who runs a file by hand
    wanted = sorted({"pytest", *packages.split(), *project["dependencies"], *simulator})
    made_of = (sys.version, ROOT, wanted, constraints.read_text("utf-8"))

    def build(home: Path) -> None:
        venv.create(home, symlinks=True, clear=True)
        python, asked = str(home / "bin" / "python"), ("--constraint", str(constraints), *wanted)
        try:  # a tenth of pip's time; but where packages are to be had, uv has settings of its own for
            _run(name, sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, *asked)
        except NoRegistry:
            options = ("-qq", "--no-compile", "--disable-pip-version-check")
            _run(name, sys.executable, "-m", "pip", "--python", python, "install", *options, *asked)
        # Headway, editable: what an editable install comes to, without building a wheel for each of them.
        (site,) = home.glob("lib/python*/site-packages")
        (site / "headway.pth").write_text(f"{ROOT / 'src'}\n", "utf-8")

    return _built(name, made_of, build) / "bin" / "python"


def node_version() -> tuple[int, ...]:
    """Of the Node.js that is installed with its npm; () where there is none."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return ()
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split(".") if part.isdigit())


def node_modules(name: str, package: Path) -> Path:
    """The `node_modules` of a package.json with exact versions. No lock file is read or written.

    Raises:
        NoRegistry: It cannot be built.
    """

    def build(home: Path) -> None:
        home.mkdir(parents=True)
        shutil.copy(package, home / "package.json")
        options = "--no-audit --no-fund --no-package-lock --ignore-scripts --no-update-notifier --loglevel=error"
        _run(name, "npm", "install", "--prefix", str(home), *options.split())

    return _built(name, (node_version()[:1], package.read_text("utf-8")), build) / "node_modules"


def _built(name: str, made_of: object, build: Callable[[Path], None]) -> Path:
    """Where it is, built if need be."""
    home = HOME / f"{name}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:12]}"
    if home.exists():
        return home
    HOME.mkdir(exist_ok=True)
    with _alone(name):
        if home.exists():
            return home
        building = HOME / f"building-{name}-{os.getpid()}"
        shutil.rmtree(building, ignore_errors=True)
        try:
            build(building)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        for old in HOME.glob(f"{name}-{'[0-9a-f]' * 12}"):
            shutil.rmtree(old)
        building.rename(home)
    return home


@contextmanager
def _alone(name: str) -> Iterator[None]:
    with (HOME / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(name: str, *command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
        why = done.stderr.strip()[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"not done in {BUILD_S} s"
    if why:
        raise NoRegistry(f"the environment of {name} cannot be built: {why}")
