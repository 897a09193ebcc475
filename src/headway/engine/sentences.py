"""One sentence for an answer that is of no use: who said what, and what to do."""

from __future__ import annotations

import msgspec

from headway.types import Trace
from headway.wire import reader_for

__all__ = ["CUT", "FAULTS", "cut", "failure", "fault"]

FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, msgspec.MsgspecError, OSError, RuntimeError,
    StopIteration, TypeError, ValueError,
)  # fmt: skip
"""What a task's own methods may raise over one odd row or answer: that row fails, the others go on."""

CUT = frozenset({"length", "incomplete", "max_output_tokens", "max_tokens"})
"""Finish reasons of answers that ended at their token bound."""

_HINTS = {
    "auth": "; check the API key (OPENAI_API_KEY, the provider's own variable, or api_key)",
    "billing": "; the account has no money or budget left: top it up, then run again",
    "throttled": "; the limits were still exceeded after several tries: send less at once, or later",
}


def failure(path: str, status: int, data: bytes, trace: Trace) -> str:
    """For an answer that is an error."""
    reader = reader_for(path)
    view = reader.read_answer(status, data).error if reader is not None else None
    said = f": {view.message.rstrip('.')}" if view is not None and view.message else ""
    model = f" for model {trace.model!r}" if trace.model else ""
    hint = _HINTS.get(trace.outcome or "", "")
    code = f" {trace.error_code}" if trace.error_code and trace.error_code != str(status) else ""
    return f"{trace.upstream} answered {status}{code}{model}{said}{hint}"


def cut(trace: Trace) -> str:
    """For an answer that ended at its bound."""
    bound = f" of {trace.output_tokens_max} tokens" if trace.output_tokens_max else ""
    return f"the answer was cut at its bound{bound}; raise max_output_tokens, or ask for less"


def fault(method: str, error: Exception) -> str:
    """For a task whose own code could not deal with a row or an answer."""
    said = f"{type(error).__name__}: {str(error)[:200]}"
    return f"the task's {method} failed on this row ({said}); mend the row or the task"
