"""What `optimize` found as one self-contained HTML page: steps as a waterfall, the change, original against result."""

from __future__ import annotations

from headway.measure.rewrite.optimized import Optimized, Step
from headway.measure.rewrite.page import compared_block, diff_block
from headway.report import format as fmt
from headway.report.page import bar_table, card, card_row, page, section, table, text

__all__ = ["optimized_page"]

_UNITS = {"cost": "US dollars per 1,000 rows", "latency": "seconds", "ttft": "seconds", "throughput": "seconds"}


def optimized_page(done: Optimized, command: str = "") -> str:
    """The page's HTML; `command` is what made it."""
    kept = [one for one in done.steps if one.kept and one.name not in done.dropped]
    cards = [
        card("For", done.goal, f"{len(done.steps)} changes tried"),
        card("Kept", str(len(kept)), "confirmed together" if done.holds else "not confirmed together"),
        card("Spent", f"${done.dollars:.4f}", done.stopped_sentence),
    ]
    rows = [
        (
            str(number),
            one.what,
            f"{-one.expected:+.0%}" if one.expected else "-",
            one.measured or "-",
            "kept" if one in kept else "taken back" if one.kept else "not kept",
            one.why,
        )
        for number, one in enumerate(done.steps, 1)
    ]
    head = ("", "change", "expected", "measured", "", "why")
    parts = [
        f"<header><h1>{text(done.before.path.name)}, for {text(done.goal)}</h1></header>",
        f'<p class="lead">{text(done.sentence)}</p>',
        card_row(cards),
        section("Step by step", _waterfall(done, kept), wide=True),
        section("What was tried", table(head, rows, left=True), wide=True),
    ]
    if done.diff:
        parts.append(section("The change", diff_block(done.diff), wide=True))
    if done.final is not None:
        body = compared_block(done.final, "result")
        parts.append(section("Original and result, on rows that no step had seen", body, wide=True))
    if done.hints:
        parts.append(section("Also", "".join(f"<p>{text(one)}</p>" for one in done.hints), wide=True))
    if command:
        parts.append(section("Again", f"<pre>{text(command)}</pre>", wide=True))
    return page(f"{done.before.path.name}, for {done.goal}", "\n".join(parts))


def _waterfall(done: Optimized, kept: list[Step]) -> str:
    """What a row took before, and after each step that was kept."""
    scale = 1_000.0 if done.goal == "cost" else 1.0
    shown = [one for one in kept if one.before is not None and one.after is not None]
    if not shown:
        return '<p class="none">No step was kept, or none of them changed what was measured.</p>'
    bars = []
    for number, one in enumerate(shown):
        assert one.before is not None and one.after is not None  # noqa: PT018 - chosen so above
        if number == 0 or done.goal == "throughput":
            bars.append(
                ("before" if number == 0 else "before the next", one.before * scale, _shown(one.before, done), "b")
            )
        bars.append((f"{one.name}\n{one.measured}", one.after * scale, _shown(one.after, done), "a"))
    what = "time for a set of rows, or for one" if done.goal == "throughput" else f"{done.goal} of a row"
    return bar_table(bars, f"{what}, in {_UNITS[done.goal]}")


def _shown(value: float, done: Optimized) -> str:
    return fmt.dollars(value * 1_000) if done.goal == "cost" else fmt.seconds(value)
