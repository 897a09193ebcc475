"""Whether an answer is good: an exact label, a schema, a regular expression, a function of yours, or another model.

A checker is called with the row, the answer's value and its text, and returns true or false, a score from 0 to 1, or
None for "cannot be judged"; it may be async. Checkers run between the blocks of a comparison, never while one is
measured.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import msgspec

from headway.engine.sentences import FAULTS
from headway.errors import ConfigError, InputError
from headway.measure.compare.judge import Judge, Unjudged
from headway.prompts.output import Json
from headway.prompts.template import as_text
from headway.types import Result

__all__ = ["MISSING", "Checker", "Exact", "Score", "check_right_answers", "checker_of", "marked"]

Checker: TypeAlias = Callable[[Mapping[str, Any], Any, str], Any]
"""(row, value, text) -> bool, a float from 0 to 1, None, or an awaitable of these."""

MISSING = "the row has no right answer to compare with"
KINDS = "exact, exact:COLUMN, schema, schema:FILE, regex:RE, python:MODULE:FUNCTION or judge:FILE"
_JUDGED = ("ok", "invalid_output")


class Score(NamedTuple):
    """A mark from 0 to 1; None with a note that says why there is none."""

    value: float | None
    note: str = ""
    raised: bool = False
    """The checker failed, rather than had nothing to say."""


def checker_of(spec: str, column: str = "") -> Checker:
    """The checker that a word on the command line names.

    Args:
        spec: One of "exact", "exact:COLUMN", "schema", "schema:FILE", "regex:RE", "python:MODULE:FUNCTION" (a module's
            name or the path of a .py file), "judge:FILE".
        column: The column with the right answer, for "exact" alone.

    Raises:
        ConfigError: It names none, or what it names cannot be had.
    """
    kind, _, rest = spec.partition(":")
    if kind == "exact":
        if not (rest or column):
            raise ConfigError("--check exact: no task names its 'expected' column; write --check exact:COLUMN")
        return Exact(rest or column)
    if kind == "schema":
        return _fits(Path(rest)) if rest else _kept_form
    if kind == "regex" and rest:
        try:
            pattern = re.compile(rest)
        except re.error as error:
            raise ConfigError(f"--check regex: {rest!r} is no regular expression: {error}") from None
        return lambda row, value, text: pattern.search(text) is not None
    if kind == "python" and rest:
        return _function(rest)
    if kind == "judge" and rest:
        return Judge.load(Path(rest))
    raise ConfigError(f"--check {spec}: there is no such check; use {KINDS}")


class Exact:
    """Right is what the row's column says, but for case and white space at its ends."""

    def __init__(self, column: str) -> None:
        self.column = column

    def __call__(self, row: Mapping[str, Any], value: Any, text: str) -> bool | None:
        """Whether it is; None where the row does not say what is right."""
        expected = self.expected(row)
        return str(value).strip().casefold() == expected.casefold() if expected else None

    def expected(self, row: Mapping[str, Any]) -> str:
        """What is right for a row; "" where it does not say."""
        return as_text(row.get(self.column)).strip()


def check_right_answers(checker: object, rows: Sequence[Mapping[str, Any]]) -> None:
    """A column that holds no right answer at all is a mistake, found before anything is spent. Raises `InputError`."""
    if isinstance(checker, Exact) and not any(map(checker.expected, rows)):
        raise InputError(
            f"no row has a right answer in column {checker.column!r}; there is {', '.join(map(str, rows[0]))}; name "
            "the right one in 'expected' or with --check exact:COLUMN, or leave both out to compare without quality"
        )


async def marked(checker: Checker, row: Mapping[str, Any], result: Result) -> Score:
    """The mark of one answer. An answer that broke its task's constraint gets 0; a row without one gets none."""
    if result.outcome not in _JUDGED:
        return Score(None, "there is no answer")
    # Gathered, for a check may raise any exception of its own: it comes back as a value, and cancelling goes through.
    wrong = result.outcome == "invalid_output"
    if wrong and isinstance(checker, Judge):
        return Score(0.0)  # there is nothing to judge
    found: Any = (await asyncio.gather(_called(checker, row, result), return_exceptions=True))[0]
    if isinstance(found, ConfigError):
        raise found
    if found is None:
        return Score(None, MISSING)
    if wrong:
        return Score(0.0)
    if isinstance(found, Unjudged):
        return Score(None, str(found), raised=True)
    if isinstance(found, BaseException):
        return Score(None, f"the check failed ({type(found).__name__}: {str(found)[:200]})", raised=True)
    return _score(found)


async def _called(checker: Checker, row: Mapping[str, Any], result: Result) -> Any:
    found = checker(row, result.value, result.text)
    return await found if isawaitable(found) else found


def _score(found: Any) -> Score:
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= 1):
        said = f"the check returned {str(found)[:60]!r}; it has to return true, false, or a number from 0 to 1"
        return Score(None, said, raised=True)
    return Score(value)


def _kept_form(row: Mapping[str, Any], value: Any, text: str) -> bool:
    """Whether the answer kept its own task's constraint; `marked` gives 0 to the others."""
    return True


def _fits(path: Path) -> Checker:
    try:
        schema = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise ConfigError(f"--check schema: {path} cannot be read: {error.strerror or error}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"--check schema: {path} is not a JSON object: {error}") from None
    output = Json(schema=schema)

    def check(row: Mapping[str, Any], value: Any, text: str) -> bool:
        try:
            output.read(text)
        except ValueError:
            return False
        return True

    return check


def _function(spec: str) -> Checker:
    """The function that "module:function" or "path.py:function" names."""
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ConfigError(f"--check python: {spec!r} names no function; write python:MODULE:FUNCTION")
    module = _module(where)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"--check python: {where} has no function {name!r}")
    return function  # type: ignore[no-any-return]  # anything that can be called


def _module(where: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        spec = importlib.util.spec_from_file_location(Path(where).stem, where)
        if spec is None or spec.loader is None:
            raise ConfigError(f"--check python: {where} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, *FAULTS) as error:
        raise ConfigError(f"--check python: {where} cannot be imported: {type(error).__name__}: {error}") from None
    return module
