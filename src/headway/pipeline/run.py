"""One run of a pipeline, as the program sees it."""

from __future__ import annotations

import asyncio
import sqlite3
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import uuid4

from headway.engine.current import current_engine, using
from headway.errors import ConfigError, HeadwayError
from headway.pipeline.crew import Crew
from headway.pipeline.current import FRAME
from headway.pipeline.options import RunOptions
from headway.pipeline.spec import Spec
from headway.pipeline.stream import Cursor
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
        self._told = False

    @property
    def id(self) -> str:
        """In the call log, the `run` of its calls' tags; "" before it was opened."""
        return "" if self._crew is None else self._crew.id

    @property
    def dollars(self) -> float | None:
        """What its calls cost so far; None: the price of some is unknown."""
        sums = self._crew.records[0].sums if self._crew is not None else None
        return 0.0 if sums is None else sums.dollars

    async def result(self) -> T_co:
        """What the pipeline's function returned, with values instead of handles. Raises what failed."""
        _, main = self._open("result()")
        if not main.done:
            await main.future(chunk=False)
        self._raise_failure()
        if main.error is not None:
            raise HeadwayError(f"{main.told()} was left before it was done, so it has no result; read it to its end")
        return cast("T_co", main.value)

    def stream(self) -> AsyncIterator[Any]:
        """The chunks of the step whose handle was returned, as they come; of a value, the value. Raises what failed."""
        _, main = self._open("stream()")
        return _Output(main, self._raise_failure)

    def rows(self) -> list[StepRow]:
        """What is known by now: the run itself (index -1), then its steps in the order of their calls."""
        crew = self._crew
        if crew is None:
            return []
        return [record.row(crew.spec.name, crew.id, crew.start_wall_s, crew.start_at_s) for record in crew.records]

    def report(self) -> Any:
        """Where its time and money went: an `explain.RunReport`, which prints as a waterfall."""
        from headway.pipeline.explain import RunReport

        return RunReport(self.rows())

    async def __aenter__(self) -> Run[T_co]:
        if self._crew is not None:
            raise ConfigError(f"{self._crew.told()} was opened before; call .run(...) again for another run")
        engine: Engine | None = self._options.engine
        with using(engine) if engine is not None else nullcontext():
            id_ = uuid4().hex[:16] if engine is None else engine.new_trace().id
            crew = self._crew = Crew(self, id_, self._spec, self._options)
            self._main = crew.begin(*self._given)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        crew, main = self._open("its end")
        self._told = self._told or (error is not None and error is crew.error)
        if error is not None or (main.left and not (main.done or main.readers or main.is_awaited)):
            crew.stop()
        try:
            await crew.drained()
        finally:
            crew.close()
            if self._options.degrade is not None and not getattr(crew.loop, "is_virtual", False):
                self._options.experience.learn(self.rows())
            self._write()
        if error is None:
            self._raise_failure(again=False)

    def _write(self) -> None:
        """Have the rows written into the call log; what goes wrong with the log is not the run's failure."""
        if self._options.log:
            try:
                (self._options.engine or current_engine()).write_steps(self.rows())
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
        if frame is not None and frame.run is crew:
            raise ConfigError(f"{crew.told()}: {what} was asked for by its own {frame.node.name}, for which it waits")
        return crew, main

    def _raise_failure(self, *, again: bool = True) -> None:
        """Raise why the run failed, if it did; not again where the program was told before."""
        error = self._crew.error if self._crew is not None else None
        if error is not None and (again or not self._told):
            self._told = True
            raise error


class _Output(Cursor[Any]):
    """A reader of the run's own chunks. What failed is raised in the place of what is still to be read."""

    __slots__ = ("_raise_failure",)

    def __init__(self, main: Node, raise_failure: Callable[[], None]) -> None:
        super().__init__(main)
        self._raise_failure = raise_failure

    async def __anext__(self) -> Any:
        try:
            return await super().__anext__()
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise  # the reader is
            ended: BaseException = error
        except StopAsyncIteration as error:
            ended = error
        self._raise_failure()  # outside of the handlers, for it keeps the context that it was raised in
        raise ended
