"""Calls that have just failed finally: an SDK that tries again by itself gets the same failure, not more attempts.

The SDKs cannot read "do not retry" from an exception; the header that counts their own tries tells which requests are
theirs (FACTS section 11).
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from hashlib import sha256

from headway.errors import HeadwayError
from headway.types import Call

__all__ = ["FailureMemo"]

COUNTER = "x-stainless-retry-count"


class FailureMemo:
    """Remembers failures for a short while.

    Args:
        keep_s: Longer than the longest pause the SDKs make between two tries, which is 8 s.
        entries_max: The oldest are forgotten first.
    """

    __slots__ = ("_entries_max", "_failures", "_keep_s")

    def __init__(self, keep_s: float = 20.0, entries_max: int = 1024) -> None:
        self._keep_s = keep_s
        self._entries_max = entries_max
        self._failures: OrderedDict[bytes, tuple[float, HeadwayError, str]] = OrderedDict()

    def note(self, call: Call, error: HeadwayError, kind: str, now_s: float) -> None:
        """The call has failed with this error, of which the caller saw an exception named `kind`."""
        kept = copy.copy(error)  # without its traceback, which holds the call and its answer in memory
        key = _key(call)
        self._failures[key] = (now_s + self._keep_s, kept, kind)
        self._failures.move_to_end(key)
        while len(self._failures) > self._entries_max:
            self._failures.popitem(last=False)

    def find(self, call: Call, now_s: float) -> tuple[HeadwayError, str] | None:
        """The error and kind that the call failed with a moment ago, if this is an SDK's own next try of it."""
        if not self._failures:
            return None
        count = next((value for name, value in call.headers if name == COUNTER), "0")
        if count == "0":
            return None
        found = self._failures.get(_key(call))
        return found[1:] if found is not None and now_s < found[0] else None


def _key(call: Call) -> bytes:
    head = "\n".join((call.tenant, call.method, call.origin, call.path, call.namespace, call.sample, ""))
    return sha256(head.encode("utf-8", "surrogatepass") + call.body).digest()
