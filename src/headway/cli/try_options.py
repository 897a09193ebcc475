"""The options that `compress` and `optimize` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

__all__ = [
    "Api",
    "BaseUrl",
    "Check",
    "Column",
    "Concurrency",
    "Config",
    "Expected",
    "Json",
    "MaxUsd",
    "Model",
    "Quiet",
    "Report",
    "Seed",
]

MaxUsd: TypeAlias = Annotated[str, typer.Option("--max-usd", metavar="MONEY", help='Spend at most; or "none".')]
Check: TypeAlias = Annotated[str | None, typer.Option(metavar="CHECK", help="What makes an answer right; see compare.")]
Model: TypeAlias = Annotated[str, typer.Option(help="For a text file: the model.")]
Column: TypeAlias = Annotated[
    str, typer.Option(help="For a text file without {columns}: the column it is about; by default text.")
]
Expected: TypeAlias = Annotated[str, typer.Option(help="For a text file: the column with right answers.")]
Api: TypeAlias = Annotated[Literal["", "responses", "chat", "messages"], typer.Option(help="For a text file: the API.")]
Report: TypeAlias = Annotated[Path | None, typer.Option(help="Write an HTML page.")]
Concurrency: TypeAlias = Annotated[int, typer.Option(min=1, max=1_000, help="Rows under way at once.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of how rows are divided and drawn.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")]
BaseUrl: TypeAlias = Annotated[str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.")]
Config: TypeAlias = Annotated[Path | None, typer.Option(help="Settings; headway.toml if it is there.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="The result in one sentence.")]
