"""What `compress` found as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from headway.errors import ConfigError
from headway.measure.compare.table import facts, lines
from headway.measure.rewrite.compressing import Compressed, diff_of
from headway.measure.rewrite.told import stage_word
from headway.report.page import bar_table, card, definition_table, details, page, section, table, text

__all__ = ["compressed_page", "write_compressed", "write_page"]

_DIFF_CHARS_MAX = 100_000
_TRIED_MAX = 60


def write_compressed(path: Path, done: Compressed, *, command: str = "") -> Path:
    """Write the page, as a whole or not at all. Raises `ConfigError` where it cannot be written."""
    return write_page(path, compressed_page(done, command=command))


def write_page(path: Path, html: str) -> Path:
    """Write a page, as a whole or not at all. Raises `ConfigError` where it cannot be written."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(html, "utf-8")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"--report: {path} cannot be written: {error.strerror or error}; name another") from None
    return path


def compressed_page(done: Compressed, *, command: str = "") -> str:
    """The page's HTML."""
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
        f'<div class="cards">{"".join(cards)}</div>',
        section("Candidates", bar_table(bars, "Tokens of the fixed text"), wide=True),
        section("What became of each", table(("candidate", "how", "", "why"), rows, left=True), wide=True),
    ]
    if done.after is not None:
        parts.append(section("The change", diff_block(diff_of(done.before, done.after)), wide=True))
    comparison = done.comparison
    if comparison is not None:
        head = ("", "original", "shorter", "change", "")
        body = table(head, [(line.full, *line[1:5]) for line in lines(comparison)])
        body += details("What it rests on", definition_table(dict(facts(comparison))))
        parts.append(section("Original and shorter, on rows that were held out", body, wide=True))
    if command:
        parts.append(section("Again", f"<pre>{text(command)}</pre>", wide=True))
    return page(f"{done.before.path.name}, shorter", "\n".join(parts))


def diff_block(diff: str) -> str:
    """A diff as HTML; `page.text` cuts at 2,000 characters, so it goes in line by line."""
    return f"<pre>{chr(10).join(text(line) for line in diff[:_DIFF_CHARS_MAX].splitlines())}</pre>"
