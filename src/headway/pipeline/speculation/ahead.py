"""`headway.prefetch`: a step of a pipeline, fetched before anybody asks for it.

Its function runs in the background at the lowest priority, outside of any run. What it asks models is what the real
call of the step will ask them, so that one joins what is under way, and raises its priority, or finds it in the cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Literal

from headway.attempt.line import PREFETCH_PRIORITY
from headway.engine.core import Engine
from headway.engine.current import current_engine, on_this_loop, using
from headway.engine.memo_key import memo_key
from headway.errors import ConfigError
from headway.pipeline.answers import pieces_of, settled
from headway.pipeline.current import AHEAD, FRAME
from headway.pipeline.spec import Spec
from headway.pipeline.speculation.book import speculation
from headway.pipeline.speculation.fetched import Key, Prefetch
from headway.pipeline.speculation.follows import PREFETCH_STEP
from headway.pipeline.speculation.stake import Stake
from headway.pipeline.speculation.use import Use
from headway.policy.speculation import is_amount
from headway.types import Tags
from headway.types.scope import SCOPE, Scope

if TYPE_CHECKING:
    from headway.pipeline.step import Step

__all__ = ["asked", "begun", "fetch", "prefetch"]


def prefetch(
    step: Any,
    *args: Any,
    likelihood: float,
    saving_s: float | None = None,
    cost_usd: float | None = None,
    until: Literal["run", "engine"] | None = None,
    engine: Engine | None = None,
    **named: Any,
) -> Prefetch:
    """Fetch a step ahead, if its likely saving beats its likely waste; see `policy.speculation`.

    ::

        headway.prefetch(answer, "What does it cost?", likelihood=0.6)

    Args:
        step: A step marked ``pure=True``.
        args: Its arguments, and `named`: plain data, the same as in the real call.
        likelihood: That it is asked for, 0 to 1. What earlier likelihoods of the step were worth corrects it.
        saving_s: Seconds that are not waited then, >= 0. None: what the step took before.
        cost_usd: Dollars that are wasted otherwise, >= 0. None: what the step took before.
        until: "run": it is cancelled with the run that it was called in, "engine": with the engine. None: "run" inside
            of a run.
        engine: None: the current one.
        named: See `args`.

    Returns:
        True where it was started (or is there already); else false, with the reason in `why`.

    Raises:
        ConfigError: The step is none, or not pure, or an argument is wrong.
    """
    _check(step, likelihood, saving_s, cost_usd)
    frame, scope = FRAME.get(), SCOPE.get()
    if until == "run" and frame is None:
        raise ConfigError('prefetch: until="run" needs a run, and this is called outside of one; leave it out')
    guess = likelihood, saving_s, cost_usd
    tags = scope.tags if scope is not None else Tags()
    at_end = frame.run.at_end if frame is not None and until != "engine" else None
    return fetch(step, args, named, guess, engine or current_engine(), tags, at_end)


def fetch(
    step: Step[Any],
    args: tuple[Any, ...],
    named: dict[str, Any],
    guess: tuple[float, float | None, float | None],
    engine: Engine,
    tags: Tags,
    at_end: list[Callable[[], object]] | None = None,
) -> Prefetch:
    """See `prefetch`; the calls have those tags, and "prefetch:NAME" for their step.

    Args:
        step: As for `prefetch`; so are `args` and `named`.
        guess: The likelihood, the seconds and the dollars.
        engine: Whose cache it is for.
        tags: Where the calls belong.
        at_end: Called at the end of the run that it is cancelled with.
    """
    key, book = _key(step.spec, args, named), speculation(engine)

    def context(prefetched: Prefetch) -> Context:
        if at_end is not None:
            at_end.append(prefetched.cancel)
        scope = Scope(
            Tags(run=tags.run, step=PREFETCH_STEP + step.name, parent=tags.parent, session=tags.session),
            priority=PREFETCH_PRIORITY,
            allowance=Stake(book, prefetched),
            ended=on_this_loop(prefetched.told),
            is_thread=step.spec.function.kind == "plain",
        )
        with using(engine):
            own = copy_context()
        own.run(SCOPE.set, scope)
        own.run(FRAME.set, None)
        own.run(AHEAD.set, step.name)
        return own

    return book.launch(key, guess, lambda: _work(step.spec, args, named), context)


def asked(step: Step[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Use | None:
    """A real call of a step begins, outside of a run, in a task of its own: call `Use.ended` when it has ended well.

    Runs do this for their steps. For programs that call a step's function by themselves.

    Returns:
        None where the step is not pure, or nothing was ever fetched ahead with the current engine.
    """
    return begun(step.spec, args, named) if step.pure else None


def begun(spec: Spec, args: tuple[Any, ...], named: dict[str, Any]) -> Use | None:
    """See `asked`; of a step that is pure."""
    try:
        engine = current_engine()
        if engine.prefetch.book is None:
            return None
        return speculation(engine).asked(_key(spec, args, named))
    except ConfigError:
        return None  # no engine, or arguments that cannot have been fetched ahead


async def _work(spec: Spec, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Run a step's function to its end.

    What models answer is in the engine's cache then; what the function made of it is kept where the step keeps results.
    """
    try:
        if spec.kept is None:
            await _value(spec, args, named)
        else:
            await spec.kept.ahead(args, named, lambda: _value(spec, args, named))
    finally:
        scope = SCOPE.get()
        if scope is not None:
            scope.close()


async def _value(spec: Spec, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What it gives; of a step that streams, the list of its chunks."""
    function = spec.function
    if function.kind == "stream":
        async with aclosing(function.call(*args, **named)) as chunks:
            return [piece async for chunk in chunks async for piece in pieces_of(chunk, function.told)]
    if function.kind == "async":
        return await settled(await function.call(*args, **named))
    if getattr(asyncio.get_running_loop(), "is_virtual", False):
        return function.call(*args, **named)  # virtual time cannot wait for threads
    return await asyncio.to_thread(function.call, *args, **named)


def _key(spec: Spec, args: tuple[Any, ...], named: dict[str, Any]) -> Key:
    try:
        return spec, memo_key(spec.name, spec.name, "prefetch", spec.function.signature.bind(*args, **named))
    except TypeError as problem:
        raise ConfigError(f"prefetch: {problem}") from problem


def _check(step: Any, likelihood: float, saving_s: float | None, cost_usd: float | None) -> None:
    if not isinstance(getattr(step, "spec", None), Spec):
        raise ConfigError(f"prefetch needs a step (a function under @headway.step), not {step!r}")
    if not step.pure:
        raise ConfigError(
            f"prefetch: step {step.name!r} is not marked pure, so running it without being asked might do something; "
            "if it only asks and computes, declare it with @headway.step(pure=True)"
        )
    if step.spec.function.has_streams:
        raise ConfigError(f"prefetch: step {step.name!r} reads a stream, which there is none of ahead; take its text")
    try:
        asyncio.get_running_loop()
    except RuntimeError as problem:
        raise ConfigError(
            f"prefetch: there is no event loop in this thread; fetch {step.name!r} ahead in the pipeline's function or "
            "in an `async def` step"
        ) from problem
    if not is_amount(likelihood) or likelihood > 1.0:
        raise ConfigError(f"prefetch: likelihood must be a number from 0 to 1, not {likelihood!r}")
    for name, value in (("saving_s", saving_s), ("cost_usd", cost_usd)):
        if value is not None and not is_amount(value):
            raise ConfigError(f"prefetch: {name} must be a number from 0, not {value!r}")
