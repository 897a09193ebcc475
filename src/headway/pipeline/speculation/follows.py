"""What follows what: counts of steps within sessions, from the call log and from what happens now.

The context is the step that came last, with its label; where little is known of that, the step alone; where little is
known of that, nothing at all. Each is the prior of the longer one and weighs as much as two sights (Dirichlet
smoothing: MacKay and Peto, "A hierarchical Dirichlet language model", 1995). What is told is a lower bound of the
likelihood. A session that ends there is a sight after which nothing followed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from headway.policy.speculation import lower_bound

if TYPE_CHECKING:
    from headway.store.call_reader import CallLogReader
    from headway.store.rows import LogRow

__all__ = ["PREFETCH_STEP", "Follows", "Happening", "Likely"]

PREFETCH_STEP = "prefetch:"
"""What the step's name begins with in the tags of a prefetch's calls."""

PRIOR_SIGHTS = 2.0
KEPT = 0.995
"""Of the weight of what was seen, at each further sight of the same context: that of 140 sights ago counts half."""
CONTEXTS_MAX = 4_096
FOLLOWERS_MAX = 64
SESSIONS_MAX = 10_000
ROWS_MAX = 100_000


class Happening(NamedTuple):
    """A step, and what kind of its use it was."""

    step: str
    label: str = ""


class Likely(NamedTuple):
    """A step that may come next."""

    step: str
    label: str
    likelihood: float
    """A lower bound, 0 to 1."""


_Context: TypeAlias = tuple[str, ...]
"""(step, label), (step,) or ()."""


class _Seen:
    """What came after one context."""

    __slots__ = ("next", "sights")

    def __init__(self) -> None:
        self.sights = 0.0
        self.next: dict[Happening, float] = {}

    @property
    def weight(self) -> float:
        """Sights; at least as many as followers, which come later and so have faded less."""
        return max(self.sights, sum(self.next.values()))


class Follows:
    """A predictor of the next step of a session; bounded in what it keeps.

    It takes time with the followers that a context has, 64 at most: with 300 labels some 20 us for what it is told, and
    some 100 us for what it is asked.

    ::

        with CallLogReader(path) as reader:
            follows = headway.Follows.learn(reader, pipeline="turn")
        follows.observe("answer", label="price", session="s1")
        follows.next("answer", label="price")    # [Likely(step="answer", label="delivery", likelihood=0.71), ...]
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[_Context, _Seen] = OrderedDict()
        self._last: OrderedDict[str, Happening] = OrderedDict()

    @classmethod
    def learn(
        cls,
        reader: CallLogReader,
        *,
        pipeline: str | None = None,
        since_wall_s: float | None = None,
        label: Callable[[LogRow], str] | None = None,
        rows_max: int = ROWS_MAX,
    ) -> Follows:
        """What the call log tells: its calls that have a session and a step, in the order of their steps' first calls.

        Args:
            reader: The call log.
            pipeline: Calls of that pipeline alone; None: of all.
            since_wall_s: No older ones, Unix seconds.
            label: A call's label, e.g. from its prompt where the log keeps texts; None: steps have none.
            rows_max: The youngest so many calls.
        """
        follows = cls()
        follows.read(reader.calls(since_wall_s=since_wall_s, limit=rows_max), pipeline=pipeline, label=label)
        return follows

    def read(
        self, rows: Iterable[LogRow], *, pipeline: str | None = None, label: Callable[[LogRow], str] | None = None
    ) -> None:
        """Learn from rows of the call log, oldest first; see `learn`. Several calls of one step are one."""
        started: dict[tuple[str, str, str], LogRow] = {}
        for row in rows:
            if not row.session or not row.step or row.step.startswith(PREFETCH_STEP):
                continue
            if pipeline is None or row.parent == pipeline:
                started.setdefault((row.session, row.run, row.step), row)
        for (session, _, step), row in started.items():
            self.observe(step.partition("#")[0], label=label(row) if label else "", session=session)

    def observe(self, step: str, *, label: str = "", session: str = "") -> None:
        """It happened now, in that session. Sessions that were silent the longest are forgotten beyond 10,000."""
        now = Happening(step, label)
        before = self._last.get(session)
        if before is not None:
            for context in _contexts(before):
                seen = self._seen.get(context)
                if seen is not None:
                    seen.next[now] = seen.next.get(now, 0.0) + 1.0
                    if len(seen.next) > FOLLOWERS_MAX:
                        del seen.next[min(seen.next, key=seen.next.__getitem__)]
        for context in _contexts(now):
            self._sight(context)
        self._last[session] = now
        self._last.move_to_end(session)
        if len(self._last) > SESSIONS_MAX:
            self._last.popitem(last=False)

    def next(self, step: str, *, label: str = "", most: int = 5) -> list[Likely]:
        """What comes after that step, the likeliest first, at most so many.

        Likelihoods add up to 1 at most, for a session may end and what is new may come.
        """
        means: dict[Happening, float] = {}
        sights = 0.0
        for context in reversed(_contexts(Happening(step, label))):
            seen = self._seen.get(context)
            if seen is None:
                continue
            whole = seen.weight + PRIOR_SIGHTS
            means = {
                happening: (seen.next.get(happening, 0.0) + PRIOR_SIGHTS * means.get(happening, 0.0)) / whole
                for happening in {**means, **seen.next}
            }
            sights = seen.weight
        likely = [
            Likely(*happening, lower_bound(min(1.0, mean), sights + PRIOR_SIGHTS)) for happening, mean in means.items()
        ]
        return sorted(likely, key=lambda one: -one.likelihood)[:most]

    def _sight(self, context: _Context) -> None:
        seen = self._seen.get(context)
        if seen is None:
            seen = self._seen[context] = _Seen()
            if len(self._seen) > CONTEXTS_MAX:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(context)
            seen.sights *= KEPT
            for happening in seen.next:
                seen.next[happening] *= KEPT
        seen.sights += 1.0


def _contexts(happening: Happening) -> tuple[_Context, ...]:
    """From the longest to the empty one."""
    step, label = happening
    return ((step, label), (step,), ()) if label else ((step,), ())
