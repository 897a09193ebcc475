"""What `compress` found as one self-contained HTML page."""

from __future__ import annotations

from headway.measure.compare.comparison import Comparison
from headway.measure.compare.table import facts, lines
from headway.measure.rewrite.compressing import Compressed, diff_of
from headway.measure.rewrite.told import stage_word
from headway.report.page import bar_table, card, card_row, definition_table, details, page, section, table, text

__all__ = ["compared_block", "compressed_page", "diff_block"]

_DIFF_CHARS_MAX = 100_000
_TRIED_MAX = 60


def compressed_page(done: Compressed, command: str = "") -> str:
    """The page's HTML; `command` is what made it."""
    cards = [
        card("Fixed text", f"{done.tokens_after:,} tokens", f"it was {done.tokens_before:,}"),
        card("Less", f"{done.saved:.0%}" if done.after is not None else "-", "of the fixed text"),
        card("Spent", f"${done.dollars:.4f}", f"${done.dollars_writing:.4f} of it for writing"),
    ]
    ranked = sorted(done.tried, key=lambda one: -one.candidate.tokens)[:_TRIED_MAX]
    bars = [("original", float(done.tokens_before), f"{done.tokens_before:,}", "b")]
    bars += [
        (
            f"{one.candidate.name}\n{stage_word(one)}",
            float(one.candidate.tokens),
            f"{one.candidate.tokens:,}",
            "a" if one.stage == "kept" else "b",
        )
        for one in ranked
    ]
    rows = [(one.candidate.name, one.candidate.how, stage_word(one), one.why) for one in ranked]
    parts = [
        f'<header><h1>{text(done.before.path.name)}, shorter</h1></header><p class="lead">{text(done.sentence)}</p>',
        *(f"<p>Note: {text(note)}</p>" for note in done.notes),
        card_row(cards),
        section("Candidates", bar_table(bars, "Tokens of the fixed text"), wide=True),
        section("What became of each", table(("candidate", "how", "", "why"), rows, left=True), wide=True),
    ]
    if done.after is not None:
        parts.append(section("The change", diff_block(diff_of(done.before, done.after)), wide=True))
    if done.comparison is not None:
        body = compared_block(done.comparison, "shorter")
        parts.append(section("Original and shorter, on rows that were held out", body, wide=True))
    if command:
        parts.append(section("Again", f"<pre>{text(command)}</pre>", wide=True))
    return page(f"{done.before.path.name}, shorter", "\n".join(parts))


def compared_block(comparison: Comparison, after: str) -> str:
    """The original, and what is called `after`, side by side."""
    body = table(("", "original", after, "change", ""), [(line.full, *line[1:5]) for line in lines(comparison)])
    return body + details("What it rests on", definition_table(dict(facts(comparison))))


def diff_block(diff: str) -> str:
    """A diff as HTML; `page.text` cuts at 2,000 characters, so it goes in line by line."""
    return f"<pre>{chr(10).join(text(line) for line in diff[:_DIFF_CHARS_MAX].splitlines())}</pre>"
