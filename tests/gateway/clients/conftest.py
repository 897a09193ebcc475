"""A served gateway with keys in front of the simulator, both processes of their own, for clients that know of neither."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from headway.gateway.keys import KeyStore
from headway.policy.keys import Key
from headway.sim import SimSettings
from headway.sim.server import serving
from tests.environments import node_modules, or_skip

CODE = "import sys; sys.argv[0] = 'headway'; from headway.cli import main; main()"
PATIENCE_S = 20.0
RIGHTS: dict[str, dict[str, Any]] = {
    "app": {"paths": ("/v1/*",)},
    "narrow": {"models": ("gpt-4o",)},
    "slow": {"requests_per_min": 1.0},
    "slow_python": {"requests_per_min": 1.0},  # each of them is used up by its test
    "poor": {"dollars_per_day": 1e-9},
}
"""The keys that there are: for all, for one model, for a request a minute, and without money."""


def plain_env(**more: str) -> dict[str, str]:
    """The environment without what is the user's own affair; what was compiled once stays so, for clients are large."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "OPENAI_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | more


@contextmanager
def served(*options: str, errors: IO[str] | None = None, **env: str) -> Iterator[str]:
    """`headway serve`; gives its URL, without /v1."""
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, "serve", "--port", "0", *options],
        env=plain_env(**env), stdout=subprocess.PIPE, stderr=errors, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        assert line.startswith("Headway serves http://127.0.0.1:"), line
        yield line.split()[2].removesuffix("/v1;")
        child.terminate()
        assert child.wait(PATIENCE_S) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@dataclass
class House:
    """The gateway, the provider behind it, and the keys by name."""

    url: str
    provider: str
    keys: dict[str, str]

    def env(self, key: str = "app", **more: str) -> dict[str, str]:
        """What a client is told, as users tell it."""
        return plain_env(
            OPENAI_BASE_URL=f"{self.url}/v1", OPENAI_API_KEY=self.keys[key],
            ANTHROPIC_BASE_URL=self.url, ANTHROPIC_API_KEY=self.keys[key],
            **{f"KEY_{name.upper()}": text for name, text in self.keys.items()}, **more,
        )  # fmt: skip

    def ledger(self) -> list[dict[str, Any]]:
        """The provider's books."""
        with urllib.request.urlopen(f"{self.provider}/sim/ledger", timeout=PATIENCE_S) as answer:
            return json.loads(answer.read())["rows"]

    def booked(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the books for which it is true, as soon as there is one."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s:
            if found := next((row for row in self.ledger() if true(row)), None):
                return found
            time.sleep(0.02)
        raise AssertionError([(row["model"], row["outcome"]) for row in self.ledger()])


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all clients of a test process; at its end it has had nothing to complain of, and told no secret."""
    folder = tmp_path_factory.mktemp("house")
    keys, state, said = {}, folder / "state", folder / "said"
    with KeyStore(folder / "keys") as store:
        for name, rights in RIGHTS.items():
            keys[name] = store.create(Key(id="", name=name, **rights))[1].reveal()
    settings = SimSettings(latency_scale=0.02, quality=None, api_keys=("sk-of-the-provider",))
    with (
        serving(settings) as base,
        said.open("w") as errors,
        served(
            "--base-url", base, "--keys", str(folder / "keys"),
            errors=errors, HEADWAY_HOME=str(state), OPENAI_API_KEY="sk-of-the-provider",
        ) as url,
    ):  # fmt: skip
        yield House(url, base.removesuffix("/v1"), keys)
    written = b"".join(file.read_bytes() for file in (said, *Path(state).rglob("*")) if file.is_file())
    assert b"gpt-4o" in written
    assert b"Traceback" not in written
    assert b"never retrieved" not in written
    assert not [name for name, text in keys.items() if text.split("-", 2)[2].encode() in written]
    assert b"sk-of-the-provider" not in written


@pytest.fixture(scope="session")
def packages() -> Path:
    """Where the packages for Node.js are."""
    return or_skip(lambda: node_modules("node-clients", Path(__file__).with_name("package.json")))


def node(packages: Path, folder: Path, file: Path, *options: str, env: dict[str, str]) -> str:
    """Run a program beside the packages; what it prints."""
    (folder / "node_modules").symlink_to(packages, target_is_directory=True)
    program = shutil.copy(file, folder)
    done = subprocess.run(
        ["node", *options, program], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    return done.stdout
