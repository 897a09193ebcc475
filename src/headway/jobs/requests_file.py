"""A file of requests, opened: what its first rows say about all, and which of its ids come more than once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from headway.errors import ConfigError, HeadwayError, InputError
from headway.jobs.detect import Format
from headway.jobs.index import Index
from headway.jobs.source import Source, SourceRow, open_source
from headway.prompts.output import Api
from headway.prompts.requests import First, Requests, first_request

__all__ = ["Ids", "RequestsFile", "open_requests"]

_LOOKED_AT: Final = 64
"""So many rows are looked at for the first request; of files all of them, for the models' names."""
_ID_CHARS_MAX: Final = 100


class Ids:
    """Counts ids as rows are read. Memory: about 18 bytes each."""

    def __init__(self) -> None:
        self.repeated = 0
        """Rows whose id an earlier row had."""
        self.first = ""
        """The first such id."""
        self._seen = Index()

    def watch(self, rows: Iterator[SourceRow]) -> Iterator[SourceRow]:
        """The same rows, counted."""
        for row in rows:
            name = row.row.get("custom_id")
            if isinstance(name, str) and self._seen.count(name):
                self.repeated += 1
                self.first = self.first or name
            yield row

    def warning(self) -> str:
        """A sentence when ids were repeated; else ""."""
        if not self.repeated:
            return ""
        rows, have = ("row", "has") if self.repeated == 1 else ("rows", "have")
        named = repr(self.first)[:_ID_CHARS_MAX]
        return (
            f"{self.repeated:,} {rows} {have} a custom_id that an earlier row has, the first of them {named}; each is "
            "answered in its own line"
        )


class RequestsFile(NamedTuple):
    """A file of requests, its head read."""

    source: Source
    """From the first row on."""
    task: Requests
    ids: Ids


def open_requests(
    name: str, *, kind: Format | None = None, rows_max: int | None = None, api: Api | None = None, sure: bool = True
) -> RequestsFile | None:
    """Open a file of requests.

    Args:
        name: As for `open_source`.
        kind: As for `open_source`.
        rows_max: As for `open_source`.
        api: What the rows are requests of; None: as the first one says.
        sure: It is said to be such a file. False: find out, by a first row that has a `custom_id`, too.

    Returns:
        None: it turned out to be none.

    Raises:
        InputError: The file cannot be read, or none of its first rows is a request.
        ConfigError: Its requests are of another API than `api`, or of one that jobs have no use for.
    """
    source = open_source(name, kind=kind, rows_max=rows_max)
    try:
        head, first = _head(source, sure)
        if not sure and (first is None or source.format != "jsonl"):
            source.close()
            return None
        task = _task(source, head, first, api)
    except HeadwayError:
        source.close()
        raise
    ids = Ids()
    return RequestsFile(source._replace(rows=ids.watch(chain(head, source.rows))), task, ids)


def _head(source: Source, sure: bool) -> tuple[list[SourceRow], First | None]:
    """The first rows, and the first request among them."""
    head: list[SourceRow] = []
    for row in islice(source.rows, _LOOKED_AT):
        head.append(row)
        if row.problem:
            continue
        first = first_request(row.row) if sure or "custom_id" in row.row else None
        if first is not None or not sure:
            if first is not None and not source.waits:
                head.extend(islice(source.rows, _LOOKED_AT - len(head)))
            return head, first
    return head, None


def _task(source: Source, head: list[SourceRow], first: First | None, api: Api | None) -> Requests:
    if first is None and api is None:
        raise InputError(
            f"{source.name} is no file of requests: none of its first {len(head):,} rows has an object named 'body' "
            "(or 'params')"
        )
    found = first or First(None, "", "")
    if api is not None and found.api not in (None, api):
        raise ConfigError(f"{source.name} holds requests of the {found.api} API, not of {api}; leave --api out")
    said = found.api or api
    if said is None:
        raise InputError(f"{source.name} does not say what its requests are of; name it with --api")
    models = {one.model for row in head if (one := _read(row)) is not None and one.model}
    model = "several models" if len(models) > 1 else next(iter(models), "unknown")
    return Requests(api=said, model=model, url=found.url, where=source.name)


def _read(row: SourceRow) -> First | None:
    try:
        return None if row.problem else first_request(row.row)
    except ConfigError:
        return None  # its own url is wrong: the row will say so
