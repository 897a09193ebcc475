"""What `headway summarize` says about a folder: how far it is, what it came to, and what to do about the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headway.cli.summarize_show import Pace, say
from headway.pipeline.mapreduce.dollars import plus
from headway.report import format as fmt

if TYPE_CHECKING:
    from headway.jobs.job import Tally as JobTally
    from headway.pipeline.documents.found import Found
    from headway.pipeline.documents.run import Tally
    from headway.pipeline.documents.sharing import Took

__all__ = ["batch_line", "encodings", "figures", "line", "said", "warned"]

_ID_CHARS: Final = 18


def line(tally: Tally, took: Took, live: Mapping[str, Any], pace: Pace) -> str:
    """How far the documents are; `live` is the engine's snapshot."""
    old = tally.resumed + tally.failed  # what took no time, or none to speak of
    made = tally.done - old
    hour = pace.per_hour(made)
    parts = [
        f"{tally.done:,}/{tally.total:,} documents",
        pace.left(made, tally.total - old),
        fmt.dollars(took.dollars) if took.dollars is not None else "cost unknown",
        f"{fmt.count(round(hour))} documents/h" if hour is not None else "",
        f"{tally.failed:,} failed" if tally.failed else "",
        f"{took.calls:,} calls",
        f"{live['in_flight']:,} in flight" if live.get("in_flight") else "",
        f"{live['throttled']:,} x 429" if live.get("throttled") else "",
    ]
    return "  ".join(part for part in parts if part)


def batch_line(tally: JobTally | None, pace: Pace) -> str:
    """How far the batches are."""
    parts = ["batch", fmt.seconds(pace.took_s)]
    lane = next((one for one in tally.lanes if one.name == "batch"), None) if tally is not None else None
    if tally is not None:
        parts.append(f"{tally.done:,} answered")
    if lane is not None:
        parts += [f"{lane.out:,} out"] * bool(lane.out) + [f"{lane.waiting:,} waiting"] * bool(lane.waiting)
        parts += [f"{one.state} ({one.id[:_ID_CHARS]}, {one.rows:,} requests)" for one in lane.batches[:2]]
        parts += [lane.trouble] * bool(lane.trouble)
    return "  ".join(parts)


def figures(tally: Tally, found: Found, took_s: float, dollars: float | None, calls: int) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "documents": tally.total,
        "done": tally.done,
        "resumed": tally.resumed,
        "failed": tally.failed,
        "with_gaps": tally.with_gaps,
        "stopped": tally.stopped or None,
        "calls": calls,
        "dollars": dollars,
        "took_s": took_s,
        "documents_per_hour": _per_hour(tally, took_s),
        "left_out": dict(found.others),
    }


def said(tally: Tally, found: Found, took_s: float, dollars: float | None, *, before: float = 0.0) -> None:
    """The figures in a line; `before` is what earlier runs paid, in dollars."""
    hour = _per_hour(tally, took_s)
    parts = [f"{tally.done:,} of {tally.total:,} documents"]
    parts += [f"{tally.resumed:,} of them by earlier runs"] * bool(tally.resumed)
    parts += [fmt.seconds(took_s), f"cost {fmt.dollars(dollars)}"]
    parts += [f"{fmt.dollars(plus(before, dollars))} with earlier runs"] * bool(before)
    parts += [f"{fmt.count(round(hour))} documents/h"] if hour is not None else []
    say(", ".join(parts), dim=True)
    if left_out := found.left_out():
        say(f"headway summarize: {left_out}")


def encodings(guessed: Counter[str]) -> None:
    """Say which documents may have been misread."""
    if guessed:
        number = guessed.total()
        documents = "1 document is" if number == 1 else f"{number:,} documents are"
        names = ", ".join(f"{count:,} as {name}" for name, count in sorted(guessed.items()))
        say(
            f"headway summarize: {documents} no UTF-8, and read by a guess ({names}), which their lines say; "
            "save them as UTF-8 to be sure"
        )


def warned(tally: Tally, out: Path | None) -> int:
    """Say last what the user has to know; the exit code."""
    where = f" in {out}" if out is not None else ""
    again = "; started again, only those are tried" if out is not None else ""
    if tally.stopped:
        owed = tally.total - tally.done
        left = "1 document is" if owed == 1 else f"{owed:,} documents are"
        say(f"headway summarize: stopped: {tally.stopped.rstrip('.')}; {left} still owed")
        return 1
    if tally.failed:
        documents = "1 document" if tally.failed == 1 else f"{tally.failed:,} documents"
        say(f"headway summarize: {documents} failed, with the error{where}{again}")
    if tally.with_gaps:
        documents = "1 summary has" if tally.with_gaps == 1 else f"{tally.with_gaps:,} summaries have"
        say(f"headway summarize: {documents} gaps, marked{where}{again}")
    return 1 if tally.failed or tally.with_gaps else 0


def _per_hour(tally: Tally, took_s: float) -> float | None:
    """Summaries made in this run, an hour."""
    made = tally.done - tally.resumed - tally.failed
    return made * 3600.0 / took_s if made and took_s > 0 else None
