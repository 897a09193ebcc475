"""A task: what is asked of a model about each row, and what its answer has to be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from headway.errors import ConfigError, InputError
from headway.prompts.labels import Labels
from headway.prompts.output import TOKENS_MIN, Api, Output, Text
from headway.prompts.template import Template, as_text

__all__ = ["NORMALIZERS", "Task"]

NORMALIZERS: Final[Mapping[str, Callable[[str], str]]] = {
    "trim": str.strip,
    "casefold": str.casefold,
    "collapse_space": lambda text: " ".join(text.split()),
}
"""What may be done to a column for the cache key; the request itself keeps the row's text."""

_PATHS: Final[Mapping[str, str]] = {"responses": "/v1/responses", "chat": "/v1/chat/completions"}
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
        api: "responses" or "chat".
        system: Fixed text in front of every prompt; braces mean nothing in it.
        instruct: Whether the constraint's own sentence is added to the system text.
        max_output_tokens: From 16; derived from the constraint when None, and unbounded where nothing follows
            from it or where `reasoning_effort` makes the model think at a length nobody can know.
        temperature: 0 to 2; the provider's default when None.
        stop: Up to four texts that end the answer; Chat Completions only, the Responses API has no such
            field.
        reasoning_effort: Sent as it is, e.g. "none" or "low"; the provider's default when "".
        normalize: Column -> steps out of `NORMALIZERS`, for the cache key alone: near-identical rows share an
            answer.
        expected: The column with the right answer, for accuracy; "" when there is none.
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
            max_output_tokens = self.output.tokens_max()
        self.max_output_tokens = max_output_tokens
        self._check(model, temperature, stop)
        self._template = Template(prompt, f"{where}: prompt")
        if not self._template.columns:
            raise ConfigError(f"{where}: prompt names no column, so every row would ask the same; write e.g. {{text}}")
        self._normalize = _normalizers(normalize or {}, self._template.columns, where)
        self._system = "\n\n".join(part for part in (system, self.output.instruction() if instruct else "") if part)
        self._head = self._fixed_part(temperature, list(stop), reasoning_effort)

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
    def fingerprint(self) -> str:
        """32 hex digits that change when any request or verdict could."""
        prompt = self._template.fill({name: f"{{{name}}}" for name in self.columns})
        return _digest(self.path.encode(), self._head, prompt.encode(), self._output_digest())

    def row_key(self, row: Mapping[str, Any]) -> str:
        """32 hex digits of the row's request and constraint: rows with one key are owed the same answer."""
        return _digest(self.path.encode(), self.body(row), self._output_digest())

    def body(self, row: Mapping[str, Any]) -> bytes:
        """The request's JSON body.

        Raises:
            InputError: The row lacks a column, or holds text that is no Unicode.
        """
        return self._with_prompt(self._template.fill(row))

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
        wish = self.output.instruction() or "Answer again."
        turns.append({"role": "user", "content": f"That cannot be used: {problem}. {wish}"})
        return self._head + (b"" if self.api == "responses" else b",").join(self._turns(turns)) + self._tail()

    def expected_of(self, row: Mapping[str, Any]) -> str | None:
        """The row's right answer; None when there is no such column or the cell is empty."""
        return as_text(row.get(self.expected)) or None if self.expected else None

    def _check(self, model: str, temperature: float | None, stop: Sequence[str]) -> None:
        where, bound = self._where, self.max_output_tokens
        if not model:
            raise ConfigError(f'{where}: model is missing; name one, e.g. model = "gpt-5.4-mini"')
        if not self.path:
            raise ConfigError(f'{where}: api must be "responses" or "chat", not {self.api!r}')
        if bound is not None and not TOKENS_MIN <= bound <= 10_000_000:
            raise ConfigError(f"{where}: max_output_tokens must be a number from {TOKENS_MIN}, not {bound}")
        if temperature is not None and not 0 <= temperature <= 2:
            raise ConfigError(f"{where}: temperature must be a number from 0 to 2, not {temperature}")
        if stop and self.api == "responses":
            raise ConfigError(f'{where}: stop is not offered by the Responses API; set api = "chat" or leave it out')
        if len(stop) > 4 or not all(stop):
            raise ConfigError(f"{where}: stop must be one to four texts, none of them empty")
        if not 0 <= self.repairs_max <= 5:
            raise ConfigError(f"{where}: repairs_max must be a number from 0 to 5, not {self.repairs_max}")

    def _fixed_part(self, temperature: float | None, stop: list[str], effort: str) -> bytes:
        """Everything before the row's text, encoded once."""
        fields: dict[str, Any] = {"model": self.model}
        if self.api == "responses":
            fields |= {
                "store": False,
                "max_output_tokens": self.max_output_tokens,
                "temperature": temperature,
            }
            fields |= {
                "reasoning": {"effort": effort} if effort else None,
                "instructions": self._system or None,
            }
            last = '"input":'
        else:
            fields |= {"max_completion_tokens": self.max_output_tokens, "temperature": temperature}
            fields |= {"stop": stop or None, "reasoning_effort": effort or None}
            last = '"messages":['
        fields |= self.output.response_format(self.api)
        head = _encode({name: value for name, value in fields.items() if value is not None}, self._where)
        if self.api == "chat" and self._system:
            last += _encode({"role": "system", "content": self._system}, self._where).decode() + ","
        return head[:-1] + b"," + last.encode()

    def _with_prompt(self, prompt: str) -> bytes:
        try:
            text = msgspec.json.encode(prompt)
        except UnicodeEncodeError:
            raise InputError("the row holds half a character (a lone surrogate), which cannot be sent") from None
        if self.api == "responses":
            return self._head + text + b"}"
        return b"".join((self._head, b'{"role":"user","content":', text, b"}]}"))

    def _turns(self, turns: list[dict[str, str]]) -> list[bytes]:
        return [msgspec.json.encode(turns)] if self.api == "responses" else [msgspec.json.encode(t) for t in turns]

    def _tail(self) -> bytes:
        return b"}" if self.api == "responses" else b"]}"

    def _output_digest(self) -> bytes:
        return repr(self.output).encode()


def _digest(*parts: bytes) -> str:
    """32 hex digits; lengths are in it, so that parts cannot run into each other."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _encode(value: Any, where: str) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise ConfigError(f"{where}: cannot be written as JSON: {error}") from None


def _normalizers(
    steps_of: Mapping[str, Sequence[str]], columns: tuple[str, ...], where: str
) -> dict[str, Callable[[str], str]]:
    """One function per column, out of its steps in order."""
    found = {}
    for column, steps in steps_of.items():
        if column not in columns:
            raise ConfigError(f"{where}: normalize.{column} is not a column of the prompt; it has {', '.join(columns)}")
        for step in steps:
            if step not in NORMALIZERS:
                raise ConfigError(f"{where}: normalize.{column} has {step!r}; the steps are {', '.join(NORMALIZERS)}")
        found[column] = _in_turn([NORMALIZERS[step] for step in steps])
    return found


def _in_turn(steps: Sequence[Callable[[str], str]]) -> Callable[[str], str]:
    def change(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return change
