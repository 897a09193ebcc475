"""The options of `headway run`, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from headway.errors import ConfigError
from headway.prompts.output import Api
from headway.prompts.plain import ANSWER_TOKENS_MAX, says_labels
from headway.prompts.task import Task

__all__ = [
    "MODEL",
    "ApiName",
    "BaseUrl",
    "Budget",
    "Concurrency",
    "Config",
    "CsvSafe",
    "Deadline",
    "EngineName",
    "Fresh",
    "Group",
    "Input",
    "Json",
    "Kind",
    "Labels",
    "LaneName",
    "Limit",
    "Model",
    "NoCache",
    "Out",
    "Plan",
    "Prompt",
    "Quiet",
    "Report",
    "Requests",
    "RetryFailed",
    "TaskFile",
    "Workers",
    "engine_settings",
    "plain_task",
]

MODEL = "gpt-5.4-mini"
"""The model of jobs that name none."""

_ASK = "What to ask"
_MONEY = "When, and for how much"
_GO_ON = "Going on"
_TELL = "What to tell"


def engine_settings(
    base_url: str | None, budget_usd: float | None, *, group: bool, file: Mapping[str, Any]
) -> dict[str, Any]:
    """What the options say of the engine, over a task file's [settings]; the rest is for files and environment."""
    told = {"base_url": base_url, "budget_usd": budget_usd, "prompt_grouping": "load" if group else None}
    return {**file, **{name: value for name, value in told.items() if value is not None}}


def plain_task(
    prompt: str,
    labels: str | None,
    model: str | None,
    api: Api | None,
    *,
    system: str = "",
    expected: str = "",
    where: str = "--prompt",
    as_it_is: bool = False,
) -> Task:
    """The task that a prompt and the command line make, without a task file. Raises `ConfigError`.

    `as_it_is`: to a prompt that names the labels itself nothing is added, and there is room for what else it asks for.
    """
    names = [name.strip() for name in labels.split(",")] if labels is not None else []
    if labels is not None and not all(names):
        raise ConfigError("--labels has an empty label; write e.g. --labels billing,shipping")
    said = as_it_is and bool(names) and says_labels(names, f"{system}\n{prompt}")
    return Task(
        instruct=not said,
        max_output_tokens=ANSWER_TOKENS_MAX if said else None,
        model=model or ("" if api == "messages" else MODEL),  # that API has none of this name
        prompt=prompt,
        system=system,
        labels=names,
        api=api or "responses",
        expected=expected,
        where=where,
    )


Input: TypeAlias = Annotated[
    str, typer.Argument(metavar="INPUT", help='A CSV, JSONL, text or Parquet file, a folder, or "-".')
]
TaskFile: TypeAlias = Annotated[Path | None, typer.Option(help="Task file (TOML).", rich_help_panel=_ASK)]
Prompt: TypeAlias = Annotated[
    str | None, typer.Option(help="Prompt with {column} names, instead of a task file.", rich_help_panel=_ASK)
]
Requests: TypeAlias = Annotated[
    bool,
    typer.Option("--requests", help="INPUT holds whole requests, as batch files do.", rich_help_panel=_ASK),
]
Labels: TypeAlias = Annotated[
    str | None, typer.Option(help="Comma-separated labels, with --prompt.", rich_help_panel=_ASK)
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option(help=f"Model, over the task file's; {MODEL} without a task file.", rich_help_panel=_ASK),
]
ApiName: TypeAlias = Annotated[Api | None, typer.Option(help="API; the task file's.", rich_help_panel=_ASK)]
BaseUrl: TypeAlias = Annotated[
    str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.", rich_help_panel=_ASK)
]
Config: TypeAlias = Annotated[
    Path | None, typer.Option(help="Settings; headway.toml if it is there.", rich_help_panel=_ASK)
]
Out: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PATH", help="Output: .csv, .parquet, else JSONL; or a folder/.")
]
Limit: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Only the first N rows.")]
Kind: TypeAlias = Annotated[
    Literal["csv", "jsonl", "text", "parquet", "arrow"] | None,
    typer.Option("--format", help="What INPUT is, if not told by itself."),
]
CsvSafe: TypeAlias = Annotated[
    bool, typer.Option("--csv-safe", help="Put ' before model text a spreadsheet would run as a formula.")
]
LaneName: TypeAlias = Annotated[
    Literal["online", "flex", "batch", "auto"] | None,
    typer.Option(
        help="At once; for half the price (flex is slower, batch may take a day); or what is in time: auto, "
        "which a deadline implies. Online by default.",
        rich_help_panel=_MONEY,
    ),
]
Deadline: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Be done within, e.g. 6h; lanes are chosen by it.", rich_help_panel=_MONEY),
]
Budget: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--budget",
        "--budget-usd",
        metavar="MONEY",
        help="Stop before the job has spent more, e.g. 20usd; earlier runs count.",
        rich_help_panel=_MONEY,
    ),
]
Plan: TypeAlias = Annotated[
    bool, typer.Option("--plan", help="Only say what it would cost and take; send nothing.", rich_help_panel=_MONEY)
]
Concurrency: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help="Rows in flight at once; the task file's, else 512.", rich_help_panel=_MONEY),
]
EngineName: TypeAlias = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="This process, or workers of a Ray cluster.", rich_help_panel=_MONEY),
]
Workers: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=1_000, help="With --engine ray; one a CPU.", rich_help_panel=_MONEY)
]
Group: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--group",
        help="Under load, ask about up to six small rows in one prompt, as long as that pays.",
        rich_help_panel=_MONEY,
    ),
]
NoCache: TypeAlias = Annotated[
    bool, typer.Option("--no-cache", help="Neither reuse answers nor keep them.", rich_help_panel=_GO_ON)
]
RetryFailed: TypeAlias = Annotated[
    bool, typer.Option("--retry-failed", help="Send failed rows again.", rich_help_panel=_GO_ON)
]
Fresh: TypeAlias = Annotated[
    bool, typer.Option("--fresh", help="Forget earlier runs; overwrite the output.", rich_help_panel=_GO_ON)
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_TELL)]
Report: TypeAlias = Annotated[Path | None, typer.Option(help="Write an HTML report.", rich_help_panel=_TELL)]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", help="No progress line and no table.", rich_help_panel=_TELL)
]
