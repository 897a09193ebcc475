"""The options of `headway summarize`, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from headway.errors import ConfigError
from headway.prompts.output import Api

__all__ = [
    "ApiName",
    "BaseUrl",
    "Budget",
    "ChunkTokens",
    "Concurrency",
    "Config",
    "Fresh",
    "Glob",
    "Input",
    "Json",
    "LaneName",
    "MapPrompt",
    "Model",
    "NoCache",
    "OnError",
    "Out",
    "Plan",
    "Question",
    "Quiet",
    "ReduceModel",
    "ReducePrompt",
    "Refine",
    "Sources",
    "Window",
    "Words",
    "prompt_of",
]

_ASK = "What to ask"
_HOW = "How it is done, and for how much"
_GO_ON = "Output, and going on"
_TELL = "What to tell"
_FILE_CHARS_MAX = 255

Input: TypeAlias = Annotated[str, typer.Argument(metavar="INPUT", help='A text file, a folder of them, or "-".')]
Words: TypeAlias = Annotated[int, typer.Option(help="About how long the summary is to be.", rich_help_panel=_ASK)]
Question: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Answer this from the text, instead of a summary.", rich_help_panel=_ASK),
]
Model: TypeAlias = Annotated[str, typer.Option(help="Model that reads the chunks.", rich_help_panel=_ASK)]
ApiName: TypeAlias = Annotated[
    Api, typer.Option(help="What the provider speaks; messages is Anthropic's.", rich_help_panel=_ASK)
]
ReduceModel: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Model that merges, and writes the summary; --model's.", rich_help_panel=_ASK),
]
MapPrompt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|TEXT",
        help="What is asked about each chunk ({text}, {words}, {part}, {parts}).",
        rich_help_panel=_ASK,
    ),
]
ReducePrompt: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|TEXT", help="What is asked to merge ({summaries}, {words}, {parts}).", rich_help_panel=_ASK
    ),
]
Refine: TypeAlias = Annotated[
    bool,
    typer.Option("--refine", help="Write it once more, beside the sentences it rests on.", rich_help_panel=_ASK),
]
ChunkTokens: TypeAlias = Annotated[
    int | None, typer.Option(metavar="TOKENS", help="Of a chunk, at most.", rich_help_panel=_HOW)
]
Window: TypeAlias = Annotated[
    int | None, typer.Option(metavar="TOKENS", help="What the model takes at once.", rich_help_panel=_HOW)
]
Concurrency: TypeAlias = Annotated[
    int, typer.Option(min=1, max=10_000, help="Calls in flight at once, of all documents.", rich_help_panel=_HOW)
]
LaneName: TypeAlias = Annotated[
    Literal["online", "batch"],
    typer.Option(
        help="batch: chunks at half the price, which may take a day; merging is at once. Needs --out.",
        rich_help_panel=_HOW,
    ),
]
OnError: TypeAlias = Annotated[
    Literal["mark", "fail", "drop"],
    typer.Option(
        help="When a chunk fails for good: mark the gap in the summary, fail the document, or drop the chunk.",
        rich_help_panel=_HOW,
    ),
]
Budget: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--budget",
        "--budget-usd",
        metavar="MONEY",
        help="Stop before more is spent, e.g. 2usd; with --out, earlier runs count.",
        rich_help_panel=_HOW,
    ),
]
Plan: TypeAlias = Annotated[
    bool, typer.Option("--plan", help="Only say what it would come to; send nothing.", rich_help_panel=_HOW)
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="One JSON line a document, as each is done.", rich_help_panel=_GO_ON),
]
Glob: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Which files of a folder, e.g. '*.log'.", rich_help_panel=_GO_ON),
]
NoCache: TypeAlias = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither reuse answers nor keep them.", rich_help_panel=_GO_ON),
]
Fresh: TypeAlias = Annotated[
    bool, typer.Option("--fresh", help="Forget what --out holds, and overwrite it.", rich_help_panel=_GO_ON)
]
Sources: TypeAlias = Annotated[
    bool,
    typer.Option("--sources", help="Which chunks it comes from, and where they stand.", rich_help_panel=_TELL),
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="One JSON object instead of text.", rich_help_panel=_TELL)
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="No progress and no figures.", rich_help_panel=_TELL)]
BaseUrl: TypeAlias = Annotated[
    str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.", rich_help_panel=_HOW)
]
Config: TypeAlias = Annotated[
    Path | None, typer.Option(help="Settings; headway.toml if it is there.", rich_help_panel=_HOW)
]


def prompt_of(given: str | None, option: str) -> str | None:
    """A prompt that was given as text, or as the name of a file that holds it.

    Raises:
        ConfigError: It is empty; or it looks like a file's name, and there is none; or that cannot be read.
    """
    if given is None:
        return None
    path = Path(given)
    try:
        found = len(given) <= _FILE_CHARS_MAX and "\n" not in given and path.is_file()
        text = path.read_text(encoding="utf-8") if found else given
    except (OSError, UnicodeError) as error:
        said = "is no UTF-8 text" if isinstance(error, UnicodeError) else f"cannot be read: {error.strerror}"
        raise ConfigError(f"{option} {given} {said}") from None
    if not text.strip():
        raise ConfigError(f"{option} is empty; write what to ask, or name a file that says it")
    if not found and " " not in given and path.suffix:
        raise ConfigError(f"{option} {given} is no file, and too short for a prompt; mend the name")
    return text
