"""Every metric by name: what kind it is, what it says, and by which labels. Pages, dashboards and rules are held to it.

Names follow Prometheus' conventions: base units (seconds, dollars, bytes), counters end in ``_total``. No label names a
user or a key, and none takes more values than `LABELS_MAX`: what comes after that is "other".
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = ["FAMILIES", "GAUGES", "LABELS_MAX", "OTHER", "SECONDS", "SECONDS_SHORT", "UNPROVEN_MAX", "Family", "by_name"]

LABELS_MAX: Final = 100
"""Models, routes with models, upstreams, pipelines' steps, keys: of each this many at most."""
UNPROVEN_MAX: Final = 20
"""Of those, models that no call was answered for: clients write what they like into a request."""
OTHER: Final = "other"

SECONDS: Final = tuple(round(0.01 * 2**n, 5) for n in range(-3, 17))
"""1.25 ms (a kept answer) to 655.36 s (past the longest patience). From 10 ms to 81.92 s these are the bounds that
OpenTelemetry's conventions give. Source: FACTS section 8."""
SECONDS_SHORT: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.3, 1.0, 3.0)
"""Between two tokens: models write 10 to 1,000 a second."""

_ASKED: Final = ("route", "model")


class Family(msgspec.Struct, frozen=True):
    """One metric. `bounds` are a histogram's upper bounds, without the last one."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()
    over: Literal["sum", "max", "min"] = "sum"
    """How several processes' values of a gauge become one."""

    @property
    def in_nanos(self) -> bool:
        """Whether a state counts it in whole billionths of a second or a dollar."""
        return self.kind != "gauge" and ("_seconds" in self.name or "_dollars" in self.name)


FAMILIES: Final = (
    Family(
        "headway_requests_total",
        "counter",
        (*_ASKED, "outcome", "status_class"),
        "Calls that have ended. status_class: 2xx, 4xx, 5xx, or none where there was no answer.",
    ),
    Family(
        "headway_request_duration_seconds",
        "histogram",
        _ASKED,
        "From hand-over to the end of the answer, our own wait included.",
        SECONDS,
    ),
    Family(
        "headway_time_to_first_token_seconds",
        "histogram",
        _ASKED,
        "From hand-over to the first content, of streamed answers.",
        SECONDS,
    ),
    Family(
        "headway_time_per_output_token_seconds",
        "histogram",
        _ASKED,
        "Between output tokens after the first one, of streamed answers of a provider.",
        SECONDS_SHORT,
    ),
    Family(
        "headway_wait_seconds",
        "histogram",
        ("model",),
        "What calls waited on our side: queue, pacing, budgets and back-off.",
        SECONDS,
    ),
    Family(
        "headway_cache_results_total",
        "counter",
        ("tier",),
        "Whole answers by where they came from: memory, sqlite, redis, stale, joined, or miss, refresh, off.",
    ),
    Family(
        "headway_saved_dollars_total",
        "counter",
        ("layer",),
        "What calls would have cost that a cache answered, or another's call: by layer.",
    ),
    Family(
        "headway_attempts_total",
        "counter",
        ("upstream", "outcome"),
        "Tries that were sent, or failed to connect. What never left here (own budget, limits, queue) is no try.",
    ),
    Family("headway_throttled_total", "counter", ("upstream",), "Tries that were throttled by the provider (429)."),
    Family(
        "headway_attempt_duration_seconds",
        "histogram",
        ("upstream",),
        "From sending a try to its end: the provider's part and the network's.",
        SECONDS,
    ),
    Family(
        "headway_tokens_total",
        "counter",
        ("model", "kind"),
        "Tokens of all tries. Kinds are apart and add up: input, input_cached, input_cache_write, output, "
        "output_reasoning.",
    ),
    Family("headway_dollars_total", "counter", ("model",), "What tries cost, where prices are known."),
    Family("headway_unpriced_attempts_total", "counter", ("model",), "Tries whose cost is not known."),
    Family(
        "headway_wasted_dollars_total",
        "counter",
        ("layer",),
        "Paid for tries that gave no answer: retry (it failed), hedge (another try was sooner), abandoned (nobody "
        "waited any more).",
    ),
    Family(
        "headway_pipeline_step_duration_seconds",
        "histogram",
        ("pipeline", "step"),
        "What a pipeline's steps took; at the gateway, what the calls took that clients tagged with a step.",
        SECONDS,
    ),
    Family("headway_pipeline_steps_total", "counter", ("pipeline", "step", "outcome"), "Steps that have ended."),
    Family(
        "headway_pipeline_run_duration_seconds", "histogram", ("pipeline",), "What whole runs of a pipeline took.",
        SECONDS,
    ),
    Family("headway_pipeline_runs_total", "counter", ("pipeline", "outcome"), "Runs of a pipeline that have ended."),
    Family(
        "headway_refused_total",
        "counter",
        ("code",),
        "Requests and connections that the gateway turned away before they became calls.",
    ),
    Family(
        "headway_key_requests_total",
        "counter",
        ("key", "outcome"),
        "Calls by the id of the gateway's key; only with metrics_keys.",
    ),
    Family(
        "headway_key_dollars_total", "counter", ("key",), "What they cost; only with metrics_keys.",
    ),
    Family(
        "headway_log_rows_dropped_total",
        "counter",
        (),
        "Rows that are not in the call log: its queue was full, or the disk refused.",
    ),
    Family("process_cpu_seconds_total", "counter", (), "CPU time of all workers, user and system."),
)  # fmt: skip
"""What only grows, over all workers and all engines they have had."""

GAUGES: Final = (
    Family("headway_in_flight", "gauge", (), "Answers that are being fetched."),
    Family("headway_queued", "gauge", ("priority",), "Tries that wait for a provider's limits."),
    Family(
        "headway_limit_use_ratio",
        "gauge",
        ("upstream", "scope", "kind"),
        "How much of a provider's limit is used, 0 to 1; the worker that knows the most.",
        over="max",
    ),
    Family(
        "headway_limit_per_minute",
        "gauge",
        ("upstream", "scope", "kind"),
        "The limit, where it is known: requests or tokens a minute.",
        over="max",
    ),
    Family(
        "headway_breaker_state",
        "gauge",
        ("upstream", "state"),
        "How many workers' breakers are closed, half-open or open.",
    ),
    Family("headway_budget_dollars", "gauge", (), "What may be spent (budget_usd), over all workers."),
    Family("headway_budget_spent_dollars", "gauge", (), "What is spent of it."),
    Family("headway_workers", "gauge", (), "Processes that answered for this page."),
    Family("headway_build_info", "gauge", ("version", "python"), "Always 1.", over="max"),
    Family("process_resident_memory_bytes", "gauge", (), "Resident memory of all workers."),
    Family("process_open_fds", "gauge", (), "Open file descriptors of all workers."),
    Family("process_max_fds", "gauge", (), "How many one worker may have open.", over="max"),
    Family("process_start_time_seconds", "gauge", (), "When the eldest worker started, Unix seconds.", over="min"),
)
"""What is so at the moment."""


def by_name() -> dict[str, Family]:
    """All of them."""
    return {family.name: family for family in (*FAMILIES, *GAUGES)}
