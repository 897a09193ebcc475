"""What an engine makes of a path and a body: the call, with its target, the engine's own headers, and a trace."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Literal

from msgspec.structs import replace

from headway.attempt.route import target_of
from headway.config import Settings
from headway.engine.arguments import PRIORITIES, own_headers
from headway.errors import ConfigError
from headway.policy.fingerprint import tenant_of
from headway.types import Call, Headers, RequestView, Tags, Trace
from headway.wire import model_in_path, reader_for
from headway.wire.base import Reader
from headway.wire.endpoints import own_credential

__all__ = ["Calls", "default_headers", "refreshing"]

TARGETS_MAX = 256


class Calls:
    """Makes an engine's own calls. Paths are few, so what follows from one is kept."""

    __slots__ = ("_settings", "_targets")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._targets: dict[str, tuple[str, str, Reader | None, Headers, str]] = {}

    def make(
        self,
        trace: Trace,
        path: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        mode: Literal["on", "off", "refresh"] = "off",
        deadline_s: float | None = None,
        priority: int | Literal["low", "normal", "high"] = 0,
        tags: Tags | None = None,
    ) -> Call:
        """See `Engine.send`; `trace` becomes the call's own.

        Raises:
            ConfigError: The path, a header or the tags are wrong.
        """
        origin, target, reader, sent, tenant = self._targets.get(path) or self._find(path)
        if headers:
            own = own_headers(headers)
            sent = (*(pair for pair in sent if pair[0] not in own), *own.items())
            tenant = tenant_of(sent)
        view = reader.read_request(data, sent) if reader is not None else RequestView()
        if not view.model and reader is not None:
            view = replace(view, model=model_in_path(target))
        trace.path = target.partition("?")[0]  # logged: a query may hold a credential
        trace.format, trace.model, trace.stream = view.format, view.model, view.stream
        trace.output_tokens_max, trace.tenant, trace.body_bytes = view.output_tokens_max, tenant[:16], len(data)
        trace.cache = "off"
        trace.upstream = origin
        if tags is not None:
            if not isinstance(tags, Tags):
                raise ConfigError(f"tags must be a headway.Tags, such as Tags(run=...), not {type(tags).__name__}")
            trace.tags = tags
        return Call(
            origin=origin,
            path=target,
            headers=sent,
            body=data,
            view=view,
            trace=trace,
            tenant=tenant,
            cache_mode=mode,
            deadline_at_s=trace.started_at_s + min(inf if deadline_s is None else deadline_s, self._settings.timeout_s),
            priority=priority if isinstance(priority, int) else PRIORITIES[priority],
            attempts_max=self._settings.attempts_max,
            tags=trace.tags,
        )

    def _find(self, path: str) -> tuple[str, str, Reader | None, Headers, str]:
        if not path.startswith("/") or any(c <= " " for c in path):
            raise ConfigError(f"path {path!r} must start with a slash and hold no white space, e.g. /v1/responses")
        if len(self._targets) >= TARGETS_MAX:
            self._targets.clear()  # paths with ids in them: start over rather than grow
        origin, target = target_of(self._settings.base_url, path)
        headers = default_headers(self._settings, target)
        found = self._targets[path] = origin, target, reader_for(target), headers, tenant_of(headers)
        return found


def refreshing(call: Call, trace: Trace) -> Call:
    """The call anew, as one of its own that nobody waits for: what it fetches takes the cached answer's place."""
    for name in ("path", "format", "model", "stream", "output_tokens_max", "tenant", "upstream", "tags"):
        setattr(trace, name, getattr(call.trace, name))
    return replace(call, trace=trace, cache_mode="refresh", deadline_at_s=inf, allowance=None)


def default_headers(settings: Settings, path: str) -> Headers:
    """What the engine's own calls to a path carry: its format says how the key is told."""
    key = settings.api_key.reveal() if settings.api_key is not None else ""
    return (
        ("content-type", "application/json"),
        ("accept", "application/json"),
        ("user-agent", "headway"),
        *own_credential(path, key),
    )
