"""A task: what is asked of a model about each row, and what its answer has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from headway.errors import ConfigError, InputError
from headway.prompts.context.declared import Budgets
from headway.prompts.context.filling import template_of
from headway.prompts.encoding import digest, encoded
from headway.prompts.labels import Labels, one_line
from headway.prompts.normalizing import NORMALIZERS, normalizers
from headway.prompts.output import TOKENS_MIN, Api, Json, Output, Text
from headway.prompts.outputs import Outputs
from headway.prompts.template import as_text
from headway.wire.stop import takes_stop

__all__ = ["NORMALIZERS", "Task"]

_PATHS: Final[Mapping[str, str]] = {
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
}
MESSAGES_TOKENS: Final = 4_096
"""The bound of Messages requests for which none is given and none follows: the API requires one."""
_THINKING: Final = ("low", "medium", "high", "xhigh")
_QUOTE_MAX: Final = 2_000


class Task:
    """One request per row, from a template; and a verdict on each answer. Not to be changed once made.

    The fixed part of the prompt (system text and the constraint's sentence) stands first and the row last, so
    that providers' prefix caches hold. Responses requests carry ``"store": false``: jobs leave nothing
    behind.

    Args:
        model: The model's name, as the provider spells it.
        prompt: A template with `{column}` names; see `prompts.template`.
        labels: Short for ``output=Labels(labels=...)``.
        output: What the answer has to be; free text when neither is given.
        api: "responses", "chat", or "messages" (Anthropic's Messages API, which enforces no schema: it stands in the
            constraint's sentence).
        system: Fixed text in front of every prompt; braces mean nothing in it.
        instruct: Whether the constraint's own sentence is added to the system text.
        max_output_tokens: From 16; derived from the constraint when None, and unbounded where nothing follows
            from it or where `reasoning_effort` makes the model think at a length nobody can know. The Messages API
            requires one: there it is 4,096 where nothing follows.
        temperature: 0 to 2, with "messages" 0 to 1; the provider's default when None.
        stop: Up to four texts that end the answer; the Responses API has no such field.
        reasoning_effort: Sent as it is, e.g. "none" or "low"; the provider's default when "". Not with "messages".
        normalize: Column -> steps out of `NORMALIZERS`, for the cache key alone: near-identical rows share an
            answer.
        expected: The column with the right answer, for accuracy; "" when there is none.
        context: Bounds for columns that may be too long for the prompt; see `prompts.context`.
        repairs_max: How often a malformed answer is asked for again, 0 to 5.
        where: What error messages call this task.

    Raises:
        ConfigError: A value out of range, naming the key and what was expected.
    """

    def __init__(
        self,
        *,
        model: str,
        prompt: str,
        labels: Sequence[str] = (),
        output: Output | None = None,
        api: Api = "responses",
        system: str = "",
        instruct: bool = True,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        reasoning_effort: str = "",
        normalize: Mapping[str, Sequence[str]] | None = None,
        expected: str = "",
        context: Budgets | None = None,
        repairs_max: int = 1,
        where: str = "task",
    ) -> None:
        if labels and output is not None:
            raise ConfigError(f"{where}: 'labels' and 'output' exclude each other; give one of them")
        self.model = model
        self.api = api
        self.output: Output = Labels(labels=tuple(labels)) if labels else output or Text()
        self.expected = expected
        self.repairs_max = repairs_max
        self.path = _PATHS.get(api, "")
        self._where = where
        if max_output_tokens is None and reasoning_effort not in _THINKING:
            max_output_tokens = self.output.tokens_max() or (MESSAGES_TOKENS if api == "messages" else None)
        self.max_output_tokens = max_output_tokens
        self._check(model, temperature, stop, reasoning_effort)
        self._wish = self.output.instruction()
        if isinstance(self.output, Json | Outputs) and api == "messages":
            self._wish = self.output.spelled_out()
        self._system = "\n\n".join(part for part in (system, self._wish if instruct else "") if part)
        self._template = template_of(prompt, f"{where}: prompt", context, model=model, api=api, system=self._system)
        if not self._template.columns:
            raise ConfigError(f"{where}: prompt names no column, so every row would ask the same; write e.g. {{text}}")
        self._normalize = normalizers(normalize or {}, self._template.columns, where)
        self._parts = self._fixed_part(temperature, list(stop), reasoning_effort)
        self._head = self._keyed = self._head_with(max_output_tokens, ())
        derived = instruct and not stop and one_line(self.output)
        self.stops: tuple[str, ...] = ("\n",) if derived and takes_stop(self.path, model, "\n") else ()
        """Texts behind which a right answer has nothing more to say; `bounded_body` sends them."""

    @property
    def where(self) -> str:
        """What error messages call this task: its file, if it came from one."""
        return self._where

    @property
    def bears_cutting(self) -> bool:
        """A label is said or not; prose, lists and JSON are worthless when they are cut."""
        return isinstance(self.output, Labels)

    @classmethod
    def load(cls, path: Path | str, *, model: str = "", api: str = "") -> Task:
        """Read a task file (TOML); a model or API given here takes the place of the file's.

        Raises:
            ConfigError: The file is missing or wrong; the message names the file and the key.
        """
        from headway.prompts.taskfile import load_task  # reads TOML, which tasks made in code do not need

        return load_task(Path(path), model=model, api=api)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows must have."""
        return self._template.columns

    @property
    def first(self) -> Callable[[Mapping[str, Any]], Any] | None:
        """What is asked about a row before it can be asked about (`engine.first`); None: nothing."""
        return self._template.first

    def left_out_tokens(self, row: Mapping[str, Any]) -> int:
        """Tokens of the row's columns that `context` keeps out of its prompt; 0 where they fit."""
        return self._template.left_out_tokens(row)

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change when any request or verdict could."""
        prompt = self._template.fill({name: f"{{{name}}}" for name in self.columns}) + self._template.declared
        return digest(self.path.encode(), self._keyed, prompt.encode(), self._output_digest)

    def row_key(self, row: Mapping[str, Any]) -> str:
        """32 hex digits of the row's request and constraint: rows with one key are owed the same answer."""
        body = self._with_prompt(self._template.identity(row), self._keyed)
        return digest(self.path.encode(), body, self._output_digest)

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The request's JSON body.

        Raises:
            InputError: The row lacks a column, holds nothing in any of them, or text that is no Unicode.
        """
        prompt = self._template.fill(row)
        if self._template.is_empty(row):
            raise InputError(f"the row is empty ({', '.join(self.columns)}), so there is nothing to ask about")
        return self._with_prompt(prompt)

    def bounded_body(self, row: Mapping[str, Any], *, tokens_max: int | None, stop: bool) -> bytes:
        """The request with another bound than the task's own, and with `stops`: the same question, keyed by `body`.

        Args:
            row: The row.
            tokens_max: The bound in tokens, from 16; None for the task's own.
            stop: Whether to send `stops`.

        Raises:
            InputError: As `body`.
        """
        bound = self.max_output_tokens if tokens_max is None else tokens_max
        return self._with_prompt(self._template.fill(row), self._head_with(bound, self.stops if stop else ()))

    def key_body(self, row: Mapping[str, Any]) -> bytes | None:
        """The body with the declared columns normalised, for the cache key; None when none is declared."""
        if not self._normalize:
            return None
        return self._with_prompt(self._template.fill(row, self._normalize))

    def accept(self, text: str) -> Any:
        """The answer's value. Raises `ValueError` with a sentence."""
        return self.output.read(text)

    def repair(self, row: Mapping[str, Any], text: str, problem: str) -> bytes:
        """The request, the wrong answer (2,000 characters of it at most) and what was wrong with it."""
        turns = [{"role": "user", "content": self._template.fill(row)}]
        if text.strip():
            turns.append({"role": "assistant", "content": text[:_QUOTE_MAX]})
        wish = self._wish or "Answer again."
        turns.append({"role": "user", "content": f"That cannot be used: {problem}. {wish}"})
        return self._head + (b"" if self.api == "responses" else b",").join(self._turns(turns)) + self._tail()

    def flex(self) -> Task:
        """The same task at the flex tier: at the price of batches, slower, and sometimes refused. Keys stay the same.

        Raises:
            ConfigError: The API has no such tier.
        """
        if self.api == "messages":
            raise ConfigError(f"{self._where}: the Messages API has no flex tier; use the batch or the online lane")
        task = copy(self)
        first, bound, rest = self._parts
        task._parts = first + b',"service_tier":"flex"', bound, rest
        task._head = task._head_with(self.max_output_tokens, ())
        task._template = self._template.flex()
        return task

    def expected_of(self, row: Mapping[str, Any]) -> str | None:
        """The row's right answer; None when there is no such column or the cell is empty."""
        return as_text(row.get(self.expected)) or None if self.expected else None

    def _check(self, model: str, temperature: float | None, stop: Sequence[str], effort: str) -> None:
        where, bound, hottest = self._where, self.max_output_tokens, 1 if self.api == "messages" else 2
        if not model:
            raise ConfigError(f'{where}: model is missing; name one, e.g. model = "gpt-5.4-mini"')
        if not self.path:
            raise ConfigError(f'{where}: api must be "responses", "chat" or "messages", not {self.api!r}')
        if bound is not None and not TOKENS_MIN <= bound <= 10_000_000:
            raise ConfigError(f"{where}: max_output_tokens must be a number from {TOKENS_MIN}, not {bound}")
        if temperature is not None and not 0 <= temperature <= hottest:
            raise ConfigError(f"{where}: temperature must be a number from 0 to {hottest}, not {temperature}")
        if effort and self.api == "messages":
            raise ConfigError(f"{where}: reasoning_effort is not offered by the Messages API; leave it out")
        if stop and self.api == "responses":
            raise ConfigError(f'{where}: stop is not offered by the Responses API; set api = "chat" or leave it out')
        if len(stop) > 4 or not all(stop):
            raise ConfigError(f"{where}: stop must be one to four texts, none of them empty")
        if not 0 <= self.repairs_max <= 5:
            raise ConfigError(f"{where}: repairs_max must be a number from 0 to 5, not {self.repairs_max}")

    def _fixed_part(self, temperature: float | None, stop: list[str], effort: str) -> tuple[bytes, str, bytes]:
        """What stands before the output bound, the bound's name, and what stands between it and the row's text."""
        first: dict[str, Any] = {"model": self.model}
        fields: dict[str, Any] = {"temperature": temperature}
        if self.api == "responses":
            first |= {"store": False}
            fields |= {
                "reasoning": {"effort": effort} if effort else None,
                "instructions": self._system or None,
            }
            bound, last = "max_output_tokens", '"input":'
        elif self.api == "messages":
            fields |= {"stop_sequences": stop or None, "system": self._system or None}
            bound, last = "max_tokens", '"messages":['
        else:
            fields |= {"stop": stop or None, "reasoning_effort": effort or None}
            bound, last = "max_completion_tokens", '"messages":['
        fields |= self.output.response_format(self.api)
        rest = encoded({name: value for name, value in fields.items() if value is not None}, self._where)[1:-1]
        if self.api == "chat" and self._system:
            last += encoded({"role": "system", "content": self._system}, self._where).decode() + ","
        return encoded(first, self._where)[:-1], bound, b"," + (rest + b"," if rest else b"") + last.encode()

    def _head_with(self, tokens_max: int | None, stops: tuple[str, ...]) -> bytes:
        """Everything before the row's text."""
        first, bound, rest = self._parts
        own = b"" if tokens_max is None else f',"{bound}":{tokens_max}'.encode()
        name = b',"stop_sequences":' if self.api == "messages" else b',"stop":'
        return first + own + (name + msgspec.json.encode(stops) if stops else b"") + rest

    def _with_prompt(self, prompt: str, head: bytes = b"") -> bytes:
        head = head or self._head
        try:
            text = msgspec.json.encode(prompt)
        except UnicodeEncodeError:
            raise InputError("the row holds half a character (a lone surrogate), which cannot be sent") from None
        if self.api == "responses":
            return head + text + b"}"
        return b"".join((head, b'{"role":"user","content":', text, b"}]}"))

    def _turns(self, turns: list[dict[str, str]]) -> list[bytes]:
        return [msgspec.json.encode(turns)] if self.api == "responses" else [msgspec.json.encode(t) for t in turns]

    def _tail(self) -> bytes:
        return b"}" if self.api == "responses" else b"]}"

    @cached_property
    def _output_digest(self) -> bytes:
        return repr(self.output).encode()
