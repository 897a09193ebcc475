"""Lines of text into rows, one format after the other; what is broken becomes a row with a problem."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, TextIO

import msgspec

from headway.errors import InputError

__all__ = ["LINE_CHARS_MAX", "SourceRow", "csv_rows", "jsonl_columns", "jsonl_rows", "text_rows", "widen_cells"]

LINE_CHARS_MAX = 10 * 1024 * 1024
"""Characters a line, a CSV cell or a CSV record may have."""

_UNDECODED = re.compile("[\ud800-\udfff]")


class SourceRow(msgspec.Struct, frozen=True):
    """One row, from index 0. A `problem` is one sentence; `row` then holds what could be read."""

    index: int
    row: dict[str, Any]
    problem: str = ""


def text_rows(lines: TextIO) -> Iterator[SourceRow]:
    """One item a line, in the column ``text``; blank lines are no items."""
    index = 0
    for number, line, problem in _lines(lines):
        if problem or line.strip():
            yield SourceRow(index, {"text": _printable(line.strip())}, problem or _flaw(line, number))
            index += 1


def jsonl_rows(lines: TextIO) -> Iterator[SourceRow]:
    """One JSON object a line; a line that is none is a row with a problem."""
    index = 0
    for number, line, problem in _lines(lines):
        if not problem and not line.strip():
            continue
        if flaw := problem or _flaw(line, number):
            yield SourceRow(index, {}, flaw)
        else:
            yield _jsonl_row(index, line, number)
        index += 1


def _jsonl_row(index: int, line: str, number: int) -> SourceRow:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return SourceRow(index, {}, f"line {number} is not JSON: {error}")
    if not isinstance(row, dict):
        return SourceRow(index, {}, f"line {number} is not a JSON object; write one object a line")
    return SourceRow(index, row)


def jsonl_columns(head: str) -> tuple[str, ...]:
    """The keys of the first readable object in the head; () when there is none."""
    for line in head.split("\n"):
        try:
            return tuple(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.DecodeError, RecursionError):
            continue
    return ()


def csv_rows(lines: TextIO, label: str, delimiter: str) -> tuple[tuple[str, ...], Iterator[SourceRow]]:
    """The header's names and the rows. Ragged rows have a problem; blank lines are no rows.

    Raises:
        InputError: There is no header, or it has an empty or a repeated name.
    """
    widen_cells()
    records = _records(lines, delimiter)
    cells, problem, _ = next(records, ([], "", 0))
    if problem:
        raise InputError(f"{label}: the header cannot be read: {problem}")
    columns = _header(cells, label)
    return columns, (_csv_row(index, columns, *record) for index, record in enumerate(records))


def widen_cells() -> None:
    """Let cells be as long as lines may be; the csv module's only knob, process-wide."""
    csv.field_size_limit(max(csv.field_size_limit(), LINE_CHARS_MAX))


def _header(cells: list[str], label: str) -> tuple[str, ...]:
    names = [cell.strip() for cell in cells]
    while len(names) > 1 and not names[-1]:
        names.pop()  # delimiters at the line's end, as spreadsheets leave them
    if not names:
        raise InputError(f"{label} is empty; it needs a header and at least one row")
    for position, name in enumerate(names):
        if not name:
            raise InputError(f"{label}: column {position + 1} has no name; give every column of the header one")
        if name in names[:position]:
            raise InputError(f"{label}: the header has two columns named {name!r}; rename one")
    return tuple(names)


def _csv_row(index: int, columns: tuple[str, ...], cells: list[str], problem: str, number: int) -> SourceRow:
    while len(cells) > len(columns) and not cells[-1]:
        cells.pop()
    if not problem and len(cells) != len(columns):
        found = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
        problem = f"row {index + 1} (line {number}) has {found} where the header has {len(columns)}"
    row = {name: _printable(cell) for name, cell in zip(columns, cells, strict=False)}
    return SourceRow(index, row, problem)


def _records(lines: TextIO, delimiter: str) -> Iterator[tuple[list[str], str, int]]:
    """Cells, problem and line number of every record.

    A record that the CSV rules refuse, an unterminated quote above all, costs its first line only: reading
    goes on at the line after it.
    """
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        problem = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number, line = feed.back_to_second_line()
            if "unexpected end of data" in str(error):
                problem = f"line {number} opens a quote that is never closed"
            else:
                problem = f"line {number} is not CSV: {error}"
            cells = [line.rstrip("\r\n")] if not feed.problem else []
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        else:
            number = feed.number_first
            problem = _flaw("".join(cells), number)
        if problem or feed.problem or cells:
            yield cells, feed.problem or problem, number


class _Feed(Iterator[str]):
    """Hands lines to the CSV reader and remembers those of the record under way."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = _lines(lines)
        self._again: deque[tuple[int, str, str]] = deque()
        self._record: list[tuple[int, str, str]] = []
        self._chars = 0
        self.problem = ""
        """What is wrong with a line of the record under way."""

    @property
    def number_first(self) -> int:
        """The record's first line."""
        return self._record[0][0] if self._record else 0

    def begin(self) -> None:
        """A new record starts."""
        self._record.clear()
        self._chars = 0
        self.problem = ""

    def back_to_second_line(self) -> tuple[int, str]:
        """Give the record's first line up; the lines after it are read again."""
        number, line, self.problem = self._record[0]
        self._again.extendleft(reversed(self._record[1:]))
        return number, line

    def __next__(self) -> str:
        item = self._again.popleft() if self._again else next(self._lines)
        self._record.append(item)
        _, line, problem = item
        self.problem = self.problem or problem
        self._chars += len(line)
        if self._chars > LINE_CHARS_MAX:
            raise csv.Error(f"a record longer than {LINE_CHARS_MAX // 1024**2} MiB, or an open quote")
        return line


def _lines(lines: TextIO) -> Iterator[tuple[int, str, str]]:
    """Line number, line, problem. A line over the bound comes as an empty one with a problem."""
    number = 0
    while line := lines.readline(LINE_CHARS_MAX + 1):
        number += 1
        if len(line) > LINE_CHARS_MAX:
            while line and not line.endswith(("\n", "\r")):
                line = lines.readline(LINE_CHARS_MAX)
            yield number, "\n", f"line {number} is longer than {LINE_CHARS_MAX // 1024**2} MiB"
        else:
            yield number, line, ""


def _flaw(text: str, number: int) -> str:
    """What makes decoded text unusable; "" when nothing does."""
    if "\0" in text:
        return f"line {number} holds a NUL character; the file is damaged or no text"
    if not text.isascii() and _UNDECODED.search(text):
        return f"line {number} holds bytes that are not in the file's encoding; save the file as UTF-8"
    return ""


def _printable(text: str) -> str:
    """Undecodable bytes as the replacement character, so that the row can be written out."""
    return text if text.isascii() else _UNDECODED.sub("\ufffd", text)
