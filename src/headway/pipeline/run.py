"""One run of a pipeline, as the program sees it."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import AsyncIterator
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from uuid import uuid4
from weakref import WeakSet

from headway.engine.current import current_engine, engine_in_use, using
from headway.errors import Closed, ConfigError, HeadwayError
from headway.pipeline.crew import Crew
from headway.pipeline.current import AHEAD, FRAME
from headway.pipeline.failures import note
from headway.pipeline.options import MISSING, RunOptions
from headway.pipeline.output import Output, part_of
from headway.pipeline.spec import Spec
from headway.types.steps import StepRow

if TYPE_CHECKING:
    from headway.engine.core import Engine
    from headway.pipeline.node import Node

__all__ = ["Run"]

T_co = TypeVar("T_co", covariant=True)


class Run(Generic[T_co]):
    """A run of a pipeline. Made by `Pipeline.run`; open it with ``async with``.

    The block ends when everything that was started has ended. Left by an exception, or with the stream half-read, it
    cancels what is left. The first step that fails ends the run, and its own error is raised: by `result`, by `stream`,
    or at the end of the block if neither has told it.
    """

    def __init__(self, spec: Spec, options: RunOptions, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._spec = spec
        self._options = options
        self._given = args, named
        self._crew: Crew | None = None
        self._main: Node | None = None
        self._error: BaseException | None = None
        self._told = False
        self._outputs: WeakSet[Output] = WeakSet()
        self.was_left = False
        """Somebody has read its stream, and forgotten it before its end."""
        self.returned: Any = MISSING
        """What its function gave, with the handles in it."""

    @property
    def id(self) -> str:
        """In the call log, the `run` of its calls' tags; "" before it was opened."""
        return "" if self._crew is None else self._crew.id

    @property
    def dollars(self) -> float | None:
        """What its calls cost so far; None: the price of some is unknown."""
        sums = self._crew.records[0].sums if self._crew is not None else None
        return 0.0 if sums is None else sums.dollars

    @overload
    async def result(self) -> T_co: ...
    @overload
    async def result(self, part: str | int) -> Any: ...
    async def result(self, part: str | int | None = None) -> Any:
        """What the pipeline's function returned, with values instead of handles.

        Args:
            part: A key of the dict, or a place in the list or tuple, that it returned: only that, as soon as it is
                there. None: all of it.

        Raises:
            ConfigError: There is no such part.
            HeadwayError: The run was left before it was done. Whatever failed is raised as it is.
        """
        _, main = self._open("result()")
        source = main if part is None else await part_of(main, self, part)
        if not source.done:
            await source.future(chunk=False)
        self.raise_failure()
        if source.error is not None:
            raise HeadwayError(f"{main.told()} was left before it was done, so it has no result; read it to its end")
        return source.value

    def stream(self, part: str | int | None = None) -> AsyncIterator[Any]:
        """The chunks of the step whose handle was returned, as they come; of a value, the value. Raises what failed.

        Args:
            part: Where the function returned a dict, a list or a tuple: the key or the place of the handle.
        """
        _, main = self._open("stream()")
        output = Output(self, main, part)
        self._outputs.add(output)
        return output

    def rows(self) -> list[StepRow]:
        """What is known by now: the run itself (index -1), then its steps in the order of their calls."""
        crew = self._crew
        if crew is None:
            return []
        of = crew.spec.name, crew.id, crew.start_wall_s, crew.start_at_s, crew.bounds.outer
        return [record.row(*of) for record in crew.records]

    def report(self) -> Any:
        """Where its time and money went: an `explain.RunReport`, which prints as a waterfall."""
        from headway.pipeline.explain import RunReport

        return RunReport(self.rows())

    async def __aenter__(self) -> Run[T_co]:
        if self._crew is not None:
            raise ConfigError(f"{self._crew.told()} was opened before; call .run(...) again for another run")
        if AHEAD.get():
            raise ConfigError(
                f"pipeline {self._spec.name!r} does not run inside of step {AHEAD.get()!r} while that is fetched "
                "ahead, for its own steps might do something; call their functions (.fn), or do not prefetch that step"
            )
        engine: Engine | None = self._options.engine
        with using(engine) if engine is not None else nullcontext():
            id_ = uuid4().hex[:16] if engine is None else engine.new_trace().id
            crew = self._crew = Crew(self, id_, self._spec, self._options)
            self._main = crew.begin(*self._given)
            self._given = (), {}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        crew, main = self._open("its end")
        self._told = self._told or (error is not None and error is crew.error)
        if error is not None and crew.error is not None and not self._told:
            places = getattr(crew.error, "__notes__", ("",))
            note(
                error, f"the run had failed before, with {type(crew.error).__name__} {places[0]}".rstrip(), newest=True
            )
        if error is not None or self._is_left(main):
            crew.stop()
        try:
            await crew.drained()
        finally:
            crew.close()
            self._error, crew.error = crew.error, None  # what outlives the run holds the crew
            if self._options.degrade is not None and not getattr(crew.loop, "is_virtual", False):
                self._options.experience.learn(self.rows())
            self._write()
        if error is None:
            self.raise_failure(again=False)

    def _is_left(self, main: Node) -> bool:
        """Whether its stream was begun and is read no further, and nobody waits for it."""
        left = [output.is_left for output in self._outputs if output.is_open]
        return (self.was_left or any(left)) and all(left) and not (main.done or main.is_awaited)

    def _write(self) -> None:
        """Have the rows written into the call log; what goes wrong with the log is not the run's failure.

        A run without a call of a model and without an engine opens none for that: it would cost more than the run.
        """
        if self._options.log:
            rows = self.rows()
            try:
                engine = self._options.engine or engine_in_use()
                if engine is None and rows and rows[0].calls:
                    engine = current_engine()
                if engine is not None and not engine.write_steps(rows):
                    raise Closed("its engine was closed before the run had ended")
            except (HeadwayError, OSError, sqlite3.Error) as error:
                warnings.warn(f"the run {self.id} is not in the call log: {error}", RuntimeWarning, stacklevel=3)

    def _open(self, what: str) -> tuple[Crew, Node]:
        crew, main = self._crew, self._main
        if crew is None or main is None:
            raise ConfigError(
                f"pipeline {self._spec.name!r}: {what} was asked for before the run was opened; write `async with "
                f"{self._spec.name}.run(...) as run:`"
            )
        frame = FRAME.get()
        if frame is not None and frame.run is crew and frame.node is not None:
            raise ConfigError(f"{crew.told()}: {what} was asked for by its own {frame.node.name}, for which it waits")
        return crew, main

    def raise_failure(self, *, again: bool = True) -> None:
        """Raise why the run failed, if it did; not again where the program was told before."""
        error = self._error
        if error is None and self._crew is not None:
            error = self._crew.error
        if error is not None and (again or not self._told):
            self._told = True
            raise error
