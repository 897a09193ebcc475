"""Where a job's output goes: what kind of place it is, and whether anything may be written there."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias

from headway.errors import ConfigError
from headway.jobs.opened import Source
from headway.jobs.parquet import pyarrow

__all__ = ["PART", "Kind", "check_out", "check_writable", "is_taken", "kind_of", "out_path"]

PART = re.compile(r"part-\d{5,}\.(jsonl|csv|parquet)")
"""What the parts of an output are called."""

Kind: TypeAlias = Literal["jsonl", "csv", "parquet"]


def kind_of(path: Path, source: Source | None = None) -> Kind:
    """The format of an output: by its suffix; of a folder without one, the input's."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".parquet"):
        return "csv" if suffix == ".csv" else "parquet"
    if path.is_dir() and suffix != ".jsonl" and source is not None:
        if source.format == "csv":
            return "csv"
        if source.table is not None:
            return "parquet"
    return "jsonl"


def out_path(text: str) -> Path:
    """The path of an output as it was typed: a slash at the end makes it a folder, which is made here.

    Raises:
        ConfigError: The folder cannot be made.
    """
    path = Path(text)
    if text.endswith(("/", os.sep)):
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{text} cannot be made: {error.strerror}; choose another --out") from None
    return path


def is_taken(path: Path) -> bool:
    """Whether there is an output already: a file, or a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def check_writable(path: Path, option: str = "--out") -> None:
    """Find out before anything is spent whether the output's folder takes files.

    Raises:
        ConfigError: It does not.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it with {option}")
    _check_takes_files(path.parent, option)


def check_out(out: Path, source: Source) -> None:
    """Find out before anything is spent whether a job's output can be written there: a file, or a folder of parts.

    Raises:
        ConfigError: It cannot; or it is the input, or among its files; or it needs a package that is missing.
    """
    _check_apart(out, source)
    _check_place(out)
    if kind_of(out, source) == "parquet":
        pyarrow()


def _check_place(path: Path) -> None:
    """A folder has to be empty, or an output."""
    if not path.is_dir():
        check_writable(path)
        return
    if not path.resolve().name or path.resolve() == Path.cwd():
        raise ConfigError(f"{path} is the working folder; choose a folder of its own with --out")
    for other in path.iterdir():
        if not other.name.startswith((".", "_")) and not PART.fullmatch(other.name):
            raise ConfigError(
                f"{path} is a folder with other files in it, such as {other.name}; "
                "name a file in it, or an empty folder, with --out"
            )
    _check_takes_files(path, "--out")


def _check_apart(out: Path, source: Source) -> None:
    for path in source.paths:
        if out.exists() and out.samefile(path):
            raise ConfigError(f"{out} is the input itself; choose another --out")
    folder = Path(source.name)
    if source.paths and folder.is_dir() and folder.resolve() in (out.resolve(), out.resolve().parent):
        raise ConfigError(f"{out} is in the folder that is the input; choose another --out")


def _check_takes_files(folder: Path, option: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another {option}") from None
