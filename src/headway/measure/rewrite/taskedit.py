"""A task file as text that can be changed key by key: comments, order and layout stay as they were.

Only the value's characters are replaced; a key that is not there yet is added below the keys of its table. Every edit
is checked by reading the file again: what was not meant to change has not.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from headway.errors import ConfigError, InputError
from headway.measure.compare.variant import Variant, load_variant
from headway.measure.rewrite.toml_spans import Spans, encoded, spans_of

__all__ = ["TaskText", "task_of_prompt"]

_BYTES_MAX: Final = 4 * 1024 * 1024
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
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
        if len(raw) > _BYTES_MAX:
            raise ConfigError(f"{path} is larger than {_BYTES_MAX // 1024**2} MiB")
        try:
            text = raw.decode("utf-8-sig").replace("\r\n", "\n")
            tomllib.loads(text)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
            _put(wanted, key, value)
            text = _edited(text, key, value)
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
                text = _edited(text, f"output.{key}", str(folder / file))
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
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    plain = "prompt" if f"{{{column}}}" in text or re.search(r"(?<!\{)\{[A-Za-z_]\w*\}(?!\})", text) else "system"
    values: dict[str, Any] = {"model": model, plain: text}
    values |= {} if plain == "prompt" else {"prompt": f"{{{column}}}"}
    values |= {key: value for key, value in (("expected", expected), ("api", api)) if value}
    lines = [f"{key} = {encoded(value, '')}" for key, value in values.items()]
    if labels:
        lines += ["", "[output]", f"labels = {encoded(list(labels), '')}", "instruct = false"]
    return TaskText(path=path, text="\n".join(lines) + "\n", plain=plain)


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *front, last = key.split(".")
    for part in front:
        table = table.setdefault(part, {})
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


def _edited(text: str, key: str, value: Any) -> str:
    spans = spans_of(text)
    if key in spans.values:
        span = spans.values[key]
        if value is None:
            return text[: span.line_start] + text[span.line_end :]
        return text[: span.start] + encoded(value, text[span.start : span.end]) + text[span.end :]
    parent, _, last = key.rpartition(".")
    if parent in spans.values:  # an inline table
        span = spans.values[parent]
        table = deepcopy(tomllib.loads(text)[parent])
        _put(table, last, value)
        return text[: span.start] + encoded(table, "") + text[span.end :]
    return text if value is None else _added(text, spans, parent, f"{last} = {encoded(value, '')}\n")


def _added(text: str, spans: Spans, table: str, line: str) -> str:
    at = spans.table_ends.get(table)
    if at is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}\n[{table}]\n{line}"
    gap = "" if at == 0 or text[at - 1] == "\n" else "\n"
    return text[:at] + gap + line + text[at:]


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value != {}}
