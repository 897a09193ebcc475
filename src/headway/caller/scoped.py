"""A call inside of a pipeline's step takes on what surrounds it: tags, deadline, priority, models, who pays for it."""

from __future__ import annotations

from msgspec.structs import replace

from headway.types import Call, Tags, Trace
from headway.types.scope import SCOPE, Scope
from headway.wire import model_in_path, path_with_model
from headway.wire.splice import with_model

__all__ = ["belonging", "scoped"]


def belonging(trace: Trace) -> Scope | None:
    """The scope that a call made now belongs to; its trace gets the tags, and its end is told there."""
    scope = SCOPE.get()
    if scope is None or not scope.open:
        return None
    if scope.ended is not None:
        trace.on_end(scope.ended)
    if not trace.tags.run:
        trace.tags = _filled(trace.tags, scope.tags)
    return scope


def scoped(call: Call) -> Call:
    """The call as one of its scope's. What it says of itself stands; its trace gets the same tags and model.

    Raises:
        Closed: It comes from the thread of a step whose run is over.
    """
    if (around := SCOPE.get()) is not None:
        around.check()
    scope = belonging(call.trace)
    if scope is None:
        return call
    call = replace(
        call,
        tags=call.trace.tags,
        deadline_at_s=min(call.deadline_at_s, scope.deadline_at_s),
        priority=call.priority or scope.priority,
        allowance=scope.allowance,
    )
    model = scope.models.get(call.view.model)
    return call if model is None or model == call.view.model else _asking(call, model)


def _filled(own: Tags, around: Tags) -> Tags:
    if not (own.step or own.parent or own.session):
        return around
    return Tags(
        run=around.run,
        step=own.step or around.step,
        parent=own.parent or around.parent,
        session=own.session or around.session,
    )


def _asking(call: Call, model: str) -> Call:
    """The call for another model. Its key is made anew, from what is sent: the answer is another one."""
    body, path = with_model(call.body, model), call.path
    if body is None:
        return call  # no JSON object: whoever reads it says what is wrong with it
    if model_in_path(path):
        path = path_with_model(path, model)
        call.trace.path = path.partition("?")[0]
    call.trace.model, call.trace.body_bytes = model, len(body)
    return replace(call, path=path, body=body, view=replace(call.view, model=model), key=None)
