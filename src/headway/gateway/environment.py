"""A file of environment variables that is read anew with the configuration: a provider's key that is replaced.

A process cannot be given another environment from outside, and systemd reads its `EnvironmentFile` once. The file is
written like that one: NAME=value, a line each; empty lines and lines that begin with # are left out.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from headway.errors import ConfigError

__all__ = ["EnvFile", "read_env"]

NAMES_MAX = 1024
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def read_env(path: Path) -> dict[str, str]:
    """What a file of variables sets.

    Raises:
        ConfigError: It cannot be read, or a line is none; the line is named, what is in it is not.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(f"{path}: cannot be read ({said}); name a readable file with --env-file") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None or "\0" in text or len(found) >= NAMES_MAX:
            raise ConfigError(f"{path}, line {number}: must be NAME=value, at most {NAMES_MAX} of them; mend that line")
        name, value = match[1], match[2].strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return found


class EnvFile:
    """Puts a file's variables into this process's environment, over those that it was started with.

    Args:
        path: The file; "" for none.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._started: dict[str, str | None] = {}  # the file's names, as they were without it
        self._set: dict[str, str] = {}

    def load(self) -> None:
        """Read it. Names that are not in it any more are what they were at the start. Raises `ConfigError`."""
        if self.path:
            self._put(read_env(Path(self.path)))

    def taken(self) -> dict[str, str]:
        """What it sets now, for `put_back`."""
        return self._set

    def put_back(self, values: dict[str, str]) -> None:
        """Undo a `load`."""
        self._put(values)

    def without(self) -> dict[str, str]:
        """The environment as it was at the start, for processes that read the file themselves."""
        values = dict(os.environ)
        for name, value in self._started.items():
            if value is None:
                values.pop(name, None)
            else:
                values[name] = value
        return values

    def _put(self, values: dict[str, str]) -> None:
        for name in values:
            if name not in self._started:
                self._started[name] = os.environ.get(name)
        for name, before in self._started.items():
            value = values.get(name, before)
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._set = values
