"""`headway keys`: who may use the gateway, for what, how fast, and for how much."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.cli.ending import exits, print_json, print_table, reader_may_leave

if TYPE_CHECKING:
    from rich.console import Console

    from headway.gateway.keys import KeyStore
    from headway.policy.keys import Key
    from headway.types.secret import Secret

__all__ = ["keys"]

_HELP = """
Make, list and end the keys of the gateway, and see what they spent.

A key is shown once, when it is made: only a digest of it is kept. A gateway that runs takes and refuses keys within a \
second of the command.

Examples:

  headway keys create me --admin

  headway keys create app --model 'gpt-5*' --rpm 600 --dollars-per-day 20 --expires 90d

  headway keys rotate app --grace 24h

  headway keys spend --month 2026-11 > november.csv

Exit codes: 0 done, 2 the call is wrong (a name, an amount, the file).
"""

keys = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode="rich")

_Name = Annotated[str, typer.Argument(help="The key's name, or its id.")]
_File = Annotated[Path | None, typer.Option("--file", help="The keys; by default keys.sqlite in the state directory.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_GLOB = re.compile(r"[!-~]{1,200}")
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
_TIMES = ("created_wall_s", "expires_wall_s", "revoked_wall_s")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called: letters, digits, '.', '_', '@' and '-'.")],
    model: Annotated[list[str] | None, typer.Option(help="A model it may ask, such as 'gpt-5*'; all of them.")] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="A path it may use, such as '/v1/batches*'; those of models.")
    ] = None,
    rpm: Annotated[float | None, typer.Option(help="Requests a minute.")] = None,
    tpm: Annotated[float | None, typer.Option(help="Tokens a minute.")] = None,
    dollars_per_day: Annotated[str | None, typer.Option(help="For a day (UTC), such as 20usd.")] = None,
    dollars_per_month: Annotated[str | None, typer.Option(help="For a calendar month (UTC).")] = None,
    expires: Annotated[str | None, typer.Option(help="How long it holds: 12h, 90d.")] = None,
    priority: Annotated[str, typer.Option(help="Its requests': low, normal, high or a number; at most.")] = "normal",
    parent: Annotated[str, typer.Option(help="A key whose rights and limits bound this one's.")] = "",
    share: Annotated[str, typer.Option(help="Keys of one such group share kept answers.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May see the dashboard.")] = False,
    file: _File = None,
    json: _Json = False,
) -> None:
    """Make a key, and print it: this once.

    For example:

      headway keys create app --model 'gpt-5*' --rpm 600 --dollars-per-day 20

      headway keys create nightly --parent app --priority low --path '/v1/files*' --path '/v1/batches*'
    """
    with exits("keys create"):
        made = _described(
            name=name, models=model, paths=path, rpm=rpm, tpm=tpm, day=dollars_per_day, month=dollars_per_month,
            expires=expires, priority=priority, parent=parent, share=share, admin=admin,
        )  # fmt: skip
        with _open(file, make=True) as store:
            _show_new(*store.create(made), json=json, file=store.path)


@keys.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    file: _File = None,
    json: _Json = False,
) -> None:
    """Show keys, their rights and limits; what lets anybody in is not among it."""
    import time

    from headway.policy.keys import ends_wall_s

    with exits("keys list"):
        with _open(file) as store:
            known = store.known()
        now_s = time.time()
        found = sorted(known.keys.values(), key=lambda key: (key.name, key.created_wall_s))
        ended = {key.id for key in found if not (chain := known.chain(key.id)) or ends_wall_s(chain) <= now_s}
        shown = [key for key in found if all_ or key.id not in ended]
        if json:
            for key in shown:
                texts = [secret.id for secret in known.secrets.values() if secret.key == key.id]
                print_json(_plain(key) | {"ended": key.id in ended, "texts": [f"hw-{text}-..." for text in texts]})
            return
        names = {key.id: key.name for key in found}
        taken: dict[str, str] = {}
        for secret in known.secrets.values():
            if secret.until_wall_s > now_s:
                taken[secret.key] = f"{taken.get(secret.key, '')} hw-{secret.id}-...".lstrip()
        rows = [_row(key, names, now_s, taken.get(key.id, ""), ended=key.id in ended) for key in shown]
        with reader_may_leave():
            print_table(lambda console, _: _table(console, rows), width_min=100)


@keys.command()
def revoke(name: _Name, file: _File = None, json: _Json = False) -> None:
    """End a key, and those below it, for good. A running gateway refuses it within a second."""
    with exits("keys revoke"), _open(file) as store:
        ended = store.revoke(name)
        if json:
            print_json(_plain(ended))
        else:
            typer.echo(f"The key {ended.name!r} (id {ended.id}) is revoked.")


@keys.command()
def rotate(
    name: _Name,
    grace: Annotated[str, typer.Option(help="How long the old text is still taken: 0, 30m, 24h.")] = "24h",
    file: _File = None,
    json: _Json = False,
) -> None:
    """Give a key another text, and print it. Rights, limits and what was spent stay."""
    with exits("keys rotate"):
        from headway.cli.amounts import seconds_of

        grace_s = 0.0 if grace.strip() == "0" else seconds_of(grace, "--grace")
        with _open(file) as store:
            _show_new(*store.rotate(name, grace_s=grace_s), json=json, file=store.path)


@keys.command()
def spend(
    name: Annotated[str, typer.Argument(help="A key's name, or its id; all of them.")] = "",
    month: Annotated[str, typer.Option(help="Such as 2026-11; all of them.")] = "",
    file: _File = None,
    json: _Json = False,
) -> None:
    """What each key spent in each month, as CSV; that of the keys below it is in it.

    Requests are those that were sent to a provider: what was kept cost nothing. Gateways that run write it down a few
    times a second.
    """
    import csv

    from headway.errors import InputError

    with exits("keys spend"):
        if month and not _MONTH.fullmatch(month):
            raise InputError(f"--month is a year and a month such as 2026-11, not {month[:40]!r}")
        with _open(file) as store:
            rows = store.spend(month, name)
        with reader_may_leave():
            if json:
                for row in rows:
                    print_json(row)
                return
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(["month", "key", "name", "dollars", "tokens", "requests"])
            for row in rows:
                writer.writerow((row.month, row.key, row.name, f"{row.dollars:.6f}", row.tokens, row.requests))


def _open(file: Path | None, *, make: bool = False) -> KeyStore:
    from headway.errors import ConfigError
    from headway.gateway.keys import KeyStore, default_path

    path = file or default_path(os.environ)
    if not make and not path.exists():
        raise ConfigError(f"there are no keys at {path}; make one with headway keys create, or name a file with --file")
    return KeyStore(path)


def _described(
    *, name: str, models: list[str] | None, paths: list[str] | None, rpm: float | None, tpm: float | None,
    day: str | None, month: str | None, expires: str | None, priority: str, parent: str, share: str, admin: bool,
) -> Key:  # fmt: skip
    """What is to be made."""
    import time
    from math import inf, isfinite

    from headway.cli.amounts import dollars_of, seconds_of
    from headway.engine.inbound import read_control
    from headway.errors import InputError
    from headway.policy.keys import PATHS, Key

    for what, text in (("a name", name), ("--share", share or "a")):
        if not _NAME.fullmatch(text):
            raise InputError(
                f"{what} is up to 64 letters, digits, '.', '_', '@' and '-', a letter or digit first, not {text[:80]!r}"
            )
    for what, globs in (("--model", models), ("--path", paths)):
        for glob in globs or ():
            if not _GLOB.fullmatch(glob) or (what == "--path" and not glob.startswith("/v1")):
                raise InputError(f"{what} {glob[:80]!r} can match nothing; write it as gpt-5* or /v1/batches*")
    for what, limit in (("--rpm", rpm), ("--tpm", tpm)):
        if limit is not None and not (isfinite(limit) and limit > 0):
            raise InputError(f"{what} is a number above 0, not {limit}")
    return Key(
        id="",
        name=name,
        expires_wall_s=inf if expires is None else time.time() + seconds_of(expires, "--expires"),
        parent=parent,
        models=tuple(models or ("*",)),
        paths=tuple(paths or PATHS),
        requests_per_min=rpm or inf,
        tokens_per_min=tpm or inf,
        dollars_per_day=inf if day is None else dollars_of(day, "--dollars-per-day"),
        dollars_per_month=inf if month is None else dollars_of(month, "--dollars-per-month"),
        priority=read_control((("headway-priority", priority),)).priority,
        share=share,
        admin=admin,
    )


def _show_new(key: Key, text: Secret, *, json: bool, file: Path) -> None:
    """The text goes to stdout, alone; the only place where it is ever shown."""
    if json:
        print_json(_plain(key) | {"text": text.reveal()})
        return
    typer.echo(f"The key {key.name!r} (id {key.id}), shown this once; its digest is in {file}:", err=True)
    typer.echo(text.reveal())


def _plain(key: Key) -> dict[str, Any]:
    """A key for programs; no limit is null, times are ISO 8601."""
    import msgspec

    found = {field: None if value == float("inf") else value for field, value in msgspec.structs.asdict(key).items()}
    for field in _TIMES:
        value = found.pop(field)
        found[field.removesuffix("_wall_s")] = None if value is None else _date(value)
    return found


def _date(wall_s: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _row(key: Key, names: dict[str, str], now_s: float, text: str, *, ended: bool) -> list[str]:
    from math import inf

    limits = [
        f"{value:,g} {unit}"
        for value, unit in (
            (key.requests_per_min, "rpm"), (key.tokens_per_min, "tpm"), (key.dollars_per_day, "$/day"),
            (key.dollars_per_month, "$/month"),
        )
        if value < inf
    ]  # fmt: skip
    if key.revoked_wall_s <= now_s:
        state = "revoked"
    elif ended:
        state = "ended"
    else:
        state = "until " + _date(key.expires_wall_s)[:10] if key.expires_wall_s < inf else "stands"
    notes = [*(["admin"] if key.admin else []), *([f"below {names.get(key.parent, '?')}"] if key.parent else [])]
    return [
        key.name, key.id, text, state, " ".join(key.models), ", ".join(limits) or "no limits", ", ".join(notes)
    ]  # fmt: skip


def _table(console: Console, rows: list[list[str]]) -> None:
    from rich.text import Text

    from headway.report import format as fmt
    from headway.report.grid import grid

    table = grid("dim")
    for name in ("name", "id", "text", "state", "models", "limits", ""):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*[Text(fmt.printable(cell)) for cell in row])
    console.print(table)
