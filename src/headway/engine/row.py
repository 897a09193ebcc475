"""One row's way to an accepted answer: what to ask, what came back, what to ask next. Whoever sends decides how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

from headway.engine.bounds import BoundedTask
from headway.engine.sentences import CUT, FAULTS, cut, failure, fault
from headway.errors import HeadwayError, InputError
from headway.policy.output_bound import OutputBound
from headway.types import Result, TaskLike, Trace, Usage
from headway.wire import reader_for

__all__ = ["OpenedRow", "RowAsk", "add_usage"]


class OpenedRow(TaskLike, Protocol):
    """What a task with an `opened()` gives for each row: itself, with a memory of the parts that came already."""

    @property
    def value(self) -> Any:
        """The parts that are good; None while there is none. A row that fails has them, too."""
        ...

    @property
    def text(self) -> str:
        """The same, as text."""
        ...


class RowAsk:
    """A row on its way: `body` is what to send now; `answered` or `failed` says what came of it; `result` ends it.

    Args:
        task: What is asked, and what an answer has to be.
        row: The row.
        bound: What the answers to this task take, to ask for no more; see `engine.bounds.open_bound`. The cache key
            stays that of the task's own body, and an answer that is of no use because of it is asked for anew.
    """

    __slots__ = (
        "_asked",
        "_attempts",
        "_bound",
        "_cache",
        "_dollars",
        "_error",
        "_error_code",
        "_lost",
        "_opened",
        "_outcome",
        "_row",
        "_saved",
        "_status",
        "_stop",
        "_task",
        "_text",
        "_usage",
        "_value",
        "_wait_s",
        "_widened",
        "body",
        "cache",
        "key_body",
        "repairs",
        "settled",
    )

    def __init__(self, task: TaskLike, row: Mapping[str, Any], bound: OutputBound | None = None) -> None:
        opened = getattr(task, "opened", None)
        self._opened: OpenedRow | None = None if opened is None else opened()
        self._task = task if self._opened is None else self._opened
        self._bound = bound
        self._asked: int | None = None  # the bound in `body` that is ours, not the task's
        self._stop = False  # whether `body` has stop texts that are ours
        self._widened = False
        self._row = row
        self._attempts = 0
        self._cache = ""
        self._dollars: float | None = 0.0
        self._saved: float | None = None
        self._usage: Usage | None = None
        self._wait_s = 0.0
        self._value: Any = None
        self._text = self._error = self._error_code = ""
        self._outcome = "ok"
        self._status: int | None = None
        self._lost = 0
        self.repairs = 0
        """How often it was asked again."""
        self.settled = False
        """Whether there is nothing more to ask; a row that cannot be asked about is settled from the beginning."""
        self.body = b""
        self.key_body: bytes | None = None
        self.cache: Literal["off", "refresh"] | None = None
        """How to send `body` past the cache; None: as usual."""
        try:
            self.body, self.key_body = task.body(row), task.key_body(row)
            if bound is not None and (bound.tokens is not None or bound.stop):
                self._bounded(self.body, bound.tokens, stop=bound.stop)
        except InputError as problem:
            self.failed(problem)
        except FAULTS as odd:
            self.failed(InputError(fault("body or key_body", odd)))

    @property
    def in_parts(self) -> bool:
        """Whether it may be asked again about a part of it only."""
        return self._opened is not None

    def begin_again(self, trace: Trace) -> None:
        """An answer to a question that nobody remembers: it is paid for, and as many are allowed as without it."""
        self.add(trace)
        self._lost += 1

    def answered(self, status: int, data: bytes, trace: Trace) -> bool:
        """Take an answer, whatever its status; whether the row is settled. If not, `body` is what to ask next."""
        self.settled = self._answered(status, data, trace)
        return self.settled

    def _answered(self, status: int, data: bytes, trace: Trace) -> bool:
        self._status = status
        self.add(trace)
        task = self._task
        if trace.outcome != "ok" or status >= 400:
            if self._refused(status, data):
                return False
            self._judge(trace.outcome or "bad_reply", failure(task.path, status, data, trace), trace.error_code)
            return True
        reader = reader_for(task.path)
        text = self._text = reader.text(data) if reader is not None else data.decode("utf-8", "replace")
        is_cut = trace.finish in CUT
        if is_cut and self._wider(trace):
            return False
        if self._bound is not None and trace.usage is not None and not trace.usage.estimated and not self.repairs:
            self._bound.answered(trace.usage.output_tokens)
        if is_cut and not task.bears_cutting:
            # Asking again would be cut again: the bound is what must change.
            self._judge("invalid_output", cut(trace), "cut")
            return True
        try:
            whole = getattr(task, "accept_whole", None) if not text else None
            self._value = task.accept(text) if whole is None else whole(data)
            if self._stop and text.rstrip().endswith(":"):
                raise ValueError("the answer ends where it was to begin")
        except ValueError as problem:
            if self._unstopped(trace):
                return False
            self._judge("invalid_output", str(problem), "invalid_output")
        except FAULTS as odd:
            self._judge("invalid_output", fault("accept", odd), "invalid_output")
            return True
        else:
            self._judge("ok")
            return True
        return not self._repaired()

    # -- what is our own doing, and asked for anew ---------------------------------------------------------------

    def _ask(self, tokens_max: int | None, *, stop: bool) -> None:
        """Have `body` ask with that bound (None: the task's own), and with the stop texts or without."""
        plain = self._task.body(self._row)
        if tokens_max is None and not stop:
            self._asked, self._stop = tokens_max, stop
            self.body, self.key_body = plain, self._task.key_body(self._row)
        else:
            self._bounded(plain, tokens_max, stop=stop)

    def _bounded(self, plain: bytes, tokens_max: int | None, *, stop: bool) -> None:
        """As `_ask`, where that is not the task's own body, `plain`."""
        self._asked, self._stop = tokens_max, stop
        self.body = cast("BoundedTask", self._task).bounded_body(self._row, tokens_max=tokens_max, stop=stop)
        self.key_body = self.key_body or plain

    def _refused(self, status: int, data: bytes) -> bool:
        """Whether the provider refuses what we added: then it is left out, here and from now on."""
        bound = self._bound
        if bound is None or status not in (400, 422) or (self._asked is None and not self._stop):
            return False
        if self._stop and b"stop" in data:
            bound.refused(stop=True)
            self._ask(self._asked, stop=False)
            return True
        if self._asked is not None and b"max_" in data:
            bound.refused(stop=False)
            self._ask(None, stop=self._stop)
            return True
        return False

    def _wider(self, trace: Trace) -> bool:
        """Whether an answer was cut by our bound: asked again at twice that, and at last at the task's own."""
        bound = self._bound
        if bound is None or self.repairs:
            return False
        if self._asked is not None:
            bound.cut()
            wider = None if self._widened else bound.twice(self._asked)
            self._widened = True
            self._ask(wider, stop=self._stop)
            return True
        return self._alone(trace)

    def _unstopped(self, trace: Trace) -> bool:
        """Whether an answer may be of no use because it stopped early: asked again without the stop texts."""
        bound = self._bound
        if bound is None or self.repairs:
            return False
        if self._stop:
            bound.misled()
            self._ask(self._asked, stop=False)
            self.cache = "refresh"  # what the stop text has left must not be the answer to the plain question
            return True
        return self._alone(trace)

    def _alone(self, trace: Trace) -> bool:
        """Whether the bad answer was shared with an equal row that asked for less: asked again, unshared."""
        if trace.cache != "joined" or self.cache == "off":
            return False
        self._ask(None, stop=False)
        self.cache = "off"
        return True

    def failed(self, error: HeadwayError) -> None:
        """There is no answer: the row ends with this error."""
        self.settled = True
        self._judge(error.code, str(error), error.code)
        if error.trace is not None:
            self.add(error.trace)
        if getattr(error, "maybe_billed", False):
            self._dollars = None

    def add(self, trace: Trace) -> None:
        """Count what a request has taken."""
        self._attempts += trace.attempts
        self._cache = self._cache or trace.cache
        self._wait_s += trace.wait_s
        unknown = trace.dollars is None or self._dollars is None
        self._dollars = None if unknown else (self._dollars or 0.0) + (trace.dollars or 0.0)
        if trace.saved_dollars is not None:
            self._saved = (self._saved or 0.0) + trace.saved_dollars
        if trace.usage is not None:
            self._usage = trace.usage if self._usage is None else add_usage(self._usage, trace.usage)

    def result(self, index: int, *, latency_s: float, started_at_s: float) -> Result:
        """What became of the row."""
        value, text, opened = None if self._error else self._value, self._text, self._opened
        if opened is not None:  # the last answer may have held a part only
            value, text = opened.value, opened.text if self.repairs else text
        return Result(
            index=index,
            row=self._row,
            value=value,
            text=text,
            error=self._error,
            outcome=self._outcome,
            status=self._status,
            error_code=self._error_code,
            latency_s=latency_s,
            wait_s=self._wait_s,
            usage=self._usage,
            dollars=self._dollars,
            saved_dollars=self._saved,
            cache=self._cache or "off",
            attempts=self._attempts,
            repairs=self.repairs,
            started_at_s=started_at_s,
        )

    def _repaired(self) -> bool:
        """Whether there is one more question to ask; `body` then holds it."""
        if self.repairs >= self._task.repairs_max + self._lost:
            return False
        self.repairs += 1
        try:
            self.body, self.key_body = self._task.repair(self._row, self._text, self._error), None
            self.cache = "off"  # a repair asks about one bad answer: reusing another's would defeat it
        except FAULTS as odd:
            self._judge("invalid_output", fault("repair", odd), "invalid_output")
            return False
        return True

    def _judge(self, outcome: str, error: str = "", error_code: str = "") -> None:
        self._outcome, self._error, self._error_code = outcome, error, error_code


def add_usage(a: Usage, b: Usage) -> Usage:
    """Both together."""
    return Usage(
        input_tokens=a.input_tokens + b.input_tokens,
        cached_tokens=a.cached_tokens + b.cached_tokens,
        cache_write_tokens=a.cache_write_tokens + b.cache_write_tokens,
        cache_write_1h_tokens=a.cache_write_1h_tokens + b.cache_write_1h_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
        reasoning_tokens=a.reasoning_tokens + b.reasoning_tokens,
        estimated=a.estimated or b.estimated,
    )
