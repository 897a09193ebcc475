"""The extra's libraries, imported when they are first used; without it, one sentence that says what to install."""

from __future__ import annotations

import importlib
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from headway.errors import ConfigError

__all__ = ["check_extra", "library", "pattern"]

_HINT = 'pip install "headway[context]"'


def check_extra() -> None:
    """Find out before the first row that the extra is not installed.

    Raises:
        ConfigError: It is not.
    """
    for name in ("regex", "bm25s"):
        if find_spec(name) is None:
            raise ConfigError(f"token budgets need the package {name}, which is not installed; {_HINT}")


def library(name: str) -> Any:
    """An imported package of the extra. Raises `ConfigError` when it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"token budgets need the package {name}, which is not installed; {_HINT}") from None


@lru_cache(maxsize=64)
def pattern(text: str) -> Any:
    """A compiled pattern of `regex`, which knows graphemes and Unicode properties."""
    regex = library("regex")
    return regex.compile(text, regex.V1 | regex.MULTILINE)
