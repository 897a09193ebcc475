"""`headway cache`: what the cache on disk holds, what it saved, and why something was no hit."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.cli.ending import print_json
from headway.errors import ConfigError, InputError

if TYPE_CHECKING:
    from headway.store.cache_file import CacheFile, CacheRow
    from headway.store.purging import Selection

__all__ = ["cache"]

_HELP = """
Look into the cache on disk: its figures, its entries, and why a request was no hit.

Examples:

  headway cache stats

  headway cache list --namespace faq --limit 5

  headway cache purge --model gpt-4o --older-than 7d --dry-run

  headway cache explain-miss yesterday.json today.json
"""

cache = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode="rich")

_File = Annotated[Path | None, typer.Option("--file", help="The cache; by default as settings say.")]
_Namespace = Annotated[str, typer.Option("--namespace", "-n", help="A named cache.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
_NEAREST_OF = 10_000


@cache.command()
def stats(file: _File = None, json: _Json = False) -> None:
    """Entries, bytes, hits and dollars saved of every named cache. Counted when engines close."""
    import msgspec

    from headway.store.cache_file import CacheFile

    lines = []
    for name, path in _files(_path(file)).items():
        with CacheFile(path) as opened:
            lines.append({"namespace": name, "file": str(path), **msgspec.to_builtins(opened.totals())})
    if json:
        return _print_json(lines)
    from headway.report import format as fmt

    rows = []
    for line in lines:
        asked = line["hits"] + line["misses"]
        share = f"{line['hits'] / asked:.0%}" if asked else "-"
        rows.append(
            [line["namespace"] or "(default)", str(line["entries"]), _size(line["bytes_used"]), str(line["hits"]),
             str(line["misses"]), share, fmt.dollars(line["saved_dollars"])]
        )  # fmt: skip
    return _print_table(["namespace", "entries", "size", "hits", "misses", "hit share", "saved"], rows)


@cache.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The youngest N.")] = 20,
    namespace: _Namespace = "",
    file: _File = None,
    json: _Json = False,
) -> None:
    """The youngest entries, without their texts. "used": served since the last round of eviction."""
    with _open(file, namespace) as opened:
        lines = [_line(row) for row in opened.rows(limit=limit)]
    if json:
        return _print_json(lines)
    rows = [
        [line["key"][:12], line["model"], _age(line["age_s"]), _age(line["ttl_s"]), _size(line["bytes"]),
         "stream" if line["streamed"] else "whole", "yes" if line["used"] else "no"]
        for line in lines
    ]  # fmt: skip
    return _print_table(["key", "model", "age", "fresh for", "size", "kind", "used"], rows)


@cache.command()
def show(
    key: Annotated[str, typer.Argument(help="The first digits of its key, as `list` shows them.")],
    namespace: _Namespace = "",
    file: _File = None,
    json: _Json = False,
) -> None:
    """One entry, headers and body. The body goes to stdout, the rest to stderr."""
    with _open(file, namespace) as opened:
        rows = list(opened.rows(_selection(key=key), limit=2))
    if len(rows) != 1:
        raise InputError(f"{'no entry has' if not rows else 'more than one entry has'} a key that begins with {key!r}")
    line = _line(rows[0])
    entry = rows[0].entry
    if json:
        return _print_json([line | {"headers": entry.headers, "body": entry.body.decode("utf-8", "replace")}])
    for name, value in [*line.items(), *entry.headers]:
        typer.echo(f"{name}: {value}", err=True)
    sys.stdout.write(entry.body.decode("utf-8", "replace").rstrip("\n") + "\n")
    return None


@cache.command()
def purge(
    model: Annotated[str | None, typer.Option(help="Answers of this model.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Stored longer ago than that: 30m, 12h, 7d.")] = None,
    key: Annotated[str | None, typer.Option(help="Keys that begin like this.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    namespace: _Namespace = "",
    file: _File = None,
    json: _Json = False,
) -> None:
    """Delete entries that meet every condition given, and give the space back. Safe while engines run."""
    if not all_ and model is None and older_than is None and key is None:
        raise InputError("say what to purge: --model, --older-than, --key, or --all")
    chosen = _selection(model=model, older_than=older_than, key=key)
    with _open(file, namespace) as opened:
        entries, size_bytes = opened.count(chosen)
        if not dry_run:
            opened.purge(chosen)
    if json:
        return _print_json([{"entries": entries, "bytes": size_bytes, "dry_run": dry_run}])
    done = "would be deleted" if dry_run else "deleted"
    typer.echo(f"{entries} entries ({_size(size_bytes)}) {done}.")
    return None


@cache.command("explain-miss")
def explain_miss(
    body: Annotated[Path, typer.Argument(help="A request's body, as JSON.")],
    other: Annotated[Path | None, typer.Argument(help="Another one; without it, the nearest that is stored.")] = None,
    path: Annotated[str, typer.Option(help="Where it goes; by default as its fields say.")] = "",
    namespace: _Namespace = "",
    file: _File = None,
    json: _Json = False,
) -> None:
    """Which part of a request's key differs from another's, or from the nearest stored one's.

    Exit codes: 0 the key is the same, 1 it is not, 2 there is nothing to compare.
    """
    from headway.config import load_settings
    from headway.engine.explain import call_for, difference, nearest

    settings, asked = load_settings(), _read(body)
    path = path or _path_of(asked)
    call = call_for(settings, path, asked, namespace=namespace)
    if other is not None:
        found = difference(call, call_for(settings, path, _read(other), namespace=namespace))
        lines: list[dict[str, Any]] = [{"part": part, "one": one, "other": two} for part, one, two in found]
    else:
        with _open(file, namespace) as opened:
            close = nearest(call, ((row.key, row.parts) for row in opened.rows(limit=_NEAREST_OF)))
        if close is None:
            raise InputError("nothing comparable is stored")
        lines = [{"part": part, "nearest": close.key.hex()} for part in close.differs]
        if not json:
            typer.echo(f"Nearest of the youngest {_NEAREST_OF}: {close.key.hex()[:12]}", err=True)
    if json:
        _print_json(lines)
    elif lines:
        for line in lines:
            values = f": {line['one']} | {line['other']}" if "one" in line else " differs"
            typer.echo(f"{line['part']}{values}")
    else:
        typer.echo("The key is the same: whatever differs makes no difference to the cache.")
    if lines:
        raise typer.Exit(1)


def _path(file: Path | None) -> Path:
    from headway.config import load_settings, state_dir

    if file is not None:
        return file
    settings = load_settings()
    return Path(settings.cache_path) if settings.cache_path else state_dir(os.environ) / "cache.sqlite"


def _files(path: Path) -> dict[str, Path]:
    """Every named cache's file by its name, the default one's first, as far as they are there."""
    found = {"": path} if path.exists() else {}
    for beside in sorted(path.parent.glob(f"{path.stem}@*{path.suffix}")):
        found[beside.stem.partition("@")[2]] = beside
    if not found:
        raise ConfigError(f"there is no cache at {path}; name one with --file, or run something with cache = true")
    return found


def _open(file: Path | None, namespace: str) -> CacheFile:
    from headway.config.checks import CACHE_NAME
    from headway.engine.caches import cache_file
    from headway.store.cache_file import CacheFile

    if namespace and not CACHE_NAME.fullmatch(namespace):
        raise InputError(
            f'--namespace is a name of up to 64 letters, digits, "-", "_" or ".", a letter or digit first, '
            f"not {namespace[:80]!r}"
        )
    return CacheFile(cache_file(_path(file), namespace))


def _selection(*, model: str | None = None, older_than: str | None = None, key: str | None = None) -> Selection:
    from headway.store.purging import Selection

    if key is not None and not re.fullmatch("[0-9a-fA-F]{1,64}", key):
        raise InputError(f"a key is up to 64 hex digits, not {key!r}")
    before_s = time.time() - _seconds(older_than) if older_than is not None else None
    return Selection(model=model, stored_before_wall_s=before_s, key_prefix=key)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise InputError(f"--older-than is a number and s, m, h or d, such as 12h, not {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a file with a request's body") from None


def _line(row: CacheRow) -> dict[str, Any]:
    entry, now_s = row.entry, time.time()
    return {
        "key": row.key.hex(),
        "format": entry.format,
        "model": entry.model,
        "age_s": round(now_s - entry.stored_wall_s, 1),
        "ttl_s": round(entry.fresh_until_wall_s - now_s, 1),
        "bytes": row.size_bytes,
        "streamed": entry.streamed,
        "used": row.used,
        "dollars": entry.dollars,
    }


def _age(value_s: float) -> str:
    for unit_s, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if abs(value_s) >= unit_s:
            return f"{value_s / unit_s:.0f}{unit}"
    return f"{value_s:.0f}s"


def _size(value_bytes: float) -> str:
    for unit in ("B", "KB", "MB"):
        if value_bytes < 1000:
            return f"{value_bytes:.0f} {unit}" if unit == "B" else f"{value_bytes:.1f} {unit}"
        value_bytes /= 1000
    return f"{value_bytes:.1f} GB"


def _print_json(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        print_json(line)


def _print_table(names: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.text import Text

    from headway.report import format as fmt
    from headway.report.grid import grid

    table = grid("dim")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*[Text(fmt.printable(cell)) for cell in row])
    Console(highlight=False).print(table)


def _path_of(body: bytes) -> str:
    """Responses say "input", and embeddings do without a word on output; everything else talks in messages."""
    return "/v1/responses" if b'"input"' in body and b'"messages"' not in body else "/v1/chat/completions"
