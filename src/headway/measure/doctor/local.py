"""This machine: where Headway writes, what it has written, Redis, and what is installed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from headway.config import Settings, state_dir
from headway.engine.caches import cache_file
from headway.errors import ConfigError
from headway.measure.doctor.finding import Finding, failure, ok, skipped, warning
from headway.report import format as fmt

__all__ = ["caches", "call_log", "extras", "redis", "state"]

MIB: Final = 1 << 20
FREE_BYTES_MIN: Final = 64 * MIB
"""Less than this is full for a database that writes ahead."""
FREE_BYTES_LOW: Final = 1024 * MIB
_REQUIRED: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[([\w,-]+)\])?[^;]*;\s*extra == ['\"]([\w-]+)['\"]")
"""What is for some machines only has more conditions than the extra, and is left out: it may rightly be missing."""


def state(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Whether the state directory can be written, and how much room is left there; nothing is made."""
    folder = state_dir(environ)
    place = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    remedy = "make it writable, or name another in HEADWAY_HOME"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return failure("state", f"{folder}: cannot be written", remedy)
    free_bytes = shutil.disk_usage(place).free
    room = f"{free_bytes / MIB:,.0f} MiB free"
    if free_bytes < FREE_BYTES_MIN:
        return failure(
            "state", f"{folder}: {room}", "make room, or name another disk in HEADWAY_HOME", free_bytes=free_bytes
        )
    wanted_bytes = _cache_bytes_max(settings) or FREE_BYTES_LOW
    if free_bytes < wanted_bytes:
        remedy = "make room, or lower cache_disk_bytes_max" if wanted_bytes > FREE_BYTES_LOW else "make room"
        text = f"{folder}: {room}, and it may come to {wanted_bytes / MIB:,.0f} MiB"
        return warning("state", text, remedy, free_bytes=free_bytes)
    begun = "" if folder.exists() else ", made when it is needed"
    return ok("state", f"{folder}: writable, {room}{begun}", free_bytes=free_bytes)


def _cache_bytes_max(settings: Settings) -> int:
    """What the caches on disk may come to."""
    if "disk" not in settings.cache:
        return 0
    found = [settings.cache_named(name) for name in ("", *(one.name for one in settings.caches))]
    return sum((one.disk_bytes_max or 0) for one in found if one is not None)


def call_log(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Whether the call log can be read, and how large it is."""
    from headway.store.call_reader import CallLogReader

    if settings.log == "off":
        return ok("call log", "off")
    path = state_dir(environ) / "calls.sqlite" if settings.log == "on" else Path(settings.log)
    if not path.exists():
        return ok("call log", f"{path}: none yet")
    try:
        with CallLogReader(path) as reader:
            reader.calls(limit=1)
    except ConfigError as error:
        return warning("call log", fmt.printable(str(error)), "name another with log, or move this one away")
    return ok("call log", f"{path}: {_size(path)}", size_bytes=path.stat().st_size)


def caches(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the caches on disk can be read, and how full they are."""
    from headway.store.cache_file import CacheFile

    if "disk" not in settings.cache:
        yield ok("cache", settings.cache)
        return
    first = Path(settings.cache_path) if settings.cache_path else state_dir(environ) / "cache.sqlite"
    for name in ("", *(one.name for one in settings.caches)):
        path = cache_file(first, name)
        if not path.exists():
            yield ok("cache", f"{path}: none yet")
            continue
        try:
            with CacheFile(path) as file:
                totals = file.totals()
        except ConfigError as error:
            yield warning("cache", fmt.printable(str(error)), "it is made anew when next used; nothing is to be done")
            continue
        text = f"{path}: {fmt.count(totals.entries)} answers, {_size(path)}"
        yield ok("cache", text, entries=totals.entries, size_bytes=path.stat().st_size)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / MIB:,.1f} MiB"


async def redis(settings: Settings) -> Finding | None:
    """Whether Redis answers, and how soon; None where nothing asks it."""
    if "redis" not in settings.cache:
        if settings.redis_url is None:
            return None
        return warning(
            "redis", f'redis_url is set, and cache = "{settings.cache}" has no use for it', 'set cache = "redis"'
        )
    from headway.store.redis_link import RedisDown, RedisLink

    url = settings.redis_url.reveal() if settings.redis_url is not None else "redis://127.0.0.1:6379/0"
    said: list[str] = []
    try:
        link = RedisLink(url, timeout_s=max(1.0, settings.redis_timeout_s), on_error=said.append)
    except ConfigError as error:
        return failure("redis", str(error), "install it, or choose another cache")
    loop = asyncio.get_running_loop()
    try:
        await link.ask(lambda client: client.ping())  # the first one connects
        start_s = loop.time()
        await link.ask(lambda client: client.ping())
        took_s = loop.time() - start_s
    except RedisDown:
        reason = fmt.printable(said[0].partition("; going on")[0]) if said else f"{link.where} does not answer"
        return failure("redis", reason, "start it, or mend redis_url; until then Headway goes on without it")
    finally:
        await link.aclose()
    text = f"{link.where}: answers in {fmt.seconds(took_s)}"
    if took_s > settings.redis_timeout_s:
        return warning("redis", text, "raise redis_timeout_s, or have it nearer", answer_s=took_s)
    return ok("redis", text, answer_s=took_s)


def extras() -> Finding:
    """Which of the package's extras are installed: one is where all that it names is."""
    try:
        lines = requires("headway") or []
    except PackageNotFoundError:
        return skipped("extras", "the package's own description is not installed")
    wanted: dict[str, set[str]] = {}
    parts: dict[str, set[str]] = {}
    for line in lines:
        if (found := _REQUIRED.match(line)) is not None and found[3] != "dev":
            wanted.setdefault(found[3], set())
            if found[1] == "headway":
                parts.setdefault(found[3], set()).update((found[2] or "").split(","))
            else:
                wanted[found[3]].add(found[1])

    def is_there(name: str) -> bool:
        return all(map(_is_installed, wanted.get(name, ()))) and all(map(is_there, parts.get(name, ())))

    there = sorted(filter(is_there, wanted))
    missing = sorted(set(wanted) - set(there))
    text = f"installed: {', '.join(there) or 'none'}"
    if missing:
        text += f"; not installed: {', '.join(missing)} (pip install 'headway[{missing[0]}]')"
    return ok("extras", text)


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
