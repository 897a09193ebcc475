"""The account of one engine's speculation: what is launched, what came of it, what it saved and what it wasted."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from headway.engine.core import Engine
from headway.engine.current import current_engine
from headway.pipeline.spec import Spec
from headway.pipeline.speculation.fetched import Figures, Key, Known, Prefetch
from headway.pipeline.speculation.use import Use
from headway.policy.speculation import Guess, Purse, SpeculationSettings, Trust

__all__ = ["Speculation", "speculation"]

KEPT_MAX = 1_024
"""Prefetches that may still be asked for; the oldest is booked as wasted when there are more."""
STEPS_MAX = 1_000
"""Steps that figures are kept of; beyond them the one that was not seen for the longest is forgotten."""


class _Step:
    """One step's figures, what it takes, and how its likelihoods are to be taken."""

    __slots__ = ("figures", "known", "trust")

    def __init__(self, settings: SpeculationSettings) -> None:
        self.figures = Figures()
        self.known = Known(settings.saving_s_assumed, settings.cost_usd_assumed)
        self.trust = Trust()


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
        self._steps: OrderedDict[Spec, _Step] = OrderedDict()
        self._open: OrderedDict[Key, Prefetch] = OrderedDict()

    # -- before ----------------------------------------------------------------------------------------------------

    def launch(
        self,
        key: Key,
        guess: tuple[float, float | None, float | None],
        work: Callable[[], Coroutine[Any, Any, None]],
        context: Callable[[Prefetch], Context],
    ) -> Prefetch:
        """Start fetching a step ahead if it is worth it; the one under way or there already where there is one.

        Args:
            key: The step and its arguments.
            guess: The likelihood, 0 to 1, and the seconds and dollars that it takes; None: as known.
            work: Makes what is run.
            context: Makes what it runs in.
        """
        now_s = asyncio.get_running_loop().time()
        self._expire(now_s)
        known = self._open.get(key)
        if known is not None:
            return known
        of = self._of(key[0])
        stated, saving_s, cost_usd = guess
        likelihood = of.trust.of(stated)
        saving_s = of.known.seconds if saving_s is None else saving_s
        cost_usd = of.known.usd if cost_usd is None else cost_usd
        why = self._why_not(Guess(likelihood, saving_s, cost_usd), of.known.most_usd)
        if why:
            return Prefetch(key, likelihood, why=why)
        prefetch = Prefetch(key, likelihood, stated=stated, expected_usd=cost_usd, began_s=now_s)
        self._open[key] = prefetch
        self._purse.launch(cost_usd)
        of.figures.launched += 1
        of.figures.under_way += 1
        prefetch.task = self._engine.prefetch.start(work(), context=context(prefetch))
        prefetch.task.add_done_callback(lambda task: self._ended(prefetch, task))
        return prefetch

    def afford(self, prefetch: Prefetch, most_usd: float) -> str:
        """A request of one under way may cost so much; a sentence where that is more than may be wasted."""
        if prefetch.ended_s is not None:
            return f"the prefetch of {prefetch.step!r} is over; what it left behind sends nothing more"
        needed_usd = prefetch.tried_usd + prefetch.trying_usd + most_usd
        self._of(prefetch.key[0]).known.most_usd = needed_usd
        if not self._purse.grow(needed_usd - prefetch.reserved_usd, self.real_usd):
            return (
                f"a request of it may cost up to ${most_usd:.6f}, and ${self._at_risk_usd:.6f} are at risk or wasted, "
                "which is more than may be wasted; bound the output, or raise allowance_usd (SpeculationSettings)"
            )
        prefetch.reserved_usd = max(prefetch.reserved_usd, needed_usd)
        return ""

    def _why_not(self, guess: Guess, most_usd: float) -> str:
        """A sentence; "" to launch."""
        if self._engine.settings.cache == "off":
            return "the engine's cache is off, so nothing could be kept; open it with cache=True"
        if not self._engine.prefetch.room:
            return "others wait for the provider's limits, half of the engine's budget is spent, or 16 are under way"
        refusal = self._purse.judge(guess, self.real_usd)
        if not refusal and not self._purse.fits(most_usd, self.real_usd):
            return f"what may be wasted is short (it might cost ${most_usd:.6f}, as the last one)"
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

    def asked(self, key: Key) -> Use:
        """A real call of a step begins; see `Use`."""
        self._expire(asyncio.get_running_loop().time())
        prefetch = self._open.get(key)
        return Use(self, key, None if prefetch is None or prefetch.found else prefetch)

    def came(self, prefetch: Prefetch, saved_s: float, again_usd: float, *, was_there: bool) -> float:
        """A real call found it: the seconds that it saved, and the dollars that were paid for parts of it again."""
        prefetch.asked -= 1
        if prefetch.found:
            return 0.0  # equal calls at the same time
        prefetch.found = True
        of = self._of(prefetch.key[0])
        of.trust.learn(prefetch.stated, came=True)
        if was_there:
            of.figures.hits += 1
        else:
            of.figures.joined += 1
        of.figures.saved_s += saved_s
        self._settle(prefetch, again_usd)
        return saved_s

    def missed(self, prefetch: Prefetch) -> None:
        """A real call came, and found nothing of it: no other will."""
        prefetch.asked -= 1
        if prefetch.found or prefetch.asked:
            return
        if prefetch.task is not None:
            prefetch.task.cancel()
        elif prefetch.state == "ready":
            self._waste(prefetch)
        else:
            self._settle(prefetch)

    def left(self, prefetch: Prefetch) -> None:
        """A real call ended before it could tell; another one may come."""
        prefetch.asked -= 1
        if prefetch.unwanted:
            prefetch.cancel()
        self._settle(prefetch)

    def learn(self, key: Key, seconds: float, usd: float) -> None:
        """What a real call of a step took, so that the first guess is judged by it."""
        self._of(key[0]).known.learn(seconds, usd)

    def stats(self) -> dict[str, Any]:
        """The figures of all steps together and, under "steps", by name; see `Figures`. `real_usd` beside."""
        self._expire(asyncio.get_running_loop().time())
        whole = Figures()
        named: dict[str, Figures] = {}
        for spec, step in self._steps.items():
            if step.figures.launched:
                named.setdefault(spec.name, Figures()).add(step.figures)
                whole.add(step.figures)
        steps = {name: figures.as_dict() for name, figures in named.items()}
        return {**whole.as_dict(), "real_usd": self.real_usd, "steps": steps}

    def _ended(self, prefetch: Prefetch, task: asyncio.Task[None]) -> None:
        now_s = asyncio.get_running_loop().time()
        error = None if task.cancelled() else task.exception()  # it is nobody's: the real call will meet it
        if error is not None:
            prefetch.why = f"{type(error).__name__}: {error}"
        prefetch.end("cancelled" if task.cancelled() else "ready" if error is None else "failed", now_s)
        of = self._of(prefetch.key[0])
        of.figures.under_way -= 1
        self._purse.end(prefetch.reserved_usd, prefetch.dollars)
        if prefetch.state == "ready":
            if prefetch.attempts or not prefetch.calls:  # else all of it was in the cache: that says nothing
                of.known.learn(prefetch.seconds(now_s), prefetch.dollars)
            of.figures.ready += 1
            of.figures.ready_usd += prefetch.dollars
            self._open.move_to_end(prefetch.key)
        self._settle(prefetch)

    def _settle(self, prefetch: Prefetch, again_usd: float = 0.0) -> None:
        """Book one whose fate is known: it has ended, and was found, or has failed and nobody may find it any more."""
        if prefetch.ended_s is None or (prefetch.asked and not prefetch.found):
            return
        figures = self._of(prefetch.key[0]).figures
        if prefetch.found:
            self._close(prefetch)
            lost_usd = min(again_usd, prefetch.dollars)
            prefetch.state = "used"
            self._purse.use(prefetch.dollars - lost_usd)
            figures.used_usd += prefetch.dollars - lost_usd
            figures.wasted_usd += lost_usd
        elif prefetch.state != "ready":
            self._close(prefetch)
            setattr(figures, prefetch.state, getattr(figures, prefetch.state) + 1)
            figures.wasted_usd += prefetch.dollars
            if prefetch.state == "cancelled":
                self._of(prefetch.key[0]).trust.learn(prefetch.stated, came=False)

    def _waste(self, prefetch: Prefetch) -> None:
        """One that is there is of no use."""
        self._close(prefetch)
        prefetch.state = "wasted"
        of = self._of(prefetch.key[0])
        of.figures.wasted += 1
        of.figures.wasted_usd += prefetch.dollars
        of.trust.learn(prefetch.stated, came=False)

    def _close(self, prefetch: Prefetch) -> None:
        self._open.pop(prefetch.key, None)
        if prefetch.state == "ready":
            self._of(prefetch.key[0]).figures.unready(prefetch.dollars)

    def _expire(self, now_s: float) -> None:
        """Book as wasted what nobody has asked for in time. Ready ones stand in the order of their ends."""
        for prefetch in list(self._open.values()):
            if prefetch.ended_s is None or prefetch.asked:
                continue
            if prefetch.ended_s + self.settings.patience_s > now_s and len(self._open) <= KEPT_MAX:
                return
            self._waste(prefetch)

    def _of(self, spec: Spec) -> _Step:
        step = self._steps.get(spec)
        if step is None:
            step = self._steps[spec] = _Step(self.settings)
            if len(self._steps) > STEPS_MAX:
                self._steps.popitem(last=False)
        else:
            self._steps.move_to_end(spec)
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
