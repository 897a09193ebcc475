"""The task of a step: its function is run, with its tries, its time and what stands in for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from headway.errors import HeadwayError
from headway.pipeline.answers import let_go, pieces_of, settled
from headway.pipeline.current import FRAME
from headway.pipeline.failures import stray, timed_out
from headway.pipeline.record import edge_to
from headway.pipeline.speculation.ahead import begun
from headway.pipeline.stream import Stream, joined
from headway.pipeline.threads import in_thread
from headway.pipeline.wiring import SCALARS, found, value_of
from headway.types.scope import SCOPE
from headway.types.steps import StepOutcome

if TYPE_CHECKING:
    from headway.pipeline.kept import Kept
    from headway.pipeline.node import Node

__all__ = ["work"]


async def work(node: Node) -> None:
    """Run it to its end. Raises only what ends the task itself: a cancellation, or an interrupt."""
    run, record, options = node.run, node.record, node.spec.options
    node.started = True
    record.started_at_s = run.loop.time()
    use = None
    while True:
        record.tries += 1
        FRAME.set(run.frame(node))
        SCOPE.set(run.scope_of(node))
        node.arm()
        try:
            if record.tries == 1:
                node.fill()
                use = begun(node.spec, node.args, node.named) if options.pure else None
                record.speculative = use is not None and use.speculative
            outcome: StepOutcome = "ok"
            if node.spec.kept is None:
                value = await called(node)
            else:
                value, outcome = await kept_or_called(node, node.spec.kept)
            if node.cause:  # it swallowed its cancellation
                raise asyncio.CancelledError
        except BaseException as error:
            node.disarm()
            failure = failed(node, error)
            if failure is None:
                raise
        else:
            if use is not None:
                took_s = run.loop.time() - record.started_at_s
                use.ended(took_s, record.usd_of_all, sums=record.sums, cached=outcome == "cached")
                record.speculative = use.speculative
            node.end(outcome, value=value)
            return
        node.failure = failure
        task = asyncio.current_task()
        while task is not None and task.cancelling():
            task.uncancel()  # dealt with, whoever it was by
        node.cancel_children()
        is_worth_it = options.is_worth_it(failure, timed_out=node.cause == "timeout")
        if record.tries <= options.retries and is_worth_it and not node.chunks and not node.done:
            node.cause, node.failure, failure = "", None, None
            try:
                await asyncio.sleep(options.backoff.delay_s(record.tries, run.rng))
            except asyncio.CancelledError:
                node.end_cancelled()
                raise
            continue
        node.give_in(failure)
        return


def failed(node: Node, error: BaseException) -> Exception | None:
    """The failure that an error is to the step; None where the task ends with it, which is written down here."""
    if isinstance(error, asyncio.CancelledError):
        if node.cause == "timeout":
            return timed_out(node)
        if node.cause == "child" and node.failure is not None:
            if isinstance(node.failure, Exception):
                return node.failure
            node.end("failed", node.failure)  # an interrupt
            return None
        if node.cause:
            node.end_cancelled()
            return None
        return stray(node)
    if isinstance(error, Exception):
        if node.cause not in ("", "timeout", "child"):  # it failed while it was being cancelled
            node.run.also(node, error)
            node.end_cancelled()
            raise asyncio.CancelledError from None
        if node.cause == "child" and isinstance(error, ExceptionGroup) and isinstance(node.failure, Exception):
            return node.failure  # of a TaskGroup that was cancelled for it, whatever that made of it
        if isinstance(error, StopAsyncIteration):  # whoever read on would take it for the end
            wrapped = RuntimeError(f"{node.told()} raised StopAsyncIteration")
            wrapped.__cause__ = error
            return wrapped
        return error
    node.end("failed", error)
    if (task := asyncio.current_task()) is not None:
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # it is told by the run
    return None


async def kept_or_called(node: Node, kept: Kept) -> tuple[Any, StepOutcome]:
    """Its value, and whether that was kept from an earlier call, or is that of an equal one under way."""

    async def make() -> Any:
        value = await called(node)
        if node.cause:  # it swallowed its cancellation: whatever that gave is not for others
            raise asyncio.CancelledError
        return value if node.chunks is None else node.chunks

    value, is_kept = await kept.once(node.args, node.named, make, node)
    outcome: StepOutcome = "cached" if is_kept else "ok"
    if node.spec.function.kind != "stream":
        return value, outcome
    if is_kept:
        node.chunks = []
        for chunk in value:
            node.push(chunk)
    return joined(value), outcome


async def called(node: Node) -> Any:
    """Call the function once; its value."""
    function = node.spec.function
    call, args, named = function.call, node.args, node.named
    if function.kind == "async":
        value = await call(*args, **named)
    elif function.kind == "stream":
        return await streamed(node, call(*args, **named))
    else:
        value = await threaded(node, lambda: call(*args, **named))
    return value if isinstance(value, SCALARS) else await gathered(node, await settled(value))


async def gathered(node: Node, value: Any) -> Any:
    """What a function returned, with values instead of handles; a handle's chunks are the run's own."""
    sources = found(value, node.told())
    if node.index < 0 and (run := node.run.public) is not None:
        run.returned = value
        node.wake_readers()
    if not sources:
        return value
    if node.index >= 0:
        for source in sources:
            source.check_run(node.run, node.told())
            await Stream(source)
        return value_of(value)
    live = isinstance(value, Stream)
    if live:
        node.kept_bytes_max = sources[0].kept_bytes_max  # they are the same objects
        sources[0].tap(node.push)
    for source in sources:
        source.check_run(node.run, "the function")
        while not source.done:
            await source.future(chunk=False)
    node.record.edges = tuple(edge_to(source, stream=live) for source in sources)
    return value_of(value)


async def streamed(node: Node, chunks: Any) -> Any:
    """Hand its chunks on as they come; its value is what they are together."""
    node.chunks = []
    try:
        async for chunk in chunks:
            if node.cause and node.task is not None:  # it has swallowed its cancellation: again, where it awaits next
                node.task.cancel()
            elif isinstance(chunk, SCALARS):
                node.push(chunk)
            else:
                async with aclosing(pieces_of(chunk, node.told())) as pieces:
                    async for piece in pieces:
                        node.push(piece)
    finally:
        await chunks.aclose()
    value = joined(node.chunks)
    if not node.chunks and node.spec.function.yields_text:
        raise HeadwayError(
            f"{node.told()} yielded nothing, so it has no value; yield at least one chunk, or give it a default="
        )
    return value


async def threaded(node: Node, call: Callable[[], Any]) -> Any:
    """Run a plain function where it holds up nobody; on a virtual loop, which cannot wait for threads, right here."""

    def guarded() -> Any:
        try:
            return call()
        except StopIteration as error:  # no future takes it
            raise RuntimeError(f"{node.name} raised StopIteration") from error

    run = node.run
    if node.index < 0 or getattr(run.loop, "is_virtual", False):
        value = guarded()
    else:
        value = await in_thread(node, guarded)
    if isinstance(value, Awaitable) and not isinstance(value, Stream):
        let_go(value)
        raise HeadwayError(f"{node.told()} returned something to be awaited; make its function `async def`")
    return value
