"""How steps and pipelines look to type checkers: handles where values are wanted, and precise handles as results.

Nothing here runs. A type checker cannot take a function's parameters apart and keep their names, so it knows a step's
first six parameters by position, each as ``A | Handle[A]``; by name anything may be given, which is checked when the
step is called, and so is whether all that is needed was given.
"""

# mypy: disable-error-code="overload-overlap,overload-cannot-match,empty-body"
# A coroutine function is also a function that returns something: the first overload that fits is the one meant.
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from headway.engine.core import Engine
from headway.pipeline.handle import Handle, Handles
from headway.pipeline.program import Pipeline
from headway.pipeline.step import Step
from headway.policy.backoff import Backoff
from headway.policy.degrade import Degrade

__all__ = ["PipelineMaker", "Step0", "Step1", "Step2", "Step3", "Step4", "Step5", "Step6", "StepMaker"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")


class Step0(Step[T_co], Generic[T_co]):
    """A step of no parameters by position."""

    def __call__(self, **named: Any) -> Handle[T_co]: ...


class Step1(Step[T_co], Generic[A, T_co]):
    """A step of one parameter by position."""

    def __call__(self, a: A | Handle[A] = ..., /, **named: Any) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self, items: Iterable[A | Handle[A]], /, *, concurrency: int | None = None
    ) -> Handles[T_co]: ...


class Step2(Step[T_co], Generic[A, B, T_co]):
    """A step of two parameters by position."""

    def __call__(self, a: A | Handle[A] = ..., b: B | Handle[B] = ..., /, **named: Any) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self, items: Iterable[A | Handle[A]], b: B | Handle[B] = ..., /, *, concurrency: int | None = None
    ) -> Handles[T_co]: ...


class Step3(Step[T_co], Generic[A, B, C, T_co]):
    """A step of three parameters by position."""

    def __call__(
        self, a: A | Handle[A] = ..., b: B | Handle[B] = ..., c: C | Handle[C] = ..., /, **named: Any
    ) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self,
        items: Iterable[A | Handle[A]],
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        /,
        *,
        concurrency: int | None = None,
    ) -> Handles[T_co]: ...


class Step4(Step[T_co], Generic[A, B, C, D, T_co]):
    """A step of four parameters by position."""

    def __call__(
        self,
        a: A | Handle[A] = ...,
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        /,
        **named: Any,
    ) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self,
        items: Iterable[A | Handle[A]],
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        /,
        *,
        concurrency: int | None = None,
    ) -> Handles[T_co]: ...


class Step5(Step[T_co], Generic[A, B, C, D, E, T_co]):
    """A step of five parameters by position."""

    def __call__(
        self,
        a: A | Handle[A] = ...,
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        e: E | Handle[E] = ...,
        /,
        **named: Any,
    ) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self,
        items: Iterable[A | Handle[A]],
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        e: E | Handle[E] = ...,
        /,
        *,
        concurrency: int | None = None,
    ) -> Handles[T_co]: ...


class Step6(Step[T_co], Generic[A, B, C, D, E, F, T_co]):
    """A step of six parameters by position."""

    def __call__(
        self,
        a: A | Handle[A] = ...,
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        e: E | Handle[E] = ...,
        f: F | Handle[F] = ...,
        /,
        **named: Any,
    ) -> Handle[T_co]: ...
    def map(  # type: ignore[override]
        self,
        items: Iterable[A | Handle[A]],
        b: B | Handle[B] = ...,
        c: C | Handle[C] = ...,
        d: D | Handle[D] = ...,
        e: E | Handle[E] = ...,
        f: F | Handle[F] = ...,
        /,
        *,
        concurrency: int | None = None,
    ) -> Handles[T_co]: ...


class StepMaker(Protocol):
    """The type of `headway.step`."""

    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E, F], AsyncIterator[str]], /) -> Step6[A, B, C, D, E, F, str]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E], AsyncIterator[str]], /) -> Step5[A, B, C, D, E, str]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D], AsyncIterator[str]], /) -> Step4[A, B, C, D, str]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C], AsyncIterator[str]], /) -> Step3[A, B, C, str]: ...
    @overload
    def __call__(self, fn: Callable[[A, B], AsyncIterator[str]], /) -> Step2[A, B, str]: ...
    @overload
    def __call__(self, fn: Callable[[A], AsyncIterator[str]], /) -> Step1[A, str]: ...
    @overload
    def __call__(self, fn: Callable[[], AsyncIterator[str]], /) -> Step0[str]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E, F], AsyncIterator[T]], /) -> Step6[A, B, C, D, E, F, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E], AsyncIterator[T]], /) -> Step5[A, B, C, D, E, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D], AsyncIterator[T]], /) -> Step4[A, B, C, D, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C], AsyncIterator[T]], /) -> Step3[A, B, C, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A, B], AsyncIterator[T]], /) -> Step2[A, B, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A], AsyncIterator[T]], /) -> Step1[A, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[], AsyncIterator[T]], /) -> Step0[list[T]]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E, F], Awaitable[T]], /) -> Step6[A, B, C, D, E, F, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E], Awaitable[T]], /) -> Step5[A, B, C, D, E, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D], Awaitable[T]], /) -> Step4[A, B, C, D, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C], Awaitable[T]], /) -> Step3[A, B, C, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B], Awaitable[T]], /) -> Step2[A, B, T]: ...
    @overload
    def __call__(self, fn: Callable[[A], Awaitable[T]], /) -> Step1[A, T]: ...
    @overload
    def __call__(self, fn: Callable[[], Awaitable[T]], /) -> Step0[T]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[str]], /) -> Step[str]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[T]], /) -> Step[list[T]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Step[T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E, F], T], /) -> Step6[A, B, C, D, E, F, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D, E], T], /) -> Step5[A, B, C, D, E, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C, D], T], /) -> Step4[A, B, C, D, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B, C], T], /) -> Step3[A, B, C, T]: ...
    @overload
    def __call__(self, fn: Callable[[A, B], T], /) -> Step2[A, B, T]: ...
    @overload
    def __call__(self, fn: Callable[[A], T], /) -> Step1[A, T]: ...
    @overload
    def __call__(self, fn: Callable[[], T], /) -> Step0[T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[T]: ...
    @overload
    def __call__(
        self,
        *,
        name: str = "",
        optional: bool = False,
        default: Any = ...,
        timeout_s: float | None = None,
        retries: int = 0,
        retry_on: type[Exception] | tuple[type[Exception], ...] = ...,
        backoff: Backoff | None = None,
        cache_s: float | None = None,
        cache_version: str = "",
        concurrency: int | None = None,
        pure: bool = False,
        smaller: Mapping[str, str] | None = None,
        kept_bytes_max: int = ...,
    ) -> StepMaker: ...


class PipelineMaker(Protocol):
    """The type of `headway.pipeline`."""

    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[str]], /) -> Pipeline[P, str]: ...
    @overload
    def __call__(self, fn: Callable[P, AsyncIterator[T]], /) -> Pipeline[P, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[Handle[T]]], /) -> Pipeline[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[Handles[T]]], /) -> Pipeline[P, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[list[Handle[T]]]], /) -> Pipeline[P, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[dict[A, Handle[T]]]], /) -> Pipeline[P, dict[A, T]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[tuple[Handle[A], Handle[B]]]], /) -> Pipeline[P, tuple[A, B]]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Awaitable[tuple[Handle[A], Handle[B], Handle[C]]]], /
    ) -> Pipeline[P, tuple[A, B, C]]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Pipeline[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, Handle[T]], /) -> Pipeline[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, Handles[T]], /) -> Pipeline[P, list[T]]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Pipeline[P, T]: ...
    @overload
    def __call__(
        self,
        *,
        name: str = "",
        deadline_s: float | None = None,
        budget_usd: float | None = None,
        degrade: Degrade | None = None,
        engine: Engine | None = None,
        log: bool = True,
    ) -> PipelineMaker: ...
