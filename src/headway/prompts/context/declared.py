"""What a task declares about a column that may be too long: `ContextBudget`, in a task file ``[context.COLUMN]``."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

import msgspec

from headway.errors import ConfigError
from headway.prompts.context.counting import counter_of
from headway.prompts.context.fit import MARKER, check_fit

__all__ = ["Budgets", "ContextBudget", "budgets_of"]

SUMMARISE: Final = "summarise"
_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_OWN: Final = ("tokens_max", "chars_per_token")


class ContextBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column of a task is brought under a number of tokens; see `headway.fit` for what is not told here."""

    tokens_max: int
    how: Literal["truncate", "sections", "top_k", "summarise"] = "truncate"
    query: str = ""
    """A template over the row's columns; "": the prompt without the column."""
    keep: tuple[str, ...] = ()
    tail: float = 0.0
    marker: str = MARKER
    marks: bool = True
    chunk_tokens: int | None = None
    model: str = ""
    """"summarise" alone: who writes the summary; "": the task's own model."""
    window_tokens: int = 100_000
    """"summarise" alone: a longer text is summarised in parts of so many tokens, at most 64 of them."""

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        how = "truncate" if self.how == SUMMARISE else self.how
        check_fit(how=how, tokens_max=self.tokens_max, tail=self.tail, chunk_tokens=self.chunk_tokens, keep=self.keep)
        if self.model and self.how != SUMMARISE:
            raise ConfigError('model goes with how = "summarise"; leave it out')
        if self.window_tokens < self.tokens_max:
            raise ConfigError(f"window_tokens must be at least tokens_max, not {self.window_tokens}")


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """All that a task declares.

    Args:
        columns: Column -> its budget.
        tokens_max: Of the whole prompt, system text included; columns are cut further until it holds, each getting
            what those before it left. None: no such bound.
        chars_per_token: Tokens are estimated by this many characters, 0.5 to 12; None: see `headway.fit`.
    """

    columns: dict[str, ContextBudget]
    tokens_max: int | None = None
    chars_per_token: float | None = None

    def __post_init__(self) -> None:
        """Raises `ConfigError`."""
        if not self.columns:
            raise ConfigError("names no column; write e.g. [context.document] with tokens_max = 2000")
        if self.tokens_max is not None and self.tokens_max < 1:
            raise ConfigError(f"tokens_max must be a number from 1, not {self.tokens_max}")
        counter_of("", self.chars_per_token)


def budgets_of(table: dict[str, Any], where: str = "task") -> Budgets | None:
    """A task file's ``[context]``: `tokens_max` and `chars_per_token`, and a table for each column.

    Raises:
        ConfigError: A wrong key or value; named, behind `where`.
    """
    if not table:
        return None
    everything: dict[str, Any] = {name: table[name] for name in _OWN if not isinstance(table.get(name, {}), dict)}
    columns = {name: raw for name, raw in table.items() if name not in everything}
    everything["columns"] = {
        name: _converted(raw, ContextBudget, f"{where}: context.{name}") for name, raw in columns.items()
    }
    return _converted(everything, Budgets, f"{where}: context")


def _converted(raw: Any, kind: type[_Kind], where: str) -> _Kind:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        if isinstance(raw, dict) and (unknown := [key for key in raw if key not in kind.__struct_fields__]):
            raise ConfigError(
                f"{where} has an unknown key {unknown[0]!r}; there is {', '.join(kind.__struct_fields__)}"
            ) from None
        raise ConfigError(f"{where}: {str(error).replace('`', '')}") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
