"""`@headway.pipeline`: a function that calls steps; `run` makes a run of it."""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast

from msgspec.structs import replace

from headway.errors import ConfigError
from headway.pipeline.experience import Experience
from headway.pipeline.function import Function
from headway.pipeline.options import RunOptions, StepOptions
from headway.pipeline.run import Run
from headway.pipeline.spec import Spec
from headway.policy.degrade import Degrade

if TYPE_CHECKING:
    from headway.engine.core import Engine
    from headway.pipeline.arity import PipelineMaker

__all__ = ["Pipeline", "pipeline"]

_TAKEN = frozenset(("deadline_s", "budget_usd", "engine", "session"))

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class Pipeline(Generic[P, T_co]):
    """A pipeline. ``await article("tides")`` runs it; ``article.run("tides")`` gives the run itself.

    Made by `pipeline`.
    """

    def __init__(self, fn: Callable[..., Any], name: str, options: RunOptions) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        """The function itself."""
        self.name = name or getattr(fn, "__name__", "") or type(fn).__name__
        options.check(self.name)
        self._options = options
        self._bound: tuple[Any, ...] = ()
        self._spec = Spec(Function(fn, "pipeline", self.name), self.name, StepOptions())
        taken = _TAKEN & set(self._spec.function.signature.parameters)
        if taken:
            raise ConfigError(
                f"pipeline {self.name!r}: {sorted(taken)[0]!r} is an option of its run, so no parameter of the "
                "function can be called so; rename it"
            )

    @property
    def experience(self) -> Experience:
        """What earlier runs took, for `degrade`."""
        return self._options.experience

    async def __call__(self, *args: P.args, **named: P.kwargs) -> T_co:
        """Run it to its end; what it returned, with values instead of handles."""
        async with self._run(args, named, self._options) as run:
            return await run.result()

    def run(
        self,
        *args: Any,
        deadline_s: float | None = None,
        budget_usd: float | None = None,
        engine: Engine | None = None,
        session: str = "",
        **named: Any,
    ) -> Run[T_co]:
        """A run, to be opened with ``async with``.

        Args:
            args: As for the function; so are `named`.
            deadline_s: Seconds, > 0, until it has to be done; None: as declared.
            budget_usd: Dollars, > 0, that its calls may cost; None: as declared.
            engine: For its calls; None: as declared.
            session: What the run belongs to, for the call log.

        Raises:
            TypeError: The function does not take these arguments.
            ConfigError: An option is out of its range.
        """
        declared = self._options
        options = replace(
            declared,
            deadline_s=declared.deadline_s if deadline_s is None else deadline_s,
            budget_usd=declared.budget_usd if budget_usd is None else budget_usd,
            engine=declared.engine if engine is None else engine,
            session=session,
        )
        options.check(self.name)
        return self._run(args, named, options)

    def run_sync(self, *args: P.args, **named: P.kwargs) -> T_co:
        """As calling it, for programs without an event loop. Raises ConfigError: there is one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self(*args, **named))
        raise ConfigError(f"pipeline {self.name!r}: run_sync was called on an event loop; await {self.name}(...) there")

    def _run(self, args: tuple[Any, ...], named: dict[str, Any], options: RunOptions) -> Run[T_co]:
        args = (*self._bound, *args)
        self._spec.function.check(args, named)
        return Run(self._spec, options, args, named)

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        if instance is None or isinstance(self.fn, staticmethod):
            return self
        bound = copy.copy(self)
        bound._bound = (instance,)
        return bound

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"


def _pipeline(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    deadline_s: float | None = None,
    budget_usd: float | None = None,
    degrade: Degrade | None = None,
    engine: Engine | None = None,
    log: bool = True,
) -> Any:
    """Make a function a pipeline: ``@pipeline`` or ``@pipeline(deadline_s=30)``.

    The function calls steps, and returns a handle, something with handles in it, or a value. It may be ``async def``,
    with ``yield`` or without, or a plain ``def``.

    Args:
        fn: The function.
        name: What it is called in reports; by default as the function.
        deadline_s: Seconds, > 0, that a run may take. `DeadlineExceeded` then, unless only optional steps are not done.
        budget_usd: Dollars, > 0, that the calls of a run may cost together; `BudgetExceeded` then.
        degrade: What is given up when time or money runs short: smaller models first (`smaller=` of a step), then
            optional steps. None: nothing, the run fails when it is over. What earlier runs in this process needed
            from the same step on counts, once there are eight of them; see `Pipeline.experience`.
        engine: The `Engine` for the calls of its steps; by default the shared one of the running loop.
        log: Whether its steps are written into the call log.

    Raises:
        ConfigError: An argument is out of its range, or the function is a plain generator.
    """
    options = RunOptions(deadline_s=deadline_s, budget_usd=budget_usd, degrade=degrade, engine=engine, log=log)
    if fn is None:
        return lambda function: Pipeline(function, name, options)
    return Pipeline(fn, name, options)


pipeline = cast("PipelineMaker", _pipeline)
