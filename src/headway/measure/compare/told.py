"""The verdict in a sentence, and what has to be known to read the figures."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from headway.errors import InputError
from headway.measure.compare.checkers import MISSING
from headway.measure.compare.comparison import Comparison
from headway.measure.compare.variant import Variant
from headway.measure.stats.sentences import change, sentence
from headway.report import format as fmt
from headway.types import Usage

__all__ = ["RIGHT_MIN", "RIGHT_ROWS_MIN", "concluded", "noise_line"]

_NO_HIT = ("", "off", "miss", "refresh")
RIGHT_MIN, RIGHT_ROWS_MIN = 0.2, 10
"""Marks of the original below which it is likelier that the check is wrong than that it is; on so many rows.

And if it is not, a prompt that does not work is no yardstick."""
_AGAIN_MAX = 0.1
"""Share of rows asked again, above which a note tells."""
_SAME = "The two variants are the same: this measures noise only."


def concluded(bare: Comparison, a: Variant, b: Variant, *, checked: bool) -> Comparison:
    """The comparison with its verdict, its sentence and its notes.

    Raises:
        InputError: The check failed on every row.
    """
    failed = [(one.score_a, one.score_b) for one in bare.asked if one.score_a.raised or one.score_b.raised]
    first = next((score.note for both in failed for score in both if score.raised), "")
    scores = [score for one in bare.asked for score in (one.score_a, one.score_b)]
    silent = bare.stopped in ("decided", "rows") and any(score.note == MISSING for score in scores)
    if checked and (failed or silent) and all(score.value is None for score in scores):
        raise InputError(f"the check gave no mark on any of {bare.rows:,} rows; the first time: {first or MISSING}")
    done = replace(
        bare,
        missing=sum(MISSING in (one.score_a.note, one.score_b.note) for one in bare.asked),
        unscored=len(failed),
        unscored_first=first,
    )
    verdict: str = done.findings.verdict
    said = f"{sentence(done.findings, done.a, done.b)}."
    if not done.rows and done.stopped == "money":
        said = "inconclusive: the money cap has no room for a row, at the most that it may cost."
    if done.sets is not None:
        alone = _row_sentence(done) if done.same_asked else ""
        verdict, said = _with_sets(done), f"{_sets_sentence(done)} {alone or said}"
    if not done.differences:
        said = f"{_SAME} {said}"
    return replace(done, verdict=verdict, sentence=said, notes=tuple(_notes(done, a, b, checked=checked)))


def _with_sets(done: Comparison) -> str:
    """The verdict on rows, and the one on sets, as one."""
    assert done.sets is not None  # the caller has looked
    rows, sets = done.findings.verdict, done.sets.finding.verdict
    if sets not in ("better", "worse"):
        return rows
    if rows == "mixed" or (rows in ("better", "worse") and rows != sets):
        return "mixed"
    quality = done.findings.quality
    if sets == "better" and not done.same_asked and quality.kind != "none" and not quality.not_inferior:
        return "inconclusive"  # faster, and perhaps for a reason
    return sets


def _sets_sentence(done: Comparison) -> str:
    assert done.sets is not None  # the caller has looked
    speedup, sets = done.sets.speedup, f"{done.sets.sets} sets of {done.sets.rows_each} rows"
    if speedup is None:
        return f"How long sets of rows take cannot be told from {sets}."
    is_open = "; that is open" if done.sets.finding.verdict == "unclear" else ""
    times = f"{_times(speedup.low)} to {_times(speedup.high)}"
    return f"{done.b} does {times} times as many rows in the same time as {done.a} ({sets}{is_open})."


def _row_sentence(done: Comparison) -> str:
    """What became of single rows, where the same was asked: their quality cannot differ but by chance."""
    found = done.findings.metric("latency")
    if found is None or found.ratio is None:
        return ""
    return f"The latency of a single row changes by {change(found.ratio)}."


def _times(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}"


def _notes(done: Comparison, a: Variant, b: Variant, *, checked: bool) -> Iterator[str]:
    """Sentences; the loudest first."""
    if done.noise is not None and done.noise.alarming:
        yield (
            f"WARNING: two runs of {a.name} were told apart ({done.noise.verdict}), which should not happen: something "
            "drifts, or a row's first and second call differ (a cache, a limit). Do not trust small differences."
        )
    if done.stopped == "money":
        yield "It stopped at the money cap; raise --max-usd to go on."
    yield from done.findings.notes
    if not checked:
        yield "To have quality checked, name the 'expected' column in the task files, or say --check."
    if done.missing:
        yield f"{done.missing:,} of {done.rows:,} rows have no right answer to compare with."
    quality, repeated = done.findings.quality, _repeated(done, a, b)
    if quality.a is not None and quality.a < RIGHT_MIN and quality.rows >= RIGHT_ROWS_MIN:
        marks = f"{quality.a * 100:.0f} %"
        what = f"is right on {marks} of the rows" if quality.kind == "binary" else f"is marked {marks} on average"
        yield f"The original {what}: check --expected, --labels and --check, for it may be the check that is wrong."
    if "cache" in done.differences and done.rows and not repeated and not any(_hits(done, side) for side in "ab"):
        yield "No row was asked twice, so a cache has nothing to give."
    if quality.rows and repeated:
        yield (
            f"{repeated:,} of {done.rows:,} rows ask what another row asks: rows that were copied, not met, make "
            "quality look better known than it is."
        )
    if done.unscored:
        yield f"The check failed on {done.unscored:,} of {done.rows:,} rows."
    length, lengths = done.findings.metric("length_part"), done.findings.metric("output_tokens")
    if length is None and lengths is not None and lengths.verdict in ("better", "worse") and not a.run.stream:
        yield (
            "How much of the latency is due to length cannot be told from these whole answers; with stream = true in "
            "the [run] tables it can."
        )
    if done.dollars_estimated:
        yield "The cost of some answers is unknown; the cap counts them at their worst case."
    yield from _of_side(done, "a", a)
    yield from _of_side(done, "b", b)


def _repeated(done: Comparison, a: Variant, b: Variant) -> int:
    """Rows that show neither prompt anything that an earlier one did not."""
    columns = sorted({*a.task.columns, *b.task.columns})
    asked = [one.a.result.row for one in done.asked]
    return len(asked) - len({repr([row.get(name) for name in columns]) for row in asked})


def _of_side(done: Comparison, side: str, variant: Variant) -> Iterator[str]:
    answered = [getattr(one, side) for one in done.asked]
    good = [one for one in answered if one.result.outcome == "ok"]
    again = sum(one.result.repairs > 0 for one in answered)
    if again > _AGAIN_MAX * len(answered):
        yield (
            f"{again:,} of {len(answered):,} answers of {variant.name} had to be asked for again: its latency and cost "
            "include that."
        )
    hits = _hits(done, side)
    if hits:
        yield f"{hits:,} answers of {variant.name} came from a cache: their latency and cost are the cache's."
    whole = sum(not one.streamed and one.result.attempts > 0 for one in good)
    if variant.run.stream and whole:
        yield f"{variant.name} asked for streams, but {whole:,} answers came whole: the server ignored the wish."
    silent = sum(_estimated(one.result.usage) for one in good)
    if silent:
        yield f"{silent:,} answers of {variant.name} told no usage: what they took is unknown, and in no figure."
    empty = sum(not one.result.text for one in good)
    if empty:
        yield f"{empty:,} answers of {variant.name} are empty, and were accepted."


def _hits(done: Comparison, side: str) -> int:
    """Answers that a cache gave."""
    results = [getattr(one, side).result for one in done.asked]
    return sum(one.outcome == "ok" and one.cache not in _NO_HIT for one in results)


def _estimated(usage: Usage | None) -> bool:
    return usage is None or usage.estimated


def noise_line(done: Comparison) -> str:
    """What the A/A showed, in a line."""
    noise = done.noise
    if noise is None:
        return "not measured"
    runs = f"two runs of {done.a} on {noise.rows} rows"
    if noise.ratio is None:
        return f"{runs} gave too few answers to tell"
    parts = [f"{runs} differ by {fmt.percent(abs(noise.ratio.estimate - 1))} in latency"]
    if noise.row_ratio is not None:
        parts.append(f"two calls of one row typically by {fmt.percent(noise.row_ratio)}")
    parts.append(f"{noise.answers_differ} answers differ" if noise.answers_differ else "the answers agree")
    return "; ".join(parts)
