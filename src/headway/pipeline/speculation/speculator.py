"""Prefetching by itself: after each step of a session, what usually comes next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from headway.engine.core import Engine
from headway.engine.current import current_engine
from headway.errors import ConfigError
from headway.pipeline.speculation.ahead import fetch
from headway.pipeline.speculation.fetched import Prefetch
from headway.pipeline.speculation.follows import Follows, Happening, Likely
from headway.types import Tags

if TYPE_CHECKING:
    from headway.pipeline.step import Step

__all__ = ["Speculator"]


class _Rule(NamedTuple):
    step: Step[Any]
    arguments: Callable[[Any], Any]


class Speculator:
    """Learns what follows what, and prefetches what is likely next.

    ::

        speculate = headway.Speculator()
        speculate.on(answer, lambda product: f"What does the {product} cost?", label="price")
        ...
        speculate.after(answer, label="overview", session="s1", context="lamp")

    Args:
        follows: What was learned before, see `Follows.learn`; None: it begins with nothing, and learns as it goes.
        most: Guesses launched after one step, at most.
        engine: None: the current one, each time.
    """

    def __init__(self, follows: Follows | None = None, *, most: int = 2, engine: Engine | None = None) -> None:
        if most < 1:
            raise ConfigError(f"Speculator: most must be a number from 1, not {most!r}")
        self.follows = follows if follows is not None else Follows()
        self._most = most
        self._engine = engine
        self._rules: dict[Happening, _Rule] = {}

    def on(self, step: Any, arguments: Callable[[Any], Any], *, label: str = "") -> None:
        """Say with what arguments a step would be called, where it is likely next under that label.

        Args:
            step: A step marked ``pure=True``.
            arguments: Given the context, a tuple of the arguments, or the only one; None: that cannot be told now.
            label: What kind of use of the step this is. Said again of a step of that name, it replaces the first.

        Raises:
            ConfigError: It is no step, or not pure.
        """
        if not getattr(step, "pure", False):
            raise ConfigError(
                "Speculator.on needs a step declared with @headway.step(pure=True), "
                f"not {getattr(step, 'name', step)!r}"
            )
        self._rules[Happening(step.name, label)] = _Rule(step, arguments)

    def after(self, step: Any, *, label: str = "", session: str = "", context: Any = None) -> list[Prefetch]:
        """The step has happened in that session: learn it, and prefetch what is likely next.

        Args:
            step: The step, or its name.
            label: What kind of use it was, in the program's own words: a topic, a button.
            session: Whose it was; what follows what is counted within it.
            context: Given to the functions that tell the arguments.

        Returns:
            Each guess that has a rule, the likeliest first: true where it was launched, else with its reason.
        """
        name = step if isinstance(step, str) else step.name
        self.follows.observe(name, label=label, session=session)
        engine = self._engine or current_engine()
        fetched: list[Prefetch] = []
        for likely in self.next(name, label=label)[: self._most]:
            rule = self._rules[Happening(likely.step, likely.label)]
            arguments = rule.arguments(context)
            if arguments is None:
                continue
            args = arguments if isinstance(arguments, tuple) else (arguments,)
            guess = (likely.likelihood, None, None)
            fetched.append(fetch(rule.step, args, {}, guess, engine, Tags(session=session)))
        return fetched

    def next(self, step: Any, *, label: str = "") -> list[Likely]:
        """What is likely after it and has a rule, the likeliest first."""
        name = step if isinstance(step, str) else step.name
        likely = self.follows.next(name, label=label, most=64)
        return [one for one in likely if Happening(one.step, one.label) in self._rules]
