"""What the simulator answers: a documented, deterministic stand-in for a model.

In this order: a tool call where one is demanded; an instance of the JSON schema; a JSON object with the keys the
prompt names; the label with the most evidence; bullets; sentences; prose of a wanted length; and otherwise an
extractive summary. `stop` and the token bound cut whatever came out. docs/simulator.md has the details.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final, Literal

import msgspec

from headway.sim import prose
from headway.sim.account import content_of
from headway.sim.ask import Ask
from headway.sim.counting import PromptCounter
from headway.sim.grouped import grouped
from headway.sim.labels import LabelIndex
from headway.sim.profiles import Profile
from headway.sim.quality import PromptFacts, Quality
from headway.sim.reading import Plan, read_plan, split_item
from headway.sim.schema import fill
from headway.sim.text import STOPWORDS, Memo, dice, memo_key, pieces, stems

__all__ = ["Author", "Completion"]

_EFFORT_TOKENS: Final = {"low": 120, "medium": 400, "high": 1_200, "xhigh": 2_400}
_WORDS_MAX: Final = 20_000
_CHARS_MAX: Final = 20_000
"""What is looked at for labels and schemas."""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    tokens: tuple[str, ...]
    """The text cut into tokens; for a tool call, its arguments."""
    finish: Literal["stop", "length", "tool_calls"]
    tool: str = ""
    """The called function's name."""
    reasoning_tokens: int = 0
    stopped_by: str = ""
    """The stop text that cut it; "" where it ended by itself."""

    @property
    def text(self) -> str:
        """The text, or the tool call's arguments."""
        return "".join(self.tokens)

    @property
    def output_tokens(self) -> int:
        """Everything generated; an answer has at least one token, its end."""
        return self.reasoning_tokens + max(1, len(self.tokens))


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """One answer in the making."""

    plan: Plan
    items: tuple[str, ...]
    facts: PromptFacts
    profile: Profile
    rng: Random

    @property
    def text(self) -> str:
        return "\n".join(self.items)


class Author:
    """Writes answers. Plans of 512 prompt templates and indexes of 256 label lists are kept.

    Args:
        seed: What the dice are thrown with, next to the content.
        quality: Error rates; None for none.
        group_drop: The share of a grouped prompt's items that its answer leaves out, 0 to 1.
    """

    def __init__(self, seed: int, quality: Quality | None, group_drop: float = 0.0) -> None:
        self._seed = seed
        self._group_drop = group_drop
        self._quality = quality
        self._plans: Memo[str | bytes, Plan] = Memo(512)
        self._counter = PromptCounter()
        self._indexes: Memo[tuple[str, ...], LabelIndex] = Memo(256)

    def write(self, ask: Ask, profile: Profile, prompt_tokens: int, content: bytes, index: int = 0) -> Completion:
        """The `index`-th answer to what is asked.

        Args:
            ask: The request.
            profile: Who is played.
            prompt_tokens: Length of the prompt; over-long ones do worse.
            content: Digest of the messages and the model, the dice's other part.
            index: From 0, for `n` answers at once.
        """
        rng = dice(self._seed, "content", content, index)
        if items := grouped(ask):
            return _bounded(self._group(items, profile, index, rng), ask, profile, rng, "")
        task = self._task(ask, profile, prompt_tokens, rng)
        tool = _tool(ask, task.text[:_CHARS_MAX])
        if tool is not None:
            text = self._json(task, tool.get("parameters") or {"type": "object", "properties": {}})
        elif ask.schema is not None:
            text = self._json(task, ask.schema)
        else:
            text = self._text(task, ask.json_only)
        return _bounded(text, ask, profile, rng, str(tool["name"]) if tool is not None else "")

    def _group(self, items: Sequence[tuple[str, Ask]], profile: Profile, index: int, rng: Random) -> str:
        """Each item answered as it would be alone, but for those that are forgotten."""
        found = {}
        for name, ask in items:
            if rng.random() >= self._group_drop:
                tokens = self._counter.prompt(ask)
                found[name] = self.write(ask, profile, tokens, content_of(ask)[0], index).text
        return msgspec.json.encode(found).decode()

    def _plan(self, text: str) -> Plan:
        key = memo_key(text)
        return self._plans.get(key) or self._plans.put(key, read_plan(text))

    def _task(self, ask: Ask, profile: Profile, prompt_tokens: int, rng: Random) -> _Task:
        """Find the item: in the last user message that has one."""
        system = "\n\n".join(turn.text for turn in ask.turns if turn.role == "system")
        alone = ask.schema is not None or bool(system and self._plan(system).demands)
        said = [turn.text for turn in ask.turns if turn.role in ("user", "tool")]
        instructions: list[str] = [system] if system else []
        items: list[str] = []
        for text in reversed(said):
            orders, items = split_item(text, alone=alone)
            if orders:
                instructions.append(orders)
            if items:
                break
        plan = self._plan("\n\n".join(instructions))
        items = items or said[-1:]
        facts = msgspec.structs.replace(plan.facts, items=max(1, len(items)), prompt_tokens=prompt_tokens)
        return _Task(plan=plan, items=tuple(items), facts=facts, profile=profile, rng=rng)

    def _text(self, task: _Task, json_only: bool) -> str:
        plan = task.plan
        if json_only or (plan.json and plan.keys):
            keys = plan.keys or (("label",) if plan.labels else ("answer",))
            known: dict[str, Any] = {key: {"type": "string"} for key in keys}
            if plan.labels:
                place = next((k for k in keys if k in ("label", "category", "class", "intent")), keys[0])
                known[place] = {"enum": list(plan.labels.names)}
            return self._json(task, {"type": "object", "properties": known})
        if plan.choice:
            return self._labels(task)
        if plan.bullets:
            return self._bullets(task)
        if plan.sentences:
            parts = prose.summary(task.text, plan.sentences)
            return " ".join(prose.sentence(part, plan.words_max) for part in parts) or "There is nothing to say."
        if plan.words_wanted:
            return prose.filler(min(plan.words_wanted, _WORDS_MAX), task.rng)
        found = " ".join(prose.summary(task.text, max(1, min(6, round(task.text.count(".") * 0.3)))))
        found = prose.shortened(found, plan.words_max) if plan.words_max else found
        return found or prose.filler(24, task.rng)

    def _labels(self, task: _Task) -> str:
        """One label per item; alone, or in the sentences that come when nobody forbids them."""
        index = task.plan.labels
        found = [self._label(task, index, item) for item in task.items]
        if len(found) > 1:
            return "\n".join(f"{number}. {label}" for number, label in enumerate(found, 1))
        label = found[0] if found else ""
        if not task.plan.label_only:
            return _explained(label, task)
        if self._quality is None or not self._quality.violates(task.profile.tier, task.rng):
            return label
        wrong = (f"The label is: {label}", f"{label}.", label.upper(), f'"{label}"', f"This message is about {label}.")
        return wrong[task.rng.randrange(len(wrong))]

    def _label(self, task: _Task, index: LabelIndex | None, item: str) -> str:
        """The label with the most evidence; by the throw of the dice, a runner-up."""
        if index is None:
            words = stems(item[:_CHARS_MAX])
            return "_".join(words[:2]) or "general"
        ranked = index.rank(item[:_CHARS_MAX])
        if not ranked:
            ranked = [index.default if index.default is not None else task.rng.randrange(len(index.names))]
        if self._quality is None or not self._quality.errs(task.profile.tier, task.facts, task.rng):
            return index.names[ranked[0]]
        other = ranked[1:] or [place for place in range(len(index.names)) if place != ranked[0]] or ranked
        return index.names[other[task.rng.randrange(len(other))]]

    def _bullets(self, task: _Task) -> str:
        plan = task.plan
        found = prose.bullets(task.text, plan.bullets, exactly=plan.bullets_exactly, words_max=plan.words_max)
        if self._quality is not None and self._quality.violates(task.profile.tier, task.rng):
            found.append("In short, this is what matters")
        return "\n".join(f"- {bullet}" for bullet in found)

    def _json(self, task: _Task, schema: Mapping[str, Any]) -> str:
        def choose(names: Sequence[str], text: str) -> str:
            key = tuple(names)
            index = self._indexes.get(key) or self._indexes.put(key, LabelIndex(key))
            facts = msgspec.structs.replace(task.facts, labels=len(key), ambiguous_share=index.ambiguous_share)
            return self._label(_Task(
                plan=task.plan, items=task.items, facts=facts, profile=task.profile, rng=task.rng
            ), index, text)  # fmt: skip

        value = fill(schema, task.text[:_CHARS_MAX], choose, items=task.items if len(task.items) > 1 else ())
        text = msgspec.json.encode(value).decode()
        if self._quality is not None and self._quality.violates(task.profile.tier, task.rng):
            return text[: max(1, len(text) * 3 // 4)]
        return text


def _explained(label: str, task: _Task) -> str:
    """What models write when they are not told to be brief."""
    quote = prose.shortened(task.text[:_CHARS_MAX], 16)
    words = [word for word in re.findall(r"[a-z]{3,}", task.text[:_CHARS_MAX].lower()) if word not in STOPWORDS]
    evidence = ", ".join(dict.fromkeys(words[:6])) or "its tone"
    return (
        f'The customer writes: "{quote}". What decides here are the words around {evidence}, taken together with the'
        " overall intent of the message and the way the request is put. Other readings are possible, but they fit the"
        f" text less well and would send it to the wrong place.\n\nLabel: {label}"
    )


def _tool(ask: Ask, text: str) -> Mapping[str, Any] | None:
    """The function to call: the demanded one; with "auto", one two of whose words are in the text."""
    if not ask.tools or ask.tool_choice == "none" or (ask.turns and ask.turns[-1].role == "tool"):
        return None
    named = next((tool for tool in ask.tools if tool["name"] == ask.tool_choice), None)
    if named is not None:
        return named
    words = set(stems(text))
    best = max(ask.tools, key=lambda tool: len(words & _about(tool)))
    return best if ask.tool_choice == "required" or len(words & _about(best)) > 1 else None


def _about(tool: Mapping[str, Any]) -> set[str]:
    return set(stems(f"{tool['name']} {tool.get('description') or ''}"))


def _bounded(text: str, ask: Ask, profile: Profile, rng: Random, tool: str) -> Completion:
    """Cut at the first stop text, then at the token bound, of which thinking takes its part first."""
    stopped_by = ""
    if not tool:
        end, stopped_by = min(
            ((at, stop) for stop in ask.stop if (at := text.find(stop)) >= 0), default=(len(text), "")
        )
        text = text[:end]
    bound = min(ask.tokens_max or profile.output_tokens_max, profile.output_tokens_max)
    thinking = 0
    if profile.reasons and ask.effort in _EFFORT_TOKENS:
        thinking = min(bound, round(_EFFORT_TOKENS[ask.effort] * (0.5 + rng.random())))
    tokens = pieces(text)
    if thinking + len(tokens) > bound:
        return Completion(
            tokens=tuple(tokens[: bound - thinking]), finish="length", tool=tool, reasoning_tokens=thinking
        )
    finish: Literal["stop", "tool_calls"] = "tool_calls" if tool else "stop"
    return Completion(tokens=tuple(tokens), finish=finish, tool=tool, reasoning_tokens=thinking, stopped_by=stopped_by)
