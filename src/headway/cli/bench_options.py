"""The options of `headway bench`, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = [
    "ApiName", "Arrivals", "AsConfigured", "BaseUrl", "Check", "Concurrency", "Config", "Definitions", "Duration",
    "FindMax", "Input", "Json", "MaxTokens", "MaxUsd", "Models", "NoStream", "PromptText", "Quiet", "Rate", "Report",
    "Runs", "Seed", "SloText", "TaskFile", "UseCaseName", "Warmup",
]  # fmt: skip

_ASK, _LOAD, _JUDGE, _TELL = "What to ask", "How hard", "What to hold it against", "What to tell"
RUNS = 10

Models: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--model", help="Models, with commas between them or repeated; gpt-5.4-mini.", rich_help_panel=_ASK),
]
PromptText: TypeAlias = Annotated[
    str | None,
    typer.Option("--prompt", metavar="FILE|TEXT", help="A short built-in one by default.", rich_help_panel=_ASK),
]
TaskFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="Task file (TOML), asked about the rows of --input.", rich_help_panel=_ASK)
]
Input: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="FILE", help="Rows for --task, or for a {column} in --prompt.", rich_help_panel=_ASK
    ),
]
ApiName: TypeAlias = Annotated[
    Literal["responses", "chat", "messages"] | None,
    typer.Option(help="API; the task file's, else responses.", rich_help_panel=_ASK),
]
BaseUrl: TypeAlias = Annotated[
    str | None, typer.Option(help="Provider or gateway, e.g. http://127.0.0.1:8181/v1.", rich_help_panel=_ASK)
]
Config: TypeAlias = Annotated[
    Path | None, typer.Option(help="Settings; headway.toml if it is there.", rich_help_panel=_ASK)
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-output-tokens", min=1, help="Bound of each answer, in tokens.", rich_help_panel=_ASK),
]
NoStream: TypeAlias = Annotated[
    bool, typer.Option("--no-stream", help="Ask for whole answers: no TTFT.", rich_help_panel=_ASK)
]
AsConfigured: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--as-configured",
        help="With the cache, tries, hedging, routing and log of the settings; all off otherwise.",
        rich_help_panel=_ASK,
    ),
]
Concurrency: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N,N", help="Closed loop: requests at once; a row each. 1.", rich_help_panel=_LOAD),
]
Rate: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N,N", help="Open loop: requests a second, whatever is answered.", rich_help_panel=_LOAD),
]
Arrivals: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE", help="Of --rate: poisson, constant, or a trace (CSV, JSONL).", rich_help_panel=_LOAD
    ),
]
Runs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--runs", "--count", min=1, max=1_000_000,
        help=f"Requests to each model and load; {RUNS}, where no duration is given.", rich_help_panel=_LOAD,
    ),
]  # fmt: skip
Duration: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TIME", help="Or: how long to start them, e.g. 30s.", rich_help_panel=_LOAD)
]
Warmup: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="N|TIME", help="Ahead, and not counted; by default one for each connection, 16 at most.",
        rich_help_panel=_LOAD,
    ),
]  # fmt: skip
Seed: TypeAlias = Annotated[int, typer.Option(help="Of arrivals and orders.", rich_help_panel=_LOAD)]
FindMax: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--find-max", help="Find the highest rate that keeps the SLO for 99 % of requests.", rich_help_panel=_LOAD
    ),
]
SloText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--slo", metavar="LIMITS", help="For goodput: ttft=1s,e2e=8s; also itl, tpot.", rich_help_panel=_JUDGE
    ),
]
UseCaseName: TypeAlias = Annotated[
    Literal["chat", "autocomplete", "assistant", "batch"] | None,
    typer.Option(
        "--use-case",
        metavar="NAME",
        help="chat (1 s), assistant (500 ms), autocomplete (100 ms), batch: budget of TTFT.",
        rich_help_panel=_JUDGE,
    ),
]
MaxUsd: TypeAlias = Annotated[
    str,
    typer.Option(
        "--max-usd", metavar="MONEY", help='Send nothing that may take it above; or "none".', rich_help_panel=_JUDGE
    ),
]
Check: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--check/--no-check", help="Measure the measurement's own error, some 2 s a load.", rich_help_panel=_JUDGE
    ),
]
Definitions: TypeAlias = Annotated[
    Literal["headway", "aiperf", "guidellm", "vllm"],
    typer.Option(help="The same runs in the terms of another tool besides.", rich_help_panel=_TELL),
]
Report: TypeAlias = Annotated[Path | None, typer.Option(help="Write an HTML report.", rich_help_panel=_TELL)]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print everything as one JSON object.", rich_help_panel=_TELL)
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="No progress and no table.", rich_help_panel=_TELL)]
