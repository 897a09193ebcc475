"""Reading a task file: TOML in, `Task` out, every mistake named by file and key.

    model = "gpt-5.4-mini"
    api = "responses"                    # or "chat", "messages"
    system = "You route support tickets."
    prompt = "Ticket: {text}"            # {column} names; {{ and }} are literal braces
    expected = "category"                # the column with the right answer, if there is one
    repairs_max = 1
    # max_output_tokens, temperature, stop, reasoning_effort

    [output]                             # one of these:
    labels = ["billing", "shipping"]     # or labels_file = "labels.txt", one a line
    # schema = { type = "object", ... }  # or schema_file = "schema.json"; json = true for any JSON
    # bullets = 3, exactly = true, words_max = 12
    # sentence = true
    # instruct = false                   # do not add the constraint's own sentence to the system text

    # [outputs.category] and so on, instead of [output], for several outputs of one row (see `merge`):
    # ask = "Which queue does the ticket belong to?"
    # labels = ["billing", "shipping"]   # any constraint of the above; free text when there is none
    # expected = "queue"                 # the column with its right answer, if there is one
    # [merge]
    # mode = "auto", order = "parallel", fallback_max = 0.2

    [normalize]                          # for the cache key only
    text = ["trim", "casefold", "collapse_space"]

    # [context.document] and so on, for columns that may be too long (see `context`):
    # tokens_max = 2000, how = "truncate"

Files are looked up beside the task file. Two more tables, [settings] and [run], say how it is run: see `runtable`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from headway.errors import ConfigError
from headway.prompts.context.declared import budgets_of
from headway.prompts.labels import Labels
from headway.prompts.merge import MergedTask
from headway.prompts.output import Api, Bullets, Json, Output, Sentence, Text
from headway.prompts.outputs import Ask
from headway.prompts.runtable import RunTable, Tables, checked_settings
from headway.prompts.task import Task

__all__ = ["closest", "load_tables", "load_task", "read_text"]

_BYTES_MAX = 4 * 1024 * 1024


class _OutputTable(msgspec.Struct, frozen=True, kw_only=True):
    labels: list[str] | None = None
    labels_file: str | None = None
    schema: dict[str, Any] | None = None
    schema_file: str | None = None
    json: bool = False
    bullets: int | None = None
    exactly: bool = False
    words_max: int | None = None
    sentence: bool = False
    instruct: bool = True


class _AskTable(_OutputTable, frozen=True, kw_only=True):
    ask: str = ""
    expected: str = ""


class _MergeTable(msgspec.Struct, frozen=True, kw_only=True):
    mode: Any = "auto"
    order: Any = "parallel"
    fallback_max: float = 0.2


class _TaskTable(msgspec.Struct, frozen=True, kw_only=True):
    model: str = ""
    api: Api = "responses"
    system: str = ""
    prompt: str
    output: _OutputTable = _OutputTable()
    outputs: dict[str, _AskTable] = {}
    merge: _MergeTable = _MergeTable()
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: list[str] = []
    reasoning_effort: str = ""
    normalize: dict[str, list[str]] = {}
    context: dict[str, Any] = {}
    expected: str = ""
    repairs_max: int = 1
    settings: dict[str, Any] = {}
    run: RunTable = RunTable()


def load_task(path: Path, *, model: str = "", api: str = "") -> Task:
    """Read a task file. See the module for its form.

    Raises:
        ConfigError: The file, or one it names, is missing, is not TOML, or holds a wrong key or value.
    """
    try:
        raw = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    _refuse_unknown(path, raw, _TaskTable, "")
    if isinstance(raw.get("output"), dict):
        _refuse_unknown(path, raw["output"], _OutputTable, "output.")
    _check_outputs(path, raw)
    _tables(path, raw)
    if "prompt" not in raw:
        raise ConfigError(f"{path}: key 'prompt' is missing; write e.g. prompt = \"Classify: {{text}}\"")
    overrides = {name: value for name, value in (("model", model), ("api", api)) if value}
    try:
        table = msgspec.convert({**raw, **overrides}, _TaskTable)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_readable(error)}") from None
    if table.outputs:
        return _merged(path, table)
    output = _constraint(path, table.output, "output")
    return Task(
        model=table.model,
        prompt=table.prompt,
        output=output,
        api=table.api,
        system=table.system,
        instruct=table.output.instruct,
        max_output_tokens=table.max_output_tokens,
        temperature=table.temperature,
        stop=table.stop,
        reasoning_effort=table.reasoning_effort,
        normalize=table.normalize,
        context=budgets_of(table.context, str(path)),
        expected=table.expected,
        repairs_max=table.repairs_max,
        where=str(path),
    )


def _merged(path: Path, table: _TaskTable) -> MergedTask:
    """The task that [outputs] describes."""
    outputs = {
        name: Ask(one.ask, _constraint(path, one, f"outputs.{name}") or Text(), one.expected)
        for name, one in table.outputs.items()
    }
    return MergedTask(
        model=table.model,
        prompt=table.prompt,
        outputs=outputs,
        mode=table.run.merge or table.merge.mode,
        order=table.merge.order,
        fallback_max=table.merge.fallback_max,
        api=table.api,
        system=table.system,
        max_output_tokens=table.max_output_tokens,
        temperature=table.temperature,
        reasoning_effort=table.reasoning_effort,
        normalize=table.normalize,
        context=budgets_of(table.context, str(path)),
        repairs_max=table.repairs_max,
        where=str(path),
    )


def _check_outputs(path: Path, raw: dict[str, Any]) -> None:
    """What goes with [outputs], and what does not."""
    outputs, merge = raw.get("outputs"), raw.get("merge")
    if isinstance(merge, dict):
        _refuse_unknown(path, merge, _MergeTable, "merge.")
        if not outputs:
            raise ConfigError(f"{path}: [merge] goes with [outputs.NAME] tables, of which there is none")
    if not isinstance(outputs, dict):
        return
    if not outputs:
        raise ConfigError(f"{path}: [outputs] names no output; write a table for each, e.g. [outputs.summary]")
    for name, one in outputs.items():
        if isinstance(one, dict):
            _refuse_unknown(path, one, _AskTable, f"outputs.{name}.")
            if "instruct" in one:
                raise ConfigError(f"{path}: outputs.{name}.instruct: outputs are always asked for; leave it out")
    for key, instead in (("output", ""), ("stop", ""), ("expected", "; put it under the output that it is right for")):
        if key in raw:
            raise ConfigError(f"{path}: '{key}' does not go with [outputs]{instead or '; leave one of them out'}")


def load_tables(path: Path) -> Tables:
    """What a task file says beyond its task: [settings] and [run], empty where they are not there.

    Raises:
        ConfigError: As `load_task`, for these tables.
    """
    try:
        return _tables(path, tomllib.loads(read_text(path)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _tables(path: Path, raw: dict[str, Any]) -> Tables:
    """The two tables, every key and value of them checked."""
    if isinstance(raw.get("run"), dict):
        _refuse_unknown(path, raw["run"], RunTable, "run.")
    try:
        tables = msgspec.convert({name: raw[name] for name in ("settings", "run") if name in raw}, Tables)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_readable(error)}") from None
    return Tables(settings=checked_settings(path, tables.settings), run=tables.run)


def closest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the nearest of the known names, or the list of them when none is near."""
    names = [str(one) for one in known]
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; there is {', '.join(names)}"


def _refuse_unknown(path: Path, raw: dict[str, Any], table: type[msgspec.Struct], prefix: str) -> None:
    for key in raw:
        if key not in table.__struct_fields__:
            raise ConfigError(f"{path}: unknown key '{prefix}{key}'{closest(key, table.__struct_fields__)}")


def _readable(error: msgspec.ValidationError) -> str:
    """Msgspec's "Expected `int`, got `str` - at `$.a`" as a sentence that begins with the key."""
    what, _, at = str(error).partition(" - at ")
    key = re.sub(r"^\$\.?", "", at.strip("`"))
    return f"key '{key}': {what[:1].lower()}{what[1:].replace('`', '')}"


def _constraint(path: Path, table: _OutputTable, at: str) -> Output | None:
    """The constraint that a table, `at`, names; None when it names none."""
    try:
        return _output(path, table, at)
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(str(path)) else f"{path}: {at}.{error}") from None


def _output(path: Path, table: _OutputTable, at: str) -> Output | None:
    chosen = [
        name
        for name in ("labels", "labels_file", "schema", "schema_file", "bullets")
        if getattr(table, name) is not None
    ]
    chosen += [name for name in ("json", "sentence") if getattr(table, name)]
    if len(chosen) > 1:
        raise ConfigError(f"{path}: {at} has both '{chosen[0]}' and '{chosen[1]}'; keep one")
    kind = chosen[0] if chosen else ""
    if kind != "bullets" and (table.exactly or table.words_max is not None):
        raise ConfigError(f"{path}: {at}.{'exactly' if table.exactly else 'words_max'} goes with 'bullets'")
    if table.labels is not None:
        return Labels(labels=tuple(table.labels))
    if table.labels_file is not None:
        lines = read_text(path.parent / table.labels_file, f"{path}: {at}.labels_file: ").splitlines()
        return Labels(labels=tuple(line.strip() for line in lines if line.strip()))
    if table.schema_file is not None:
        return Json(schema=_schema(f"{path}: {at}.schema_file: ", path.parent / table.schema_file))
    if table.schema is not None or table.json:
        return Json(schema=table.schema)
    if table.bullets is not None:
        return Bullets(count=table.bullets, exactly=table.exactly, words_max=table.words_max)
    return Sentence() if table.sentence else None


def _schema(prefix: str, file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(read_text(file, prefix), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{prefix}{file} is not a JSON object: {error}") from None


def read_text(path: Path, prefix: str = "") -> str:
    """A file of UTF-8 text, at most 4 MiB. Raises `ConfigError`, which begins with `prefix`."""
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{prefix}{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > _BYTES_MAX:
        raise ConfigError(f"{prefix}{path} is larger than {_BYTES_MAX // 1024**2} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{prefix}{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
