"""A server in a process of its own, which ends when it is not needed any more, and when this process dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from headway.errors import ConnectFailed

__all__ = ["child_server"]

_START_S: Final = 20.0
_STOP_S: Final = 5.0


@contextmanager
def child_server(module: str, settings: msgspec.Struct, name: str) -> Iterator[str]:
    """Run a module that reads its settings from a line of stdin, and serves until stdin ends.

    Args:
        module: Run as `python -m`; it prints a line when it listens, which is what the block is given.
        settings: Sent as JSON.
        name: For errors: "the simulator".

    Raises:
        ConnectFailed: It did not start within 20 s.
    """
    child = subprocess.Popen(  # noqa: S603 - this interpreter and modules of ours, no shell
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    if child.stdin is None or child.stdout is None:
        raise ConnectFailed(f"{name}'s process has no pipes")
    guard = threading.Timer(_START_S, child.kill)
    guard.daemon = True
    guard.start()
    try:
        child.stdin.write(msgspec.json.encode(settings) + b"\n")
        child.stdin.flush()
        line = child.stdout.readline().decode().strip()
        if not line:
            raise ConnectFailed(f"{name}'s process ended with code {child.wait()} before it listened")
        guard.cancel()
        yield line
    finally:
        guard.cancel()
        child.stdin.close()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
