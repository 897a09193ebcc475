"""A task file as text that can be changed key by key: comments, order and layout stay as they were.

Only the value's characters are replaced; a key that is not there yet is added below the keys of its table. Every edit
is checked by reading the file again: what was not meant to change has not.
"""

from __future__ import annotations

import difflib
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from headway.errors import ConfigError, InputError
from headway.measure.compare.variant import Variant, load_variant
from headway.prompts.plain import ANSWER_TOKENS_MAX, plain_parts
from headway.prompts.taskfile import read_text
from headway.prompts.toml_edit import encoded, put, with_value

__all__ = ["TaskText", "task_of_prompt", "unified"]

_FILES: Final = ("labels_file", "schema_file")


class TaskText(msgspec.Struct, frozen=True, kw_only=True):
    """A task file's text, and where it is from."""

    path: Path
    text: str
    plain: str = ""
    """For a prompt that came as a plain text file: the key ("system" or "prompt") which holds that file's text."""

    @classmethod
    def read(cls, path: Path | str) -> TaskText:
        """Read a task file.

        Raises:
            ConfigError: It cannot be read, is too large, or is no TOML.
        """
        path = Path(path)
        text = read_text(path).replace("\r\n", "\n")
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        return cls(path=path, text=text)

    @property
    def table(self) -> dict[str, Any]:
        """What the text says."""
        return tomllib.loads(self.text)

    def value(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key such as "output.labels"."""
        found: Any = self.table
        for part in key.split("."):
            if not isinstance(found, dict) or part not in found:
                return default
            found = found[part]
        return found

    def changed(self, values: Mapping[str, Any]) -> TaskText:
        """The file with other values; None takes a key out.

        Args:
            values: Dotted keys, of at most two parts, to what they become.

        Raises:
            InputError: The text is laid out in a way that no edit of it gives just that.
        """
        text = self.text
        wanted = self.table
        for key, value in values.items():
            put(wanted, key, value)
            text = with_value(text, key, value)
        try:
            same = _without_empty(tomllib.loads(text)) == _without_empty(wanted)
        except tomllib.TOMLDecodeError:
            same = False
        if not same:
            raise InputError(f"{self.path}: cannot set {', '.join(values)} without rewriting the file; do it by hand")
        return replace(self, text=text)

    def variant(self, name: str = "") -> Variant:
        """The task that the text is, with its [settings] and [run].

        Raises:
            ConfigError: It is none; the message names the file and the key.
        """
        text, folder = self.text, self.path.resolve().parent
        for key in _FILES:
            if file := self.value(f"output.{key}"):
                text = with_value(text, f"output.{key}", str(folder / file))
        with tempfile.TemporaryDirectory(prefix="headway-") as place:
            copy = Path(place) / f"{self.path.stem}.toml"
            copy.write_text(text, encoding="utf-8")
            try:
                variant = load_variant(copy)
            except ConfigError as error:
                raise ConfigError(str(error).replace(str(copy), str(self.path))) from None
        return replace(variant, name=name) if name else variant


def task_of_prompt(
    path: Path, *, model: str, column: str = "text", expected: str = "", labels: Sequence[str] = (), api: str = ""
) -> TaskText:
    """A plain prompt file as a task: with {columns} it is the template, without it is the system text.

    Raises:
        ConfigError: It cannot be read, or is no template.
    """
    text = read_text(path).replace("\r\n", "\n").rstrip("\n")
    plain = "system" if plain_parts(text, str(path))[0] else "prompt"
    values: dict[str, Any] = {"model": model, plain: text}
    values |= {} if plain == "prompt" else {"prompt": f"{{{column}}}"}
    values |= {key: value for key, value in (("expected", expected), ("api", api)) if value}
    lines = [f"{key} = {encoded(value)}" for key, value in values.items()]
    if labels:
        lines.append(f"max_output_tokens = {ANSWER_TOKENS_MAX}")
        lines += ["", "[output]", f"labels = {encoded(list(labels))}", "instruct = false"]
    return TaskText(path=path, text="\n".join(lines) + "\n", plain=plain)


def unified(path: Path, before: str, after: str, word: str) -> str:
    """A unified diff of what is in a file and what would be."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), f"{path} ({word})", lineterm="")
    return "\n".join(lines)


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value != {}}
