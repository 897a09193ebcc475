"""Findings in words, for a terminal: line by line, and summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from headway.prompts.lint.estimate import INPUT_TOKEN_MS, OUTPUT_TOKEN_MS
from headway.prompts.lint.findings import TIERS, Finding
from headway.prompts.lint.source import Source
from headway.wire.tokens import count_tokens

__all__ = ["lines", "totals", "verdict"]

_STYLES: Final = {"auto": "green", "suggest": "yellow", "never": "magenta"}
_UNPRINTABLE: Final = {code: "?" for code in (*range(32), 127, *range(128, 160)) if code != 9}


def lines(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Style and text of each line: a file's name, then its findings with place, rule, tier and estimate."""
    file = ""
    for one in findings:
        if one.where.file != file:
            file = one.where.file
            yield "bold", file
        at = f"{one.where.line}:{one.where.column}"
        yield _STYLES[one.tier], f"  {at:<8}{one.rule}  {one.tier:<8} {one.message.translate(_UNPRINTABLE)}"
        tail = "   ".join(part for part in (_quoted(one.quote), _estimate(one)) if part)
        if tail:
            yield "dim", f"{'':<27}{tail}"


def totals(findings: Sequence[Finding]) -> dict[str, Any]:
    """How many by tier and rule, and what they would save together, as far as it is known."""
    tiers, rules = Counter(one.tier for one in findings), Counter(one.rule for one in findings)
    dollars = [one.dollars_per_1000 for one in findings if one.dollars_per_1000 is not None]
    return {
        "findings": len(findings),
        "tiers": {tier: tiers[tier] for tier in TIERS},
        "rules": dict(sorted(rules.items())),
        "tokens_saved": sum(one.tokens_saved or 0 for one in findings),
        "output_tokens_saved": sum(one.output_tokens_saved for one in findings),
        "dollars_per_1000": round(sum(dollars), 6) if dollars else None,
        "ms_saved": round(sum(one.ms_saved or 0.0 for one in findings), 2),
    }


def verdict(sources: Sequence[Source], findings: Sequence[Finding]) -> str:
    """The sum in two sentences, and how milliseconds were reckoned."""
    if not findings:
        return f"Nothing found in {_files(sources)}."
    sums = totals(findings)
    counts = ", ".join(f"{many} {tier}" for tier, many in sums["tiers"].items() if many)
    text = f"{_plural(len(findings), 'finding')} in {_files(sources)} ({counts})."
    written = sums["output_tokens_saved"]
    read = sums["tokens_saved"] - written
    if sums["tokens_saved"] > 0:
        fixed = sum(count_tokens(part.text, source.model) for source in sources for part in source.texts)
        share = f" of {fixed:,}" if fixed else ""
        text += f" A call would save about {read:,}{share} input tokens" + (
            f", {written:,} output tokens" if written else ""
        )
        dollars = sums["dollars_per_1000"]
        text += (
            f", ${dollars:,.4g} in 1,000 calls" if dollars is not None else ""
        ) + f" and {_time(sums['ms_saved'])}."
        text += f" (Reckoned: {INPUT_TOKEN_MS:g} ms for an input token, {OUTPUT_TOKEN_MS:g} ms for an output token"
        text += ", or the log's own time; uncached prices.)"
    if sums["tiers"]["auto"]:
        text += f" --fix mends {sums['tiers']['auto']} of them."
    return text


def _files(sources: Sequence[Source]) -> str:
    return sources[0].file if len(sources) == 1 else _plural(len(sources), "file")


def _plural(many: int, what: str) -> str:
    return f"{many:,} {what}{'' if many == 1 else 's'}"


def _quoted(quote: str) -> str:
    return f'"{quote.translate(_UNPRINTABLE)}"' if quote else ""


def _estimate(one: Finding) -> str:
    if one.tokens_saved is None:
        return ""
    dollars = "-" if one.dollars_per_1000 is None else f"${one.dollars_per_1000:.4g}"
    return f"{_plural(one.tokens_saved, 'token')}, {dollars}, {_time(one.ms_saved or 0.0)}"


def _time(ms: float) -> str:
    return f"{ms / 1e3:.1f} s" if abs(ms) >= 1_000 else f"{ms:.2g} ms" if abs(ms) < 10 else f"{ms:.0f} ms"
