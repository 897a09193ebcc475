"""How exact lint is: precision and recall on the corpus of labelled prompts, by tier and rule, and its speed.

    python bench/bench_lint.py

Held-out prompts were not looked at while the rules were tuned; their figures are printed apart.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from common import ROOT, emit

sys.path.insert(0, str(ROOT))

from tests.prompts.lint_score import AUTO, CORPUS, Score, auto, labels, score

from headway.prompts.lint.registry import RULES
from headway.prompts.lint.run import fixed, lint_task
from headway.prompts.lint.source import read_source
from headway.wire.tokens import count_tokens


def main() -> None:
    """Print the figures."""
    files = labels()
    emit("lint: prompts in the corpus", ">= 60", len(files), reached=len(files) >= 60)
    for part in ("", "tune", "held_out"):
        total = auto(score(part))
        precision, recall = total.precision or 0.0, total.recall or 0.0
        name = {"": "all", "tune": "tuned on", "held_out": "held out"}[part]
        emit(
            f"lint: auto tier, precision ({name})",
            ">= 0.95",
            round(precision, 3),
            reached=precision >= 0.95,
            **told(total),
        )
        emit(f"lint: auto tier, recall ({name})", ">= 0.9", round(recall, 3), reached=recall >= 0.9, **told(total))
    scores = score()
    for rule in RULES:
        if rule.id not in AUTO and rule.id in scores:
            one = scores[rule.id]
            emit(f"lint: {rule.id} {rule.name}", "reported", shares(one), reached=None, tier=rule.tier, **told(one))
    speed()


def told(one: Score) -> dict[str, int]:
    """The counts."""
    return {"right": one.right, "extra": one.extra, "missed": one.missed}


def shares(one: Score) -> dict[str, float | None]:
    """Precision and recall, rounded."""
    return {
        name: None if value is None else round(value, 3)
        for name, value in (("precision", one.precision), ("recall", one.recall))
    }


def speed() -> None:
    """Time and tokens over the whole corpus."""
    began = time.perf_counter()
    sources = [read_source(CORPUS / name) for name in labels()]
    for source in sources:
        lint_task(source)
    took_s = time.perf_counter() - began
    before = sum(count_tokens(text.text, source.model) for source in sources for text in source.texts)
    after = sum(count_tokens(text.text, source.model) for source in sources for text in fixed(source).source.texts)
    emit("lint: time a prompt, ms", "reported", round(1e3 * took_s / len(sources), 2), reached=None)
    emit(
        "lint: tokens taken out by --fix, of all", "reported", round(1 - after / before, 4), reached=None, tokens=before
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
