"""Ray, for a job's driver: the cluster, and shards handed to its workers. Ray is imported when it is used."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import msgspec

from headway.errors import ConfigError, HeadwayError
from headway.jobs.ray_worker import Plan, Report, ShardActor

__all__ = ["Cluster", "cluster"]


class Cluster(Protocol):
    """Where shards are run; Ray, or what stands in for it."""

    @property
    def cpus(self) -> int:
        """How many CPUs it has, from 1."""
        ...

    def reports(self, plan: Plan, groups: list[list[int]], workers: int) -> Generator[Report, None, None]:
        """What the workers give back, as it comes. Closed early, they are stopped.

        Args:
            plan: What they are told.
            groups: Shards that are run at once, by one worker.
            workers: How many; fewer where there are fewer groups.

        Raises:
            HeadwayError: One failed in a way that is no error of ours.
        """
        ...


class _Ray:
    """Ray, connected."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @property
    def cpus(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def reports(self, plan: Plan, groups: list[list[int]], workers: int) -> Generator[Report, None, None]:
        ray = self._ray
        if not groups:
            return
        data = ray.data.from_items([{"shards": group} for group in groups], override_num_blocks=len(groups))
        size = min(workers, len(groups))
        data = data.map_batches(
            ShardActor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=1),
            fn_constructor_kwargs={"plan": plan},
            num_cpus=1,
        )  # Ray fills a dead worker's place as often as need be, and runs what it had again: see `shards.begin`
        try:
            for row in data.iter_rows():
                yield msgspec.json.decode(row["report"], type=Report)
        except ray.exceptions.RayError as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
            raise HeadwayError(f"a worker failed: {reason}; finished rows are kept, the same command goes on") from None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Ray, connected: to what the program has opened, to RAY_ADDRESS, or to a cluster of this machine's own.

    Raises:
        ConfigError: Ray is not installed, or cannot be reached.
    """
    ray = _package()
    own = not ray.is_initialized()
    if own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody was asked
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(f"Ray cannot be reached: {error}; check RAY_ADDRESS, or unset it") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    before = signal.signal(signal.SIGTERM, _interrupt)  # a polite kill is as good as Ctrl-C
    try:
        yield _Ray(ray)
    finally:
        signal.signal(signal.SIGTERM, before)
        if own:
            ray.shutdown()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _package() -> Any:
    """Ray, with Ray Data.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError:
        raise ConfigError("--engine ray needs Ray; install it with: pip install 'headway[ray]'") from None
