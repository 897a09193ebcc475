"""The two sides of `headway compare`: task files, or prompts as text with what the command line says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from headway.cli.run_options import plain_task
from headway.errors import ConfigError
from headway.prompts.plain import labels_said, plain_parts

if TYPE_CHECKING:
    from headway.measure.compare.variant import Variant
    from headway.prompts.output import Api

__all__ = ["variants_of"]

BYTES_MAX = 16 * 1024 * 1024


def variants_of(
    files: tuple[Path, Path],
    model: str | None,
    labels: str | None,
    expected: str | None,
    api: Api | None,
    answers: Callable[[str], Iterable[str]],
) -> tuple[Variant, Variant]:
    """Both sides; what does not end in .toml is a prompt, sent as it is where it names the labels.

    `answers` gives the right answers in a column, which are the labels where none are given and all texts name them.

    Raises:
        ConfigError: A file is missing or wrong, or an option is for prompts and there is none.
    """
    from headway.measure.compare.variant import Variant, load_variant

    texts = {path: _read(path) for path in files if not _is_task(path)}
    if texts and expected and labels is None:
        labels = ",".join(labels_said(answers(expected), *texts.values())) or None

    def variant(path: Path) -> Variant:
        if _is_task(path):
            return load_variant(path)
        where = str(path)
        system, prompt = plain_parts(texts[path], where)
        task = plain_task(
            prompt, labels, model, api, system=system, expected=expected or "", where=where, as_it_is=True
        )
        return Variant(name=path.stem, task=task)

    given = {"--model": model, "--labels": labels, "--expected": expected, "--api": api}
    told = [name for name, value in given.items() if value is not None]
    if told and all(map(_is_task, files)):
        raise ConfigError(f"{told[0]} is for prompts as text; a task file (.toml) says it itself")
    return variant(files[0]), variant(files[1])


def _is_task(path: Path) -> bool:
    return path.suffix.lower() == ".toml"


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ConfigError(f"{path} holds more than {BYTES_MAX >> 20} MiB; no model takes so long a prompt")
        text = path.read_text("utf-8-sig").replace("\r\n", "\n").rstrip("\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text in UTF-8; save it as such") from None
    if not text.strip():
        raise ConfigError(f"{path} is empty; it has to hold a prompt, or be a task file (.toml)")
    return text
