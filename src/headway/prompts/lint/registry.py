"""All rules, in the order of their ids."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from headway.errors import ConfigError
from headway.prompts.lint import (
    rules_asked,
    rules_calls,
    rules_examples,
    rules_near,
    rules_output,
    rules_prefix,
    rules_repeat,
    rules_space,
    rules_wording,
)
from headway.prompts.lint.rule import Rule

__all__ = ["RULES", "chosen", "rule_named"]

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted(
        (
            *rules_space.RULES,
            *rules_repeat.RULES,
            *rules_near.RULES,
            *rules_wording.RULES,
            *rules_asked.RULES,
            *rules_examples.RULES,
            *rules_prefix.RULES,
            *rules_output.RULES,
            *rules_calls.RULES,
        ),
        key=lambda rule: rule.id,
    )
)


def rule_named(name: str) -> Rule:
    """The rule with that id or name. Raises `ConfigError` with the nearest one."""
    for rule in RULES:
        if name.casefold() in (rule.id.casefold(), rule.name):
            return rule
    known = [word for rule in RULES for word in (rule.id, rule.name)]
    near = difflib.get_close_matches(name.upper() if name[:2].lower() == "hw" else name, known, n=1)
    raise ConfigError(
        f"There is no rule {name!r}" + (f"; did you mean {near[0]}?" if near else "; see docs/linting.md.")
    )


def chosen(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules that count: ids, names, or beginnings of ids such as "HW1".

    Raises:
        ConfigError: A word that fits no rule.
    """
    wanted = [rule for rule in RULES if not select or any(_fits(rule, word) for word in select)]
    for word in (*select, *ignore):
        if not any(_fits(rule, word) for rule in RULES):
            rule_named(word)
    return [rule for rule in wanted if not any(_fits(rule, word) for word in ignore)]


def _fits(rule: Rule, word: str) -> bool:
    return word == rule.name or (len(word) > 2 and rule.id.startswith(word.upper()))
