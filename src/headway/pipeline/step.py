"""`@headway.step`: a function whose calls in a pipeline run by themselves, as soon as what they need is there."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from headway.errors import ConfigError
from headway.pipeline.current import FRAME, Frame
from headway.pipeline.function import Function
from headway.pipeline.handle import Handle, Handles
from headway.pipeline.limit import Limit
from headway.pipeline.options import MISSING, StepOptions, check_count
from headway.pipeline.source import KEPT_BYTES_MAX
from headway.pipeline.spec import Spec
from headway.pipeline.wiring import needs_of
from headway.policy.backoff import Backoff

if TYPE_CHECKING:
    from headway.pipeline.arity import StepMaker

__all__ = ["Step", "step"]

T_co = TypeVar("T_co", covariant=True)


class Step(Generic[T_co]):
    """A step. Calling it inside of a run gives a `Handle` at once. Made by `step`."""

    def __init__(self, fn: Callable[..., Any], name: str, options: StepOptions) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        """The function itself, for use outside of pipelines, and for tests."""
        self.name = name or getattr(fn, "__name__", "") or type(fn).__name__
        options.check(self.name)
        self.spec = Spec(Function(fn, "step", self.name), self.name, options)
        self._bound: tuple[Any, ...] = ()

    @property
    def options(self) -> StepOptions:
        """What was declared about it."""
        return self.spec.options

    @property
    def pure(self) -> bool:
        """Whether running it has no effect but its value, so that it may be run before anybody asks for it."""
        return self.spec.options.pure

    def __call__(self, *args: Any, **named: Any) -> Handle[T_co]:
        """Start it, or have it start as soon as the handles among its arguments are there.

        Handles are found in lists, tuples and dicts as well, and the function gets their values. A parameter annotated
        ``Stream[str]`` gets the chunks as they come instead, and its step starts with the first one.

        Raises:
            TypeError: The function does not take these arguments.
            ConfigError: There is no run here, or a handle belongs to another one.
        """
        return self._call(args, named, ())

    def map(self, items: Iterable[Any], *same: Any, concurrency: int | None = None) -> Handles[T_co]:
        """Call it for every item, which may be a handle; `same` are further arguments that all calls share.

        Args:
            items: What is given as the first argument; a `Handles`, too. Of a stream of items, call the step for each:
                ``[step(item) async for item in handle.items("questions")]``.
            same: The other arguments.
            concurrency: Calls of this map under way at a time, 1 or more; None: no limit but the step's own.
        """
        if isinstance(items, AsyncIterable) and not isinstance(items, Handles):
            raise TypeError(
                f"step {self.name!r}: map goes over items, and {items!r} has none yet; await it first, or call the "
                "step for each: [step(item) async for item in ...]"
            )
        if concurrency is not None:
            check_count(f"step {self.name!r}", "map's concurrency", concurrency, least=1)
        limits = () if concurrency is None else (Limit(concurrency),)
        return Handles([self._call((item, *same), {}, limits) for item in items])

    def _call(self, args: tuple[Any, ...], named: dict[str, Any], limits: tuple[Limit, ...]) -> Handle[T_co]:
        frame = self._frame()
        spec = self.spec
        if self._bound:
            args = (*self._bound, *args)
        spec.function.check(args, named)
        needs = needs_of(spec.function, args, named)
        for source, _ in needs:
            source.check_run(frame.run, f"step {self.name!r}")
        node = frame.run.add(spec, args, named, frame, limits)
        handle: Handle[T_co] = Handle(node)
        node.begin(needs)
        return handle

    def _frame(self) -> Frame:
        frame = FRAME.get()
        if frame is None:
            raise ConfigError(
                f"step {self.name!r} was called outside of a run; call it inside of a @headway.pipeline function, or "
                f"call the plain function, {self.name}.fn(...)"
            )
        node = frame.node
        if node is None or frame.run.over:
            raise ConfigError(
                f"step {self.name!r} was called after {frame.run.told()} had ended; await what calls it inside of the "
                "pipeline"
            )
        loop = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            pass  # a thread
        if loop is not frame.run.loop or (node.index >= 0 and node.spec.function.kind == "plain"):
            raise ConfigError(
                f"step {self.name!r} was called in a thread or on another event loop than that of {frame.run.told()}; "
                "call it in the pipeline's function or in an `async def` step"
            )
        return frame

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        if instance is None or isinstance(self.fn, staticmethod):
            return self
        bound = copy.copy(self)  # with the same spec: limits and kept results are those of the step
        bound._bound = (instance,)
        return bound

    def __repr__(self) -> str:
        return f"<step {self.name}>"


def _step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    optional: bool = False,
    default: Any = MISSING,
    timeout_s: float | None = None,
    retries: int = 0,
    retry_on: type[Exception] | tuple[type[Exception], ...] = (Exception,),
    backoff: Backoff | None = None,
    cache_s: float | None = None,
    cache_version: str = "",
    concurrency: int | None = None,
    pure: bool = False,
    smaller: Mapping[str, str] | None = None,
    kept_bytes_max: int = KEPT_BYTES_MAX,
) -> Any:
    """Make a function a step: ``@step`` or ``@step(timeout_s=20)``.

    An ``async def`` gives a value; with ``yield`` in it, chunks as well, and the value is all of them (joined, where
    they are text); a plain ``def`` runs in a thread, 64 of them at a time in a run. `Step.fn` is the function itself.

    A step that fails for good fails what called it: the step that did, or the run, which cancels everything else. That
    it was awaited inside of ``try`` makes no difference; say `default` or `optional` where the run can do without.
    A step whose readers have all left before its end, and whose handle nobody holds any more, is cancelled.

    Args:
        fn: The function.
        name: What it is called in reports; by default as the function.
        optional: It may be left out where the run is short of time or money, and its failure fails nobody: its value is
            `default` then, or None.
        default: Its value where it fails; given, its failure fails nobody. Those who read its stream live see it end.
            Lists and other things that can be changed are copied for each call. Steps that were given its handle run
            with it (with None, where it is optional without one).
        timeout_s: Seconds, > 0, that one try may take. `DeadlineExceeded` then.
        retries: Further tries of the whole function after a failure, 0 or more. Calls of models are retried by the
            engine already, so this is for the rest. A step that streams is tried again only until its first chunk.
        retry_on: The exceptions that are worth it; `TimeoutError` stands for its own `timeout_s`, too. What is never
            tried again: `BudgetExceeded`, `DeadlineExceeded` (but for its own timeout), `Closed` and `ConfigError`.
        backoff: The waits in between; by default 0.5 s, doubling, up to 8 s, with full jitter.
        cache_s: Seconds, > 0, for which its results are kept by its arguments, see `headway.cached`: in the memory of
            this process, 64 MiB for each step. Equal calls under way at the same time run it once; of a stream, the
            others have the chunks at its end.
        cache_version: A name such as "1" for what the step does now. Given, results are kept in the cache of the
            current engine where that is on: they outlive the process, and other processes share them. Change it with
            the prompt, the model, or anything else that the result hangs on: no code tells of that by itself, and
            what was kept under the old one would be served for as long as it is fresh.
        concurrency: Its calls under way at a time in one run, 1 or more.
        pure: Running it has no effect but its value: it may be run ahead, and twice.
        smaller: Models that stand in for others where the run is short of time or money, by name.
        kept_bytes_max: Bytes of chunks that one call keeps for its readers; more is an error.

    Raises:
        ConfigError: An argument is out of its range, the function is a plain generator, or with `cache_version` it
            hangs on more than its arguments (a closure, a partial function, an object).
    """
    options = StepOptions(
        optional=optional,
        default=default,
        timeout_s=timeout_s,
        retries=retries,
        retry_on=tuple(retry_on) if isinstance(retry_on, tuple | list) else (retry_on,),
        backoff=backoff or Backoff(),
        cache_s=cache_s,
        cache_version=cache_version,
        concurrency=concurrency,
        pure=pure,
        smaller=dict(smaller or {}),
        kept_bytes_max=kept_bytes_max,
    )
    if fn is None:
        return lambda function: Step(function, name, options)
    return Step(fn, name, options)


step = cast("StepMaker", _step)
