"""What is linted: a file's texts with their places in it, the task they belong to, and what was observed of it."""

from __future__ import annotations

import json
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from headway.errors import ConfigError
from headway.prompts.lint.findings import Place
from headway.prompts.lint.passages import Text
from headway.prompts.task import Task
from headway.prompts.taskfile import load_task
from headway.prompts.toml_edit import Spelled, json_strings, toml_strings
from headway.store.rows import LogRow

__all__ = ["BYTES_MAX", "Kind", "Source", "log_source", "read_source", "source_of", "text_of"]

Kind: TypeAlias = Literal["text", "task", "request", "log"]

BYTES_MAX: Final = 4 * 1024 * 1024


class Source:
    """One file, or one call log, as the rules see it. Not to be changed once made.

    Args:
        file: Its name, for people.
        kind: "text" for a prompt by itself, "task" for a task file, "request" for a chat request as JSON, "log".
        raw: The file's text as it stands there; "" for a log.
        texts: The prompt's texts in the order in which they are sent.
        spelled: How each text is written in `raw`, by its key.
        task: The task; None where there is none, or where its file cannot be used alone.
        model: The model's name; "" when unknown.
        settings: The request's fields: the task file's keys, or the JSON request's.
        calls: Rows of the call log that belong to it, oldest first.
        rows: Rows of input.
    """

    def __init__(
        self,
        *,
        file: str,
        kind: Kind,
        raw: str = "",
        texts: Sequence[Text] = (),
        spelled: Mapping[str, Spelled] | None = None,
        task: Task | None = None,
        model: str = "",
        settings: Mapping[str, Any] | None = None,
        calls: Sequence[LogRow] = (),
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.file, self.kind, self.raw, self.task, self.model = file, kind, raw, task, model
        self.texts = tuple(texts)
        self.spelled = dict(spelled or {})
        self.settings = dict(settings or {})
        self.calls, self.rows = tuple(calls), tuple(rows)

    @property
    def system(self) -> Text | None:
        """The text that stands in front of every prompt, if there is one."""
        return next((text for text in self.texts if text.key == "system"), None)

    def with_raw(self, raw: str) -> Source:
        """The same source with another text in its file. Raises `ConfigError` where that is not its form any more."""
        return source_of(self.file, raw, self.kind, model=self.model, task=self.task, calls=self.calls, rows=self.rows)

    def observing(self, calls: Sequence[LogRow], rows: Sequence[Mapping[str, Any]]) -> Source:
        """The same source with what was observed of it: rows of the call log, and rows of input."""
        return source_of(self.file, self.raw, self.kind, model=self.model, task=self.task, calls=calls, rows=rows)

    def place(self, key: str = "", start: int = 0, end: int = 0) -> Place:
        """Where characters `start` to `end` of the text of `key` are in the file."""
        spelled = self.spelled.get(key)
        if spelled is None:
            return Place(file=self.file, key=key, start=start, end=end)
        first = self._offset(spelled, start)
        last = spelled.ends[end - 1] if start < end <= len(spelled.ends) else first
        (line, column), (end_line, end_column) = self._line(first), self._line(last)
        return Place(
            file=self.file,
            key=key,
            line=line,
            column=column,
            end_line=end_line,
            end_column=end_column,
            start=start,
            end=end,
        )

    def setting_place(self, key: str) -> Place:
        """Where a setting stands, or the beginning of the file."""
        name = key.rpartition(".")[2]
        for number, line in enumerate(self.raw.split("\n"), 1):
            if line.lstrip().lstrip('"').startswith(name) and line.strip()[len(name) :].lstrip(' "')[:1] in ("=", ":"):
                return Place(file=self.file, key=key, line=number, end_line=number, end_column=len(line) + 1)
        return Place(file=self.file, key=key)

    def _offset(self, spelled: Spelled, at: int) -> int:
        if at < len(spelled.starts):
            return spelled.starts[at]
        return spelled.ends[-1] if spelled.ends else spelled.at

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0] + [at + 1 for at, char in enumerate(self.raw) if char == "\n"]

    def _line(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


def read_source(path: Path, *, model: str = "") -> Source:
    """The source in a file: a task (.toml), a chat request (.json), or else a prompt as plain text.

    Raises:
        ConfigError: It cannot be read, is larger than 4 MiB, or is not of its form.
    """
    try:
        with path.open("rb") as file:
            raw = text_of(str(path), file.read(BYTES_MAX + 1))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    kinds: dict[str, Kind] = {".toml": "task", ".json": "request"}
    return source_of(str(path), raw, kinds.get(path.suffix.casefold(), "text"), model=model)


def text_of(file: str, data: bytes) -> str:
    """Bytes as text. Raises `ConfigError` for more than 4 MiB, or what is not UTF-8."""
    if len(data) > BYTES_MAX:
        raise ConfigError(f"{file} is larger than {BYTES_MAX // 1024**2} MiB; lint a part of it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def source_of(
    file: str,
    raw: str,
    kind: Kind,
    *,
    model: str = "",
    task: Task | None = None,
    calls: Sequence[LogRow] = (),
    rows: Sequence[Mapping[str, Any]] = (),
) -> Source:
    """The source in a text.

    Args:
        file: Its name; a task is loaded from there, when `task` is None.
        raw: The file's text.
        kind: What it holds.
        model: The model's name, instead of the file's own.
        task: The task, where it was loaded before and only its texts have changed.
        calls: Rows of the call log that belong to it.
        rows: Rows of input.

    Raises:
        ConfigError: It is not of its form; the message names the file.
    """
    if kind == "task":
        source = _task_source(file, raw, task or load_task(Path(file), model=model))
    else:
        source = (_request_source if kind == "request" else _text_source)(file, raw, model)
    source.calls, source.rows = tuple(calls), tuple(rows)
    return source


def log_source(file: str, calls: Sequence[LogRow]) -> Source:
    """A call log: no texts, only what was observed."""
    return Source(file=file, kind="log", calls=calls)


def _text_source(file: str, raw: str, model: str) -> Source:
    mark = 1 if raw.startswith("\ufeff") else 0
    every = list(range(mark, len(raw)))
    spelled = Spelled(raw[mark:], every, [at + 1 for at in every], "", mark)
    return Source(
        file=file, kind="text", raw=raw, texts=[Text("text", raw[mark:])], spelled={"text": spelled}, model=model
    )


def _task_source(file: str, raw: str, task: Task) -> Source:
    settings = tomllib.loads(raw.removeprefix("\ufeff").replace("\r\n", "\n"))
    written = toml_strings(raw)
    texts: list[Text] = []
    spelled: dict[str, Spelled] = {}
    for key in ("system", "prompt"):
        value = settings.get(key)
        if isinstance(value, str):
            texts.append(Text(key, value, template=key == "prompt"))
            if key in written and written[key].text == value:
                spelled[key] = written[key]
    return Source(
        file=file,
        kind="task",
        raw=raw,
        texts=texts,
        spelled=spelled,
        task=task,
        model=task.model,
        settings=settings,
    )


def _request_source(file: str, raw: str, model: str) -> Source:
    try:
        request = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None
    if not isinstance(request, dict) or not isinstance(request.get("messages", request.get("input")), list | str):
        raise ConfigError(f'{file}: not a chat request; expected an object with "messages" or "input"')
    strings = {one.text: one for one in reversed(list(json_strings(raw)))}  # the first of equal ones
    texts = [
        Text(key, said, fixed=key in ("system", "instructions") or role in ("system", "developer"))
        for key, role, said in _said(request)
    ]
    spelled = {text.key: strings[text.text] for text in texts if text.text in strings}
    named = request.get("model")
    return Source(
        file=file,
        kind="request",
        raw=raw,
        texts=texts,
        spelled=spelled,
        model=model or (named if isinstance(named, str) else ""),
        settings=request,
    )


def _said(request: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Key, role and text of what a request says, in order; the model's own turns are not ours to mend."""
    found: list[tuple[str, str, str]] = []
    for field in ("system", "instructions", "input", "messages"):
        value = request.get(field)
        if isinstance(value, str):
            found.append((field, "user" if field == "input" else "system", value))
        for at, item in enumerate(value if isinstance(value, list) else ()):
            if not isinstance(item, dict):
                continue
            role, content = str(item.get("role", "system")), item.get("content", item.get("text"))
            blocks = content if isinstance(content, list) else [{"text": content}]
            for number, block in enumerate(blocks):
                said = block.get("text") if isinstance(block, dict) else None
                if isinstance(said, str) and role in ("system", "developer", "user"):
                    found.append((f"{field}.{at}.content" + (f".{number}" if len(blocks) > 1 else ""), role, said))
    return found
