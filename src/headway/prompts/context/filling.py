"""A template whose columns are brought under their budgets before it is filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Final, cast

from headway.errors import ConfigError, InputError
from headway.prompts.context.counting import counter_of
from headway.prompts.context.declared import SUMMARISE, Budgets, ContextBudget
from headway.prompts.context.fit import TOKENS_MIN, Fitted, fit
from headway.prompts.context.summarise import Summaries, Summary, summary_of, summary_task
from headway.prompts.encoding import digest
from headway.prompts.output import Api
from headway.prompts.template import Template, as_text

__all__ = ["FittedTemplate", "template_of"]

MEMO_MAX: Final = 1_024
"""Fitted texts that are kept: a row's prompt is made several times, for its key, its request, a repair."""


def template_of(text: str, where: str, budgets: Budgets | None, *, model: str, api: Api, system: str) -> Template:
    """The template of a task, with budgets or without. Raises `ConfigError` as `FittedTemplate` does."""
    if budgets is None:
        return Template(text, where)
    return FittedTemplate(text, where, budgets, model=model, api=api, system=system)


class FittedTemplate(Template):
    """Fills in rows whose columns fit. A column to be summarised that was not is cut to what the query asks for.

    Args:
        text: The template.
        where: What error messages call it.
        budgets: What is declared.
        model: Whose tokens are counted.
        api: For the requests that summarise.
        system: What stands in front of every prompt, for the whole prompt's budget.

    Raises:
        ConfigError: A budget's column is not in the template, or its query names the column itself.
    """

    __slots__ = ("_count", "_memo", "_queries", "_summary_tasks", "_system_tokens", "budgets", "model")

    def __init__(self, text: str, where: str, budgets: Budgets, *, model: str, api: Api, system: str = "") -> None:
        super().__init__(text, where)
        self.budgets = budgets
        self.model = model
        self._count = counter_of(model, budgets.chars_per_token)
        self._system_tokens = self._count(system)
        self._memo: dict[str, Fitted] = {}
        self._queries: dict[str, Template] = {}
        self._summary_tasks = {
            name: summary_task(budget, model, api, f"{where}: context.{name}")
            for name, budget in budgets.columns.items()
            if budget.how == SUMMARISE
        }
        more: dict[str, None] = dict.fromkeys(self.columns)
        for name, budget in budgets.columns.items():
            if name not in self.columns:
                raise ConfigError(f"{where} has no {{{name}}}, for which context.{name} sets a budget")
            if budget.query:
                query = self._queries[name] = Template(budget.query, f"{where}: context.{name}.query")
                if name in query.columns:
                    raise ConfigError(f"{where}: context.{name}.query names {{{name}}} itself; name what asks about it")
                more.update(dict.fromkeys(query.columns))
        self.columns = tuple(more)

    def fill(self, row: Mapping[str, Any], change: Mapping[str, Callable[[str], str]] | None = None) -> str:
        """See `Template.fill`.

        Raises:
            InputError: The row lacks a column, or cannot be brought under a budget.
        """
        return super().fill(self.fitted(row), change)

    def identity(self, row: Mapping[str, Any]) -> str:
        """What tells this row's question from others': all of a column that is to be summarised, and to how much."""
        cuts, bounds = self.cuts(row), self._bounds(row) if self._summary_tasks else {}
        texts: dict[str, Any] = {name: one.text for name, one in cuts.items()}
        more = ""
        for name in self._summary_tasks:
            if name in cuts and cuts[name].cut:
                texts[name] = row[name]
                size = f"{bounds[name]} {self.budgets.chars_per_token}"
                more += f"\0{self.budgets.columns[name]!r}\0{size}\0{self.query(name, row)}"
        return super().fill({**row, **texts}) + more

    @property
    def declared(self) -> str:
        """The budgets."""
        return repr(self.budgets)

    @property
    def first(self) -> Callable[[Mapping[str, Any]], Summaries | None] | None:
        """What gives the summaries that a row needs; None where no column is summarised."""
        return self._needs if self._summary_tasks else None

    def flex(self) -> FittedTemplate:
        """See `Template.flex`: summaries are asked for at that tier, too."""
        template = copy(self)
        template._summary_tasks = {name: task.flex() for name, task in self._summary_tasks.items()}
        return template

    def _needs(self, row: Mapping[str, Any]) -> Summaries | None:
        bounds = self._bounds(row)
        summaries: dict[str, Summary] = {}
        for name, task in self._summary_tasks.items():
            if name not in bounds:
                continue
            text, query = as_text(row[name]), self.query(name, row)
            try:
                one = summary_of(text, query, self.budgets.columns[name], bounds[name], task, self._count)
            except InputError as error:
                raise InputError(f"column {name!r}: {error}") from None
            if one is not None:
                summaries[name] = one
        return Summaries(row, summaries) if summaries else None

    def left_out_tokens(self, row: Mapping[str, Any]) -> int:
        """See `Task.left_out_tokens`; for a summary, as if it used its budget up."""
        try:
            return sum(one.left_out_tokens for one in self.cuts(row).values())
        except InputError:
            return 0

    def query(self, name: str, row: Mapping[str, Any]) -> str:
        """What a column is judged by: its own query, else the prompt without the budgeted columns."""
        own = self._queries.get(name)
        if own is not None:
            return own.fill(row)
        return super().fill({**row, **dict.fromkeys(self.budgets.columns, "")})

    def fitted(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with its budgeted columns cut where they are too long."""
        texts = {name: one.text for name, one in self.cuts(row).items() if one.cut or one.text != row[name]}
        return {**row, **texts} if texts else row

    def cuts(self, row: Mapping[str, Any]) -> dict[str, Fitted]:
        """What becomes of each budgeted column of a row.

        Raises:
            InputError: One cannot be brought under its budget.
        """
        return {name: self._fit(name, as_text(row[name]), row, bound) for name, bound in self._bounds(row).items()}

    def _bounds(self, row: Mapping[str, Any]) -> dict[str, int]:
        """Tokens that each budgeted column of a row may have; empty ones are left out."""
        missing = next((name for name in self.columns if name not in row), None)
        if missing is not None:
            raise InputError(f"the row has no column {missing!r}, which the prompt needs")
        columns = {name: one for name, one in self.budgets.columns.items() if as_text(row[name])}
        if self.budgets.tokens_max is None:
            return {name: one.tokens_max for name, one in columns.items()}
        bare = super().fill({**row, **dict.fromkeys(columns, "")})
        left = self.budgets.tokens_max - self._system_tokens - self._count(bare) - len(columns)  # a token a seam
        bounds: dict[str, int] = {}
        least = {name: min(TOKENS_MIN, self._count(as_text(row[name]))) for name in columns}
        for name, budget in columns.items():
            behind = sum(least[other] for other in columns if other not in bounds and other != name)
            bound = min(budget.tokens_max, left - behind)
            if bound < least[name]:
                raise InputError(
                    f"context.tokens_max of {self.budgets.tokens_max:,} leaves {max(0, bound):,} tokens for "
                    f"column {name!r}; at least {TOKENS_MIN} are needed"
                )
            bound = bounds[name] = max(bound, TOKENS_MIN)  # less is left only for a text that is as short
            # What a summary will have is not known yet: all of its bound is set aside.
            summed = budget.how == SUMMARISE
            left -= bound if summed else self._fit(name, as_text(row[name]), row, bound).tokens
        return bounds

    def _fit(self, name: str, text: str, row: Mapping[str, Any], bound: int) -> Fitted:
        query = "" if self.budgets.columns[name].how == "truncate" else self.query(name, row)
        parts = (name, text, query, str(bound))
        key = digest(*(part.encode("utf-8", "surrogatepass") for part in parts))
        found = self._memo.get(key)
        if found is None:
            found = self._fitted(name, self.budgets.columns[name], text, query, bound)
            if len(self._memo) >= MEMO_MAX:
                self._memo.clear()
            self._memo[key] = found
        return found

    def _fitted(self, name: str, budget: ContextBudget, text: str, query: str, bound: int) -> Fitted:
        try:
            return fit(
                text,
                tokens_max=bound,
                how="top_k" if budget.how == SUMMARISE else cast("Any", budget.how),
                query=query,
                keep=budget.keep,
                model=self.model,
                tail=budget.tail,
                marker=budget.marker,
                marks=budget.marks,
                chunk_tokens=budget.chunk_tokens,
                chars_per_token=self.budgets.chars_per_token,
            )
        except InputError as error:
            raise InputError(f"column {name!r}: {error}") from None
