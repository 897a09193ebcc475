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
        tail = "   ".join(part for part in (_estimate(one), _quoted(one.quote)) if part)
        if tail:
            yield "dim", f"{'':<10}{tail}"


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
    """The sum, a line each: how many, what they would save, how that was reckoned."""
    if not findings:
        return f"Nothing found in {_files(sources)}."
    sums = totals(findings)
    counts = ", ".join(f"{many} {tier}" for tier, many in sums["tiers"].items() if many)
    said = [f"{_plural(len(findings), 'finding')} in {_files(sources)}: {counts}."]
    if sums["tiers"]["auto"]:
        said[0] += f" --fix mends {sums['tiers']['auto']}."
    if sums["tokens_saved"] > 0:
        said.append(_savings(sources, sums))
        time = f"{INPUT_TOKEN_MS:g} ms for an input token and {OUTPUT_TOKEN_MS:g} ms for an output token"
        said.append(f"Reckoned with {time}, or what the log shows; at uncached prices.")
    return "\n".join(said)


def _savings(sources: Sequence[Source], sums: dict[str, Any]) -> str:
    written = sums["output_tokens_saved"]
    whole = sum(count_tokens(part.text, source.model) for source in sources for part in source.texts)
    said = f"A call would save about {sums['tokens_saved'] - written:,}{f' of {whole:,}' if whole else ''} input tokens"
    said += f", {written:,} output tokens" if written else ""
    dollars = sums["dollars_per_1000"]
    return (
        said + (f", ${dollars:,.3g} in 1,000 calls" if dollars is not None else "") + f" and {_time(sums['ms_saved'])}."
    )


def _files(sources: Sequence[Source]) -> str:
    return sources[0].file if len(sources) == 1 else _plural(len(sources), "file")


def _plural(many: int, what: str) -> str:
    return f"{many:,} {what}{'' if many == 1 else 's'}"


def _quoted(quote: str) -> str:
    return f'"{quote.translate(_UNPRINTABLE)}"' if quote else ""


def _estimate(one: Finding) -> str:
    if one.tokens_saved is None:
        return ""
    dollars = "-" if one.dollars_per_1000 is None else f"${one.dollars_per_1000:.3g} per 1,000"
    return f"{_plural(one.tokens_saved, 'token')}, {dollars}, {_time(one.ms_saved or 0.0)}"


def _time(ms: float) -> str:
    return f"{ms / 1e3:.1f} s" if abs(ms) >= 1_000 else f"{ms:.2g} ms" if abs(ms) < 10 else f"{ms:.0f} ms"
