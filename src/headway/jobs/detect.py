"""What a file of work is, told from a bounded head of it: encoding, format, delimiter."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from typing import Literal, TypeAlias

__all__ = ["DELIMITERS", "Format", "columnar_of", "delimiter_of", "encoding_of", "format_of"]

Format: TypeAlias = Literal["csv", "jsonl", "text", "parquet", "arrow"]
DELIMITERS = ",;\t|"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with theirs
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "text",
    ".md": "text",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_MAGIC: dict[bytes, Format] = {b"PAR1": "parquet", b"ARROW1": "arrow"}


def encoding_of(head: bytes) -> str:
    """The codec to read with: a byte-order mark, else UTF-8, else the likeliest older one.

    A few broken lines do not make a file something else: UTF-8 it is while more lines hold valid UTF-8 beyond
    ASCII than invalid. Among the code pages of Western Europe it is cp1252, which spreadsheets write.
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    if len(head) >= 4:
        nuls_even, nuls_odd = head[0::2].count(0), head[1::2].count(0)
        if nuls_odd > 0.2 * len(head) and nuls_even < 0.1 * nuls_odd:
            return "utf-16-le"
        if nuls_even > 0.2 * len(head) and nuls_odd < 0.1 * nuls_even:
            return "utf-16-be"
    lines = head.split(b"\n")
    odd = [line for line in (lines[:-1] or lines) if not line.isascii()]  # the last line may be cut off
    broken = sum(not _is_utf8(line) for line in odd)
    return "utf-8" if broken <= len(odd) - broken else _legacy(head)


def _is_utf8(line: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line)  # a character cut off at the end is no error
    except UnicodeDecodeError:
        return False
    return True


def _legacy(head: bytes) -> str:
    """The single- or multi-byte codec that reads the head as text."""
    from charset_normalizer import from_bytes  # only files that are no UTF-8 pay for it

    if sum(byte > 127 for byte in head) < 32:
        return "cp1252"  # too little to tell by
    best = from_bytes(head, cp_exclusion=["utf_16_be", "utf_16_le", "utf_32_be", "utf_32_le", "utf_7"]).best()
    name = best.encoding if best is not None else "cp1252"
    # ASCII-like code pages differ in rare letters only; the one that Windows writes is the likeliest of them
    near = {
        "latin_1",
        "iso8859_1",
        "iso8859_15",
        "cp1250",
        "cp1252",
        "cp1254",
        "cp1257",
        "cp437",
        "cp850",
        "cp858",
    }
    near |= {
        "mac_roman",
        "hp_roman8",
        "iso8859_9",
        "iso8859_10",
        "iso8859_14",
        "iso8859_16",
        "cp775",
        "utf_8",
    }
    return "cp1252" if name in near else name


def format_of(name: str, head: str) -> Format:
    """The format by the file's suffix (before ``.gz``), else by what its first lines look like."""
    stem = name.lower().removesuffix(".gz")
    if (found := _by_suffix(stem)) is not None:
        return found
    if head.lstrip()[:1] == "{":
        return "jsonl"
    return "csv" if _columns(head, delimiter_of(head)) > 1 else "text"


def columnar_of(name: str, head: bytes) -> Format | None:
    """The format, "parquet" or "arrow", by the content, else by the file's suffix; None for everything else."""
    for magic, format_ in _MAGIC.items():
        if head.startswith(magic):
            return format_
    found = _by_suffix(name.lower())
    return found if found in _MAGIC.values() else None


def _by_suffix(name: str) -> Format | None:
    return next((format_ for suffix, format_ in _SUFFIXES.items() if name.endswith(suffix)), None)


def delimiter_of(head: str) -> str:
    """The delimiter that cuts the head's records into most cells, as many each; "," when none does."""
    return max(DELIMITERS, key=lambda one: (_columns(head, one), one == ","))


def _columns(head: str, delimiter: str) -> int:
    """Cells of the first record when six of ten records of the head have as many; else 1."""
    lines = head.splitlines(keepends=True)[:200]
    records = _records(lines[:-1] if len(lines) > 2 else lines, delimiter)  # the last line may be cut off
    if not records:
        return 1
    width = len(records[0])
    alike = sum(len(record) == width for record in records)
    return width if alike >= 0.6 * len(records) else 1


def _records(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    records: list[list[str]] = []
    try:
        records.extend(record for record in csv.reader(lines, delimiter=delimiter) if record)
    except csv.Error:
        pass  # a field too long for a guess: judge by what came before it
    return records
