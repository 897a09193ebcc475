"""The account of one engine's speculation: what is launched, what came of it, what it saved and what it wasted."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from headway.engine.core import Engine
from headway.engine.current import current_engine
from headway.pipeline.speculation.fetched import Figures, Known, Prefetch
from headway.policy.speculation import Guess, Purse, SpeculationSettings, Trust

__all__ = ["Speculation", "Use", "speculation"]

KEPT_MAX = 1_024
"""Prefetches that may still be asked for; the oldest is booked as wasted when there are more."""
STEPS_MAX = 1_000


class _Step:
    """One step's figures, what it takes, and how its likelihoods are to be taken."""

    __slots__ = ("figures", "known", "trust")

    def __init__(self, settings: SpeculationSettings) -> None:
        self.figures = Figures()
        self.known = Known(settings.saving_s_assumed, settings.cost_usd_assumed)
        self.trust = Trust()


class Use:
    """A real call of a pure step, from its start to its end."""

    __slots__ = ("_book", "_name", "_prefetch")

    def __init__(self, book: Speculation, name: str, prefetch: Prefetch | None) -> None:
        self._book = book
        self._name = name
        self._prefetch = prefetch

    @property
    def speculative(self) -> bool:
        """Whether it was fetched ahead, and this is the first call that asks for it."""
        return self._prefetch is not None

    def ended(self, seconds: float, usd: float | None = None) -> float:
        """The real call has ended well; the seconds that it did not have to wait.

        Args:
            seconds: How long it took, >= 0.
            usd: What it cost, >= 0, which the next guess is judged by; None: not known, or some of it was cached.
        """
        if self._prefetch is not None:
            return self._book.saved(self._prefetch, seconds)
        if usd is not None:
            self._book.learn(self._name, seconds, usd)
        return 0.0


class Speculation:
    """See the module. Made by `speculation`; used on the engine's loop alone.

    Args:
        engine: Whose cache, dollars and limits they are.
        settings: What may be launched.
    """

    def __init__(self, engine: Engine, settings: SpeculationSettings) -> None:
        self.settings = settings
        self._engine = engine
        self._purse = Purse(settings)
        self._steps: OrderedDict[str, _Step] = OrderedDict()
        self._open: OrderedDict[bytes, Prefetch] = OrderedDict()

    # -- before ----------------------------------------------------------------------------------------------------

    def launch(
        self,
        name: str,
        key: bytes,
        guess: tuple[float, float | None, float | None],
        work: Callable[[], Coroutine[Any, Any, None]],
        context: Callable[[Prefetch], Context],
    ) -> Prefetch:
        """Start fetching a step ahead if it is worth it; the one under way or there already where there is one.

        Args:
            name: The step's.
            key: See `Prefetch`.
            guess: The likelihood, 0 to 1, and the seconds and dollars that it takes; None: as known.
            work: Makes what is run.
            context: Makes what it runs in.
        """
        now_s = asyncio.get_running_loop().time()
        self._expire(now_s)
        known = self._open.get(key)
        if known is not None:
            return known
        of = self._of(name)
        stated, saving_s, cost_usd = guess
        likelihood = of.trust.of(stated)
        saving_s = of.known.seconds if saving_s is None else saving_s
        cost_usd = of.known.usd if cost_usd is None else cost_usd
        why = self._why_not(Guess(likelihood, saving_s, cost_usd))
        if why:
            return Prefetch(name, likelihood, why=why)
        prefetch = Prefetch(name, likelihood, stated=stated, key=key, expected_usd=cost_usd, began_s=now_s)
        self._open[key] = prefetch
        self._purse.launch(cost_usd)
        of.figures.launched += 1
        of.figures.under_way += 1
        prefetch.task = self._engine.prefetch.start(work(), context=context(prefetch))
        prefetch.task.add_done_callback(lambda task: self._ended(prefetch, task))
        return prefetch

    def _why_not(self, guess: Guess) -> str:
        """A sentence; "" to launch."""
        if self._engine.settings.cache == "off":
            return "the engine's cache is off, so nothing could be kept; open it with cache=True"
        if not self._engine.prefetch.room:
            return "others wait for the provider's limits, half of the engine's budget is spent, or 16 are under way"
        refusal = self._purse.judge(guess, self.real_usd)
        if refusal == "busy":
            return f"{self._purse.under_way} are under way already (under_way_max)"
        what = f"likelihood {guess.likelihood:.2f}, {guess.saving_s:.1f} s to save, ${guess.cost_usd:.6f} to lose"
        if refusal == "budget":
            return f"what may be wasted is short ({what}; ${self._at_risk_usd:.6f} are at risk or wasted)"
        return f"it is likely not worth it ({what})" if refusal else ""

    @property
    def real_usd(self) -> float:
        """Dollars that the engine has spent on what was asked for; 0 where some price is unknown."""
        under_way = sum(one.dollars for one in self._open.values() if one.state == "under way")
        return max(0.0, (self._engine.snapshot()["dollars"] or 0.0) - self._purse.unused_usd - under_way)

    @property
    def _at_risk_usd(self) -> float:
        return self._purse.reserved_usd + self._purse.unused_usd

    # -- after -----------------------------------------------------------------------------------------------------

    def asked(self, name: str, key: bytes) -> Use:
        """A real call of a step begins."""
        self._expire(asyncio.get_running_loop().time())
        prefetch = self._open.get(key)
        if prefetch is None or prefetch.asked:
            return Use(self, name, None)
        of = self._of(prefetch.step)
        of.trust.learn(prefetch.stated, came=True)
        prefetch.asked = True
        if prefetch.state == "under way":
            of.figures.joined += 1
        else:
            of.figures.hits += 1
            of.figures.ready -= 1
            of.figures.ready_usd -= prefetch.dollars
            self._use(prefetch)
        return Use(self, name, prefetch)

    def saved(self, prefetch: Prefetch, seconds: float) -> float:
        """See `Use.ended`."""
        saved_s = max(0.0, prefetch.seconds(asyncio.get_running_loop().time()) - seconds)
        self._of(prefetch.step).figures.saved_s += saved_s
        return saved_s

    def learn(self, name: str, seconds: float, usd: float) -> None:
        """What a real call of a step took, so that the first guess is judged by it."""
        self._of(name).known.learn(seconds, usd)

    def stats(self) -> dict[str, Any]:
        """The figures of all steps together and, under "steps", of each by name; see `Figures`. `real_usd` beside."""
        self._expire(asyncio.get_running_loop().time())
        whole = Figures()
        for step in self._steps.values():
            whole.add(step.figures)
        steps = {name: step.figures.as_dict() for name, step in self._steps.items() if step.figures.launched}
        return {**whole.as_dict(), "real_usd": self.real_usd, "steps": steps}

    def _ended(self, prefetch: Prefetch, task: asyncio.Task[None]) -> None:
        now_s = asyncio.get_running_loop().time()
        failed = not task.cancelled() and task.exception() is not None  # it is nobody's: the real call will meet it
        prefetch.end("cancelled" if task.cancelled() else "failed" if failed else "ready", now_s)
        of = self._of(prefetch.step)
        of.figures.under_way -= 1
        self._purse.end(prefetch.expected_usd, prefetch.dollars)
        if prefetch.state == "ready":
            if prefetch.attempts or not prefetch.calls:  # else all of it was in the cache: that says nothing
                of.known.learn(prefetch.seconds(now_s), prefetch.dollars)
            if prefetch.asked:
                self._use(prefetch)
                return
            of.figures.ready += 1
            of.figures.ready_usd += prefetch.dollars
            self._open.move_to_end(prefetch.key)
            return
        self._open.pop(prefetch.key, None)
        if prefetch.asked:
            self._use(prefetch)
        else:
            setattr(of.figures, prefetch.state, getattr(of.figures, prefetch.state) + 1)
            of.figures.wasted_usd += prefetch.dollars
            if prefetch.state == "cancelled":
                of.trust.learn(prefetch.stated, came=False)

    def _use(self, prefetch: Prefetch) -> None:
        """It has ended, and was asked for."""
        self._open.pop(prefetch.key, None)
        prefetch.state = "used"
        self._purse.use(prefetch.dollars)
        self._of(prefetch.step).figures.used_usd += prefetch.dollars

    def _expire(self, now_s: float) -> None:
        """Book as wasted what nobody has asked for in time. Ready ones stand in the order of their ends."""
        for prefetch in list(self._open.values()):
            if prefetch.ended_s is None:
                continue
            if prefetch.ended_s + self.settings.patience_s > now_s and len(self._open) <= KEPT_MAX:
                return
            del self._open[prefetch.key]
            prefetch.state = "wasted"
            of = self._of(prefetch.step)
            of.figures.ready -= 1
            of.figures.ready_usd -= prefetch.dollars
            of.figures.wasted += 1
            of.figures.wasted_usd += prefetch.dollars
            of.trust.learn(prefetch.stated, came=False)

    def _of(self, name: str) -> _Step:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = _Step(self.settings)
            if len(self._steps) > STEPS_MAX:
                self._steps.popitem(last=False)
        return step


def speculation(engine: Engine | None = None, settings: SpeculationSettings | None = None) -> Speculation:
    """The account of an engine's speculation, made when it is first asked for.

    Args:
        engine: None: the current one, see `headway.current_engine`.
        settings: What may be launched from the beginning; an account that is there already is begun anew.
    """
    engine = engine or current_engine()
    book = engine.prefetch.book
    if settings is not None or not isinstance(book, Speculation):
        book = engine.prefetch.book = Speculation(engine, settings or SpeculationSettings())
    return book
