"""Reports on the disk: a page is there as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from headway.errors import ConfigError

__all__ = ["write_page"]


def write_page(path: Path, document: str) -> Path:
    """Write a page, and return its path.

    Raises:
        ConfigError: It cannot be written there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(document, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(
            f"The report cannot be written to {path}: {error.strerror or error}; choose another path."
        ) from None
    return path
