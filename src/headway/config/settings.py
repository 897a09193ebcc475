"""What an engine can be told, and where it keeps what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from headway.attempt.upstreams import Upstream
from headway.policy.content import ContentRule
from headway.policy.limits import LimitSettings
from headway.policy.presets import LIMIT_PRESETS
from headway.types.secret import Secret

__all__ = ["CacheSettings", "Secret", "Settings", "state_dir"]


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A named cache, a table ``[caches.NAME]`` in headway.toml. None: as the default cache is set."""

    name: str
    """Letters, digits, "-", "_" and "."; what `Engine.send(namespace=...)` calls it."""
    ttl_s: float | None = None
    stale_if_error_s: float | None = None
    stale_while_revalidate_s: float | None = None
    memory_bytes_max: int | None = None
    disk_bytes_max: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine can be told. Times in seconds, sizes in bytes, money in US dollars; None means "none"."""

    # where to
    base_url: str = "https://api.openai.com/v1"
    """The provider's base URL, version included, as the SDKs write it."""
    api_key: Secret | None = None
    """The provider's key; never in a file."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key when none is given. Left as it is, the provider's own comes first
    where `base_url` is a known one's, such as ANTHROPIC_API_KEY."""
    # where else
    upstreams: tuple[Upstream, ...] = ()
    """Other providers, regions and keys that stand in: `[[upstream]]` entries; see `config.upstreams`."""
    objective: str = ""
    """Two of speed, quality and cost ("speed+cost"); the third yields. "": the fastest that works."""
    quality_min: float = 0.0
    """For latency classes in a model's place ("fast") that name no minimum of their own; 0-10."""
    rules: tuple[ContentRule, ...] = ()
    """What "auto" in a model's place stands for: `[[rule]]` entries, the first that fits."""
    # how long
    timeout_s: float = 600.0
    """From hand-over to answer, our own wait included. The SDKs' default."""
    connect_timeout_s: float = 5.0
    """Until a connection stands."""
    first_byte_timeout_s: float = 600.0
    """Until the first byte of an answer that is not streamed: all of its generation."""
    first_event_timeout_s: float = 60.0
    """Until the first byte of a stream."""
    first_content_timeout_s: float = 600.0
    """From sending to the first word of a streamed answer; pings do not count."""
    idle_timeout_s: float = 300.0
    """Between two chunks of an answer."""
    # how much at once
    connections_max: int = 1024
    """Open connections; tries beyond it wait for one."""
    queue_max: int = 100_000
    """Tries that wait for one provider's limits; one more is refused."""
    reply_bytes_max: int = 64 * 1024 * 1024
    """The largest answer."""
    # limits: learned where they are not given, and learned ones win
    limits: str = ""
    """A preset of published limits, such as "openai/tier-1"; "" to learn them; "off" to wait for none, to measure."""
    requests_per_min: float | None = None
    """The same in a number; it wins over the preset's."""
    tokens_per_min: float | None = None
    """Likewise, input and output together."""
    # trying again
    attempts_max: int = 3
    """Tries per call; 1 switches retries off, those after a 429 too."""
    hedge_ratio: float = 0.0
    """Share of the dollars that may go to backups of late calls, such as 0.02; 0 for no backups."""
    # not asking twice
    cache: str = "off"
    """"off", "memory", "disk" (memory in front of SQLite), "redis" (memory in front of Redis), or "disk+redis" (all
    three). True and False are read as "disk" and "off"."""
    cache_ttl_s: float = 86_400.0
    """How long an answer is fresh, give or take 10 %."""
    cache_stale_if_error_s: float = 604_800.0
    """How long past that it may stand in for a provider that fails."""
    cache_stale_while_revalidate_s: float = 0.0
    """How long past fresh it is served at once while a new one is fetched behind it."""
    cache_memory_bytes_max: int = 256 * 1024 * 1024
    """Size of the memory tier."""
    cache_disk_bytes_max: int = 4 * 1024 * 1024 * 1024
    """Size of the SQLite tier."""
    cache_path: str = ""
    """The SQLite file; "" for cache.sqlite in the state directory. Named caches have files beside it."""
    cache_replay: str = "instant"
    """How a stored stream is played: "instant", or "paced" as it once came."""
    caches: tuple[CacheSettings, ...] = ()
    """Named caches; given as a mapping from name to a mapping of their own settings."""
    redis_url: Secret | None = None
    """Where Redis is, "redis://host:6379/0", none for this machine; with a password never in a file."""
    redis_timeout_s: float = 0.25
    """What asking Redis may take before it is left alone for a while."""
    redis_flights: bool = True
    """With Redis: processes that ask the same at the same time share one answer."""
    redis_limits: bool = True
    """Share the provider's limits with the other processes on that Redis: together they keep within them."""
    # the provider's prompt cache
    prompt_cache: str = "off"
    """"auto" arranges requests for it where that pays; see `attempt.prefix` and `engine.fan`."""
    # several to a prompt
    prompt_grouping: str = "off"
    """"load" sends small requests of priority "low" several to a prompt while requests wait for the provider's limits;
    "always" also while none do; see `attempt.group`."""
    # money
    budget_usd: float | None = None
    """Dollars that one engine may spend."""
    budget_tokens: int | None = None
    """Tokens that it may use, input and output together."""
    # the record
    log: str = "on"
    """"on", "off", or the call log's file; "on" is calls.sqlite in the state directory."""
    log_rows_max: int = 1_000_000
    """Rows that are kept; the oldest go first."""
    log_prompts: bool = False
    """Keep prompts and answers in the call log. Off: they are nowhere but in the caches."""
    log_level: str = "warning"
    """What goes to the structured log on stderr: debug (every call), info, warning (failures), off."""
    log_format: str = "auto"
    """Its lines: "json", "console", or "auto": JSON unless stderr is a terminal."""
    # metrics and traces
    otel: str = "off"
    """"on" makes OpenTelemetry's spans and metrics of every call, with the SDK that the program (or the gateway, by
    OTEL_* variables) has set up."""
    metrics: str = "key"
    """Who reads /metrics of a gateway that has keys: "key", whoever has an operator's; "loopback", also any program
    of its own machine."""
    metrics_keys: bool = False
    """Also count by the id of the gateway's key."""
    # dice
    seed: int | None = None
    """Seeds back-off jitter, ids and cache jitter; for simulations. None given: from the operating system."""

    def cache_named(self, name: str) -> CacheSettings | None:
        """The settings of a named cache, those of the default one for ""; None when there is no such cache."""
        found = CacheSettings(name="") if not name else next((one for one in self.caches if one.name == name), None)
        if found is None:
            return None
        own = {field: getattr(self, f"cache_{field}") for field in CacheSettings.__struct_fields__[1:]}
        return CacheSettings(**own | {k: v for k, v in msgspec.structs.asdict(found).items() if v is not None})

    def limit_settings(self) -> LimitSettings:
        """The limits that are known beforehand."""
        known = LIMIT_PRESETS.get(self.limits, LimitSettings())
        return LimitSettings(
            requests_per_min=self.requests_per_min or known.requests_per_min,
            tokens_per_min=self.tokens_per_min or known.tokens_per_min,
            capacity_s=known.capacity_s,
            paced=known.paced,
        )


def state_dir(environ: Mapping[str, str]) -> Path:
    """Where caches and the call log live: $HEADWAY_HOME, else $XDG_STATE_HOME/headway, else ~/.local/state/headway."""
    if home := environ.get("HEADWAY_HOME"):
        return Path(home).expanduser()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "headway"
