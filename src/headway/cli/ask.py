"""`headway ask`: one answer in the terminal, as it comes, and what it took."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.cli.run_options import MODEL
from headway.errors import ConfigError, HeadwayError, InputError

if TYPE_CHECKING:
    from rich.table import Table

    from headway.engine import Engine
    from headway.measure.asking import Asked, Question, Summed

__all__ = ["ask"]

PROMPT_BYTES_MAX = 16 * 1024 * 1024

_HELP = """
Ask a model, and see the answer while it is being written. The last line says what it took: TTFT (time to the first \
token), total, tokens a second and dollars.

Only the answer goes to stdout, so that a pipe gets nothing else. "-" reads the prompt from standard input.

With --runs the question is asked N times, one after the other, and the first answer is shown; with several --model \
they are asked at the same time, side by side. Either way a table has the medians and the dollars of all.

Examples:

  headway ask "Why is the sky blue?"

  git diff | headway ask - --system "Write a commit message." > message.txt

  headway ask "Hello" --model gpt-5.4-mini --model gpt-4.1-nano --runs 5

Exit codes: 0 answered, 1 a model gave no whole answer, 2 the call is wrong (a setting, the key, the model), 130 \
interrupted.
"""


def ask(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help='What to ask, or "-" for standard input.')],
    model: Annotated[list[str] | None, typer.Option(help=f"May be given several times; {MODEL} if not given.")] = None,
    system: Annotated[str, typer.Option(help="Instructions that stand before the prompt.")] = "",
    max_output_tokens: Annotated[int | None, typer.Option(min=1, help="Bound of the answer, in tokens.")] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Chat Completions instead of Responses.")] = False,
    runs: Annotated[int, typer.Option(min=1, max=1_000, help="Ask so many times.")] = 1,
    cache: Annotated[bool, typer.Option("--cache", help="Reuse a kept answer, and keep this one.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, and nothing before.")] = False,
    base_url: Annotated[str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; headway.toml if it is there.")] = None,
) -> None:
    """Ask a model, and see the answer while it is being written."""
    try:
        from headway.measure.asking import Question

        text = _prompt(prompt)
        questions = [
            Question(
                prompt=text,
                model=name,
                system=system,
                output_tokens_max=max_output_tokens,
                api="chat" if chat else "responses",
            )
            for name in dict.fromkeys(model or [MODEL])
        ]
        code = _Session(questions, runs, json=json).start(_settings(base_url, config, cache=cache), config)
    except HeadwayError as error:
        typer.echo(f"headway ask: {error}", err=True)
        code = 2 if isinstance(error, ConfigError | InputError) else 1
    except BrokenPipeError:
        # Whoever read the answer is gone: its stream was ended, and nothing more can be written there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    raise typer.Exit(code)


ask.__doc__ = _HELP


def _prompt(text: str) -> str:
    """The prompt, from standard input where it is "-"."""
    if text == "-":
        data = sys.stdin.buffer.read(PROMPT_BYTES_MAX + 1)
        if len(data) > PROMPT_BYTES_MAX:
            raise InputError(
                f"standard input holds more than {PROMPT_BYTES_MAX >> 20} MiB; no model takes so long a prompt"
            )
        text = data.decode("utf-8", "replace")
    if not text.strip():
        raise InputError('the prompt is empty; write one, or "-" to read it from standard input')
    return text


def _settings(base_url: str | None, config: Path | None, *, cache: bool) -> dict[str, Any]:
    from headway.config import load_settings

    given: dict[str, Any] = {"base_url": base_url}
    plain = load_settings(given, file=config)
    given["cache"] = ("disk" if plain.cache == "off" else plain.cache) if cache else "off"
    if plain.log_level == "warning":
        given["log_level"] = "off"  # a failure is told once, by the command itself
    return given


class _Session:
    """All runs of all models, and what has come of them so far."""

    def __init__(self, questions: list[Question], runs: int, *, json: bool) -> None:
        from headway.measure.asking import Asked

        self._questions = questions
        self._runs = runs
        self._json = json
        self._new = Asked
        self._asked: list[list[Asked]] = [[] for _ in questions]
        self._lone = len(questions) == 1 and runs == 1
        self._tty = sys.stdout.isatty()

    def start(self, settings: dict[str, Any], config: Path | None) -> int:
        """Run on a loop of its own, where signals cancel it; return the exit code."""
        from headway.wire.prices import load

        load()  # now, or importing the price list would count into the first answer's time

        async def main() -> None:
            from headway.engine import Engine

            task = asyncio.current_task()
            for number in (signal.SIGINT, signal.SIGTERM):
                try:
                    asyncio.get_running_loop().add_signal_handler(number, task.cancel if task else lambda: None)
                except NotImplementedError:
                    break  # where loops know no signals, Ctrl-C still raises
            async with Engine(config=config, **settings) as engine:
                await self._ask_all(engine)

        try:
            asyncio.run(main())
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._tell(interrupted=True)
            return 130
        self._tell()
        failed = [one for asked in self._asked for one in asked if one.error]
        if any(one.wrong_call for one in failed):
            return 2
        return 1 if failed else 0

    async def _ask_all(self, engine: Engine) -> None:
        """In rounds: within one, all models at the same time."""
        from headway.measure.asking import ask

        if len(self._questions) > 1 and not self._json:
            self._say(f"-- {self._questions[0].model}")
        for turn in range(self._runs):
            jobs = []
            for place, question in enumerate(self._questions):
                one = self._new(model=question.model)
                self._asked[place].append(one)
                live = turn == 0 and place == 0 and not self._json
                jobs.append(asyncio.create_task(ask(engine, question, one, on_text=self._write if live else None)))
            try:
                await asyncio.gather(*jobs)
            finally:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
            if turn == 0 and not self._json:
                self._show_firsts()

    def _show_firsts(self) -> None:
        """End the first model's answer, and show the other models' first ones."""
        for place, asked in enumerate(self._asked):
            text = asked[0].text
            if place:
                self._say(f"-- {asked[0].model}")
                self._write(text)
            if text and not text.endswith("\n"):
                self._write("\n")

    def _write(self, text: str) -> None:
        if self._tty:  # a model's words may not steer the terminal
            text = "".join(char for char in text if char.isprintable() or char in "\n\t")
        sys.stdout.write(text)
        sys.stdout.flush()

    def _say(self, sentence: str) -> None:
        dim = sys.stderr.isatty()
        sys.stderr.write(f"\x1b[2m{sentence}\x1b[0m\n" if dim else f"{sentence}\n")

    def _tell(self, *, interrupted: bool = False) -> None:
        """The figures: one object, one line, or a table."""
        from headway.measure.asking import summed

        made = [summed(asked) for asked in self._asked if asked]
        if self._json:
            import msgspec

            found = {"interrupted": interrupted, "models": [msgspec.to_builtins(one) for one in made]}
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
            sys.stdout.flush()
        else:
            first = self._asked[0][0] if self._asked[0] else None
            if interrupted and first is not None and first.text and not first.text.endswith("\n"):
                self._write("\n")
            if self._lone and first is not None and not first.error:
                self._say(_line(first, interrupted=interrupted))
            elif not self._lone and made:
                self._table(made)
        if interrupted:
            self._say(f"headway ask: interrupted{_so_far(made)}")
        for sentence in dict.fromkeys(one.error for asked in self._asked for one in asked if one.error):
            typer.echo(f"headway ask: {_printable(sentence)}", err=True)

    def _table(self, made: list[Summed]) -> None:
        from rich.console import Console

        Console(highlight=False, stderr=True).print(_table(made))


def _printable(text: str) -> str:
    from headway.report import format as fmt

    return fmt.printable(text)


def _line(one: Asked, *, interrupted: bool) -> str:
    """What one answer took."""
    from headway.report import format as fmt

    usage = one.usage if one.usage is not None and not one.usage.estimated else None
    parts = [
        f"TTFT {fmt.seconds(one.ttft_s)}",
        f"{'so far' if interrupted else 'total'} {fmt.seconds(one.total_s)}",
        f"{fmt.count(one.tokens_per_s)} tokens/s" if one.tokens_per_s and usage is not None else "",
        f"cost {fmt.dollars(one.dollars)}" if usage is not None else "",
        f"{usage.input_tokens:,} in, {usage.output_tokens:,} out" if usage is not None else "",
        f"from the cache ({one.cache})" if one.cache not in ("", "off", "miss", "refresh") else "",
        "cut at its bound" if one.cut else "",
    ]
    return ", ".join(part for part in parts if part)


def _so_far(made: list[Summed]) -> str:
    """What had come when it was interrupted."""
    answers = [one for model in made for one in model.answers]
    whole = sum(one.outcome == "ok" for one in answers)
    chars = sum(len(one.text) for one in answers if one.outcome != "ok")
    billed = any(one.maybe_billed for one in answers)
    came = [f"{whole} whole answers" if whole else "", f"{chars:,} characters of an unfinished one" if chars else ""]
    said = " and ".join(part for part in came if part) or "nothing"
    return f"; {said} had come" + (", and what was generated may be billed" if billed else "")


def _table(made: list[Summed]) -> Table:
    """One row a model; narrow enough for 80 columns."""
    from rich.text import Text

    from headway.report import format as fmt
    from headway.report.grid import grid

    table = grid("dim")
    table.add_column("model")
    for name in ("runs", "TTFT", "total", "tokens/s", "out", "cost", "errors"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in made:
        out = [answer.usage.output_tokens for answer in one.answers if answer.usage is not None]
        table.add_row(
            Text(fmt.printable(one.model)),
            str(len(one.answers)),
            fmt.seconds(one.ttft_s),
            fmt.seconds(one.total_s),
            fmt.count(one.tokens_per_s),
            fmt.count(sum(out) / len(out)) if out else "-",
            fmt.dollars(one.dollars),
            Text(str(one.errors), style="red" if one.errors else ""),
        )
    return table
