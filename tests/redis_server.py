"""A real Redis server for tests: Debian's redis-server, started on a socket of its own, without persistence."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["RedisServer", "redis_server", "redis_url"]


class RedisServer:
    """A server that can be killed, frozen and started again; its address stays."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="hw-redis-"))  # short: a socket's path has at most 107 bytes
        self.url = f"unix://{self.home}/s"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, empty; returns when it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", f"{self.home}/s", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*command, "--dir", str(self.home)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until_s = time.monotonic() + 10
        import redis

        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if time.monotonic() > until_s or self._process.poll() is not None:
                        raise
                    time.sleep(0.01)

    def kill(self) -> None:
        """As a crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        (self.home / "s").unlink(missing_ok=True)

    def freeze(self) -> None:
        """It accepts connections, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home)


def _installed() -> bool:
    if shutil.which("redis-server"):
        return True
    if os.environ.get("CI", "").lower() not in ("true", "1") or not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = [*sudo, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"]
    for command in (install, [*sudo, "apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, timeout=180, check=False)
        if done.returncode == 0 and shutil.which("redis-server"):
            return True
    return False


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the whole run. Skipped where there is none to be had; in CI that is a failure."""
    if not _installed():
        if os.environ.get("CI"):
            pytest.fail("redis-server is neither installed nor could be with apt-get: the Redis tests must run in CI")
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    server = RedisServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty server."""
    redis_server.flush()
    return redis_server.url
