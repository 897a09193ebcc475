"""What the terminal shows of `compress`, `optimize` and `lint --verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from headway.measure.rewrite.choosing import Tried
from headway.measure.rewrite.compressing import Compressed, diff_of
from headway.report import format as fmt
from headway.report.grid import grid

if TYPE_CHECKING:
    from headway.measure.rewrite.optimized import Optimized

__all__ = ["print_compressed", "print_optimized", "stage_word"]

_WORDS: Final = {
    "guard": "refused by the guard",
    "choose": "turned away",
    "confirm": "not confirmed",
    "kept": "kept",
    "untried": "not tried",
}
_UNWRITTEN: Final = "Nothing was changed: --out FILE writes it there, --write changes the file itself."
_STYLES: Final = {"kept": "bold green", "guard": "red", "choose": "red", "confirm": "yellow", "untried": "dim"}


def stage_word(tried: Tried) -> str:
    """How far a candidate came, in a word or three."""
    return _WORDS[tried.stage]


def print_compressed(done: Compressed, console: Console, *, written: bool) -> None:
    """All candidates, the diff, the result."""
    table = grid("dim")
    table.add_column("candidate", no_wrap=True)
    table.add_column("tokens", justify="right")
    table.add_column("")
    table.add_column("why", overflow="fold")
    table.add_row("original", f"{done.tokens_before:,}", "", "")
    for one in sorted(done.tried, key=lambda each: -each.candidate.tokens):
        table.add_row(
            fmt.printable(one.candidate.name),
            f"{one.candidate.tokens:,}",
            Text(stage_word(one), style=_STYLES[one.stage]),
            "" if one.stage in ("kept", "untried") else Text(fmt.printable(one.why)),
        )
    diff = diff_of(done.before, done.after) if done.after is not None else ""
    _print_found(table, diff, done.sentence, console)
    for note in done.notes:
        console.print(Text(f"Note: {fmt.printable(note)}"))
    writing = f" (${done.dollars_writing:.4f} of it for writing)" if done.dollars_writing else ""
    console.print(
        f"Rows: {done.rows_choose:,} to choose with, {done.rows_confirm:,} held out. "
        f"Spent: ${done.dollars:.4f}{writing}.",
        style="dim",
    )
    if diff and not written:
        console.print(_UNWRITTEN, style="dim")


def print_optimized(done: Optimized, console: Console, *, written: bool) -> None:
    """Every step, the diff, original against final."""
    table = grid("dim")
    for name, right in (("step", True), ("change", False), ("expected", True), ("measured", True), ("", False)):
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    for number, step in enumerate(done.steps, 1):
        kept = step.kept
        table.add_row(
            str(number),
            Text(fmt.printable(step.what)),
            f"{-step.expected:+.0%}" if step.expected else "",
            step.measured,
            Text("kept" if kept else fmt.printable(step.why), style="bold green" if kept else ""),
        )
    _print_found(table, done.diff, done.sentence, console)
    for hint in done.hints:
        console.print(Text(f"Also: {hint}"), style="dim")
    console.print(f"Spent: ${done.dollars:.4f}. {done.stopped_sentence}", style="dim")
    if done.diff and not written:
        console.print(_UNWRITTEN, style="dim")


def _print_found(table: Table, diff: str, sentence: str, console: Console) -> None:
    """What was tried, the diff in colours, the result."""
    console.print(table)
    console.print()
    for line in diff.splitlines():
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
        console.print(Text(fmt.printable(line), style=style))
    if diff:
        console.print()
    console.print(Text(sentence))
