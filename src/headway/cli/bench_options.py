"""The options of `headway bench`, in the groups that its help shows, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from headway.cli.amounts import seconds_of
from headway.errors import ConfigError

if TYPE_CHECKING:
    from headway.measure.bench.run_types import Load, Slo

__all__ = [
    "ApiName", "Arrivals", "AsConfigured", "BaseUrl", "Check", "Concurrency", "Config", "Definitions", "Duration",
    "FindMax", "Input", "Json", "MaxTokens", "MaxUsd", "Models", "NoStream", "PromptText", "Quiet", "Rate", "Report",
    "Runs", "Seed", "SloText", "TaskFile", "UseCaseName", "Warmup", "loads_of", "models_of", "slo_of",
]  # fmt: skip

_ASK, _LOAD, _JUDGE, _TELL = "What to ask", "How hard", "What to hold it against", "What to tell"
RUNS = 10
SLO_KEYS = {"ttft": "ttft_s", "e2e": "e2e_s", "itl": "itl_s", "tpot": "tpot_s"}
WARMUP_MAX = 16

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
    str, typer.Option(metavar="N,N", help="Closed loop: requests at once; a row each.", rich_help_panel=_LOAD)
]
Rate: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="N,N", help="Open loop: requests a second, whatever is answered.", rich_help_panel=_LOAD),
]
Arrivals: TypeAlias = Annotated[
    str,
    typer.Option(metavar="NAME|FILE", help="poisson, constant, or a trace (CSV, JSONL).", rich_help_panel=_LOAD),
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
    float, typer.Option("--max-usd", min=0, help="Send nothing that may take it above.", rich_help_panel=_JUDGE)
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


def models_of(given: list[str] | None, default: str) -> list[str]:
    """The models' names, each once.

    Raises:
        ConfigError: A name is empty.
    """
    names = [name.strip() for one in given or [default] for name in one.split(",")]
    if not all(names):
        raise ConfigError("--model has an empty name; write e.g. --model gpt-5.4-mini,gpt-4o-mini")
    return list(dict.fromkeys(names))


def slo_of(text: str | None) -> Slo | None:
    """The SLO of "ttft=1s,e2e=8s".

    Raises:
        ConfigError: A name or a time is none.
    """
    from headway.measure.bench.run_types import Slo

    if text is None:
        return None
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in SLO_KEYS or not value:
            raise ConfigError(
                f"--slo must be limits such as ttft=1s,e2e=8s ({', '.join(SLO_KEYS)}), not {part.strip()!r}"
            )
        limits[SLO_KEYS[name]] = _seconds(value.strip(), f"--slo {name}")
    return Slo(**limits)


def loads_of(
    concurrency: str,
    rate: str | None,
    arrivals: str,
    runs: int | None,
    duration: str | None,
    warmup: str | None,
    seed: int,
) -> list[Load]:
    """The loads: one a rate where rates are given, one a concurrency otherwise.

    Raises:
        ConfigError: A number is none, or out of range.
        InputError: The trace cannot be read.
    """
    from headway.measure.bench.arrivals import read_trace
    from headway.measure.bench.run_types import Load

    duration_s = None if duration is None else _seconds(duration, "--duration")
    count = runs if runs is not None or duration_s is not None else RUNS
    warmup_s, warmup_count = _warmup(warmup)
    trace = arrivals not in ("poisson", "constant")
    if not trace and rate is None:
        return [
            Load(
                concurrency=places,
                count=count,
                duration_s=duration_s,
                warmup_count=min(places, WARMUP_MAX) if warmup is None else warmup_count,
                warmup_s=warmup_s,
                seed=seed,
            )
            for places in (_whole(text) for text in concurrency.split(","))
        ]
    offsets = read_trace(Path(arrivals)) if trace else ()
    if trace and runs is None and duration_s is None:
        count = len(offsets)
    rates: list[float | None] = [None] if rate is None else [_number(text) for text in rate.split(",")]
    return [
        Load(
            rate_per_s=per_s,
            arrivals="trace" if trace else "constant" if arrivals == "constant" else "poisson",
            offsets_s=tuple(offsets),
            count=count,
            duration_s=duration_s,
            warmup_count=1 if warmup is None else warmup_count,
            warmup_s=warmup_s,
            seed=seed,
        )
        for per_s in rates
    ]


def _warmup(text: str | None) -> tuple[float, int]:
    if text is None:
        return 0.0, 0
    if text.strip().isdecimal():
        return 0.0, int(text)
    return _seconds(text, "--warmup"), 0


def _seconds(text: str, where: str) -> float:
    """As everywhere on the command line, and milliseconds, for limits are that short."""
    if text.endswith("ms"):
        number = text.removesuffix("ms").strip()
        if number.replace(".", "", 1).isdecimal() and float(number) > 0:
            return float(number) / 1e3
        raise ConfigError(f"{where} must be a time such as 50ms or 1s, not {text!r}")
    return seconds_of(text, where)


def _whole(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise ConfigError(f"--concurrency must be whole numbers from 1, such as 1,4,16, not {text.strip()!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--rate must be requests a second, such as 20 or 5,20, not {text.strip()!r}") from None
