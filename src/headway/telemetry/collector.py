"""States as prometheus-client's metric families: the counting is ours, the format the library's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from headway.errors import ConfigError
from headway.telemetry.families import FAMILIES, GAUGES, Family
from headway.telemetry.gauges import gauges
from headway.telemetry.meters import Meters
from headway.telemetry.states import NANO, State, merged

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise ConfigError("prometheus-client is not installed; run: pip install 'headway[prometheus]'") from None

__all__ = ["MetersCollector", "OneFamily", "exposed"]


class MetersCollector(Collector):
    """Shows a process's own meters in a registry of prometheus-client. Made by `Meters.collector`."""

    def __init__(self, meters: Meters, snapshot: Callable[[], Mapping[str, Any]] | None) -> None:
        self._meters = meters
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """The families that have something to say."""
        now = gauges([self._snapshot()] if self._snapshot is not None else [])
        state = merged((self._meters.state(), now))
        return (metric for metric in exposed(state) if metric.name.startswith("headway_"))

    def describe(self) -> Iterable[Metric]:
        """Names alone, for the registry to find doubles."""
        return [_empty(family) for family in (*FAMILIES, *GAUGES) if family.name.startswith("headway_")]


class OneFamily(Collector):
    """A registry with one family in it, or a part of it: a page is written in pieces, so that nobody waits for it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """It."""
        return (self._metric,)


def exposed(state: State, *, at_once: int = 1_000_000) -> Iterator[Metric]:
    """The families of a state, in the order in which they are listed; of those without a line, what they are.

    Args:
        state: What was counted.
        at_once: Lines of a family that are given at most; the others follow, under the same name.
    """
    for family in (*FAMILIES, *GAUGES):
        metric, unit = _empty(family), NANO if family.in_nanos else 1
        for number, (labels, values) in enumerate(sorted(state.get(family.name, {}).items())):
            if number and number % at_once == 0:
                yield metric
                metric = _empty(family)
            if family.kind == "histogram":
                sums = accumulate(values[:-1])
                bounds = [*map(_bound, family.bounds), "+Inf"]
                metric.add_metric(labels, list(zip(bounds, sums, strict=True)), values[-1] * unit)
            else:
                metric.add_metric(labels, values[0] * unit)
        yield metric


def _empty(family: Family) -> Any:
    if family.kind == "counter":
        return CounterMetricFamily(family.name, family.help, labels=family.labels)
    if family.kind == "histogram":
        return HistogramMetricFamily(family.name, family.help, labels=family.labels)
    return GaugeMetricFamily(family.name, family.help, labels=family.labels)


def _bound(bound: float) -> str:
    return str(float(bound))
