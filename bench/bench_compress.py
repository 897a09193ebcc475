"""How much `headway compress` takes out of prompts that it has never seen, and how many harmful edits get past it.

Against the simulator, in virtual time, with real comparisons. The simulator is no writer, so all of the reduction is
that of the rules; a model that writes can only add to it. `compress_prompts/` holds twenty prompts with rows, written
by somebody else than the rules were. Each row is asked in ten forms (another reference number), for forty rows can
prove nothing at any margin worth having. `compress_planted.toml` holds harmful edits and good shortenings of them,
written without sight of the guard.
"""

from __future__ import annotations

import csv
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from common import ROOT, emit, own_state
from headway import Engine
from headway.measure.rewrite.candidates import Candidate, by_rules, fixed_tokens, keep_of
from headway.measure.rewrite.choosing import choose
from headway.measure.rewrite.compressing import Compressed, compress
from headway.measure.rewrite.guard import problems
from headway.measure.rewrite.settings import TrySettings, divided
from headway.measure.rewrite.taskedit import TaskText
from headway.measure.rewrite.words import sentences
from headway.measure.stats import bootstrap
from headway.sim import SimSettings, Simulator
from headway.testing import virtual_run

sys.path.insert(0, str(ROOT))
from tests.measure.planted_edits import PROMPTS, Prompt, planted
from tests.measure.rewrite_world import rows_of, task_text

FORMS = 10
NEGATION = re.compile(
    r"\b(?:not |never |no |only |without |except |unless |at most |at least |more than |fewer than |ignore )",
    re.IGNORECASE,
)
MARGIN = 0.05
PLANTED_ROWS = 300


def seen_never() -> list[tuple[TaskText, list[dict[str, str]]]]:
    """The twenty prompts and their rows; a message instead where the folder is not there."""
    found = []
    for path in sorted((Path(__file__).parent / "compress_prompts").glob("*.toml")):
        text = TaskText.read(path)
        with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        column = text.variant().task.columns[-1]
        found.append((text, [{**row, column: f"{row[column]} (ref {n})"} for n in range(FORMS) for row in rows]))
    return found


def engines(simulator: Simulator) -> Any:
    """Engines over one simulator, without cache or log."""

    def make(variant: Any) -> Engine:
        settings = {"cache": "off", "log": "off", "log_level": "off", "api_key": "k", **variant.settings}
        return Engine(handler=simulator.handler, **settings)

    return make


def shortened(text: TaskText, rows: list[dict[str, str]]) -> Compressed:
    """One prompt, by the rules, with the simulator's usual mistakes."""

    async def main() -> Compressed:
        make = engines(Simulator(SimSettings(seed=1)))
        return await compress(text, rows, TrySettings(margin=MARGIN, usd_max=None), engines=make)

    return virtual_run(main)


def reduction() -> None:
    """The median share of the fixed text that is gone, over all prompts; what was not kept counts as nothing."""
    kept, guarded, tokens = [], [], []
    for text, rows in seen_never():
        before = fixed_tokens(text)
        ruled = by_rules(text)
        guarded.append(1 - min([before, *(one.tokens for one in ruled)]) / before)
        done = shortened(text, rows)
        kept.append(done.saved if done.after is not None else 0.0)
        tokens.append((text.path.stem, before, done.tokens_after, done.stopped, done.rows_confirm))
    if not kept:
        emit(
            "compress: median reduction",
            "reported with its interval",
            None,
            reached=None,
            skipped="no compress_prompts",
        )
        return
    rng = Random(1)
    for name, values in (("kept, confirmed on rows", kept), ("rules and guard alone", guarded)):
        interval = bootstrap(values, median, rng=rng, resamples=4000)
        assert interval is not None
        emit(
            f"compress: median reduction of the fixed text over {len(values)} prompts never seen: {name}",
            "reported with its interval (the material claims 45-60 %)",
            {"median": round(interval.estimate, 3), "low": round(interval.low, 3), "high": round(interval.high, 3)},
            reached=None, margin_points=MARGIN * 100, least=round(min(values), 3), most=round(max(values), 3),
        )  # fmt: skip
    emit("compress: prompts for which something shorter was kept", "reported", sum(one > 0 for one in kept),
         reached=None, prompts=len(kept), each=tokens)  # fmt: skip


def accepted_on_rows(prompt: Prompt, harmful: str) -> bool:
    """Whether rows alone let a harmful edit pass, with the task's own list of labels out of the way."""
    text = task_text(prompt, instruct=False).changed({"system": f"{prompt.system}\n{_list(prompt)}"})
    return holds(text, {"system": f"{harmful}\n{_list(prompt)}"}, rows_of(prompt, PLANTED_ROWS))


def holds(text: TaskText, values: dict[str, str], rows: list[dict[str, str]]) -> bool:
    """Whether rows alone would keep a rewrite."""
    candidate = Candidate(name="planted", how="by hand", values=values, tokens=1)
    parts = divided(rows, seed=1, needed=text.variant().task.columns)

    async def main() -> bool:
        make = engines(Simulator(SimSettings(seed=1)))
        how = TrySettings(margin=MARGIN, usd_max=None)
        return (await choose(text, [candidate], parts, how, engines=make)).kept is not None

    return virtual_run(main)


def _list(prompt: Prompt) -> str:
    """What makes the simulator answer with one label; it reads lists by patterns."""
    return f"Return only the label, one of: {', '.join(prompt.labels)}."


def harm() -> None:
    """Forty planted edits: stopped by the guard, else by the rows, else accepted."""
    stopped: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for prompt, edit, harmful in planted():
        known = set(problems(prompt.system, prompt.good, keep=prompt.labels))
        guarded = any(one not in known for one in problems(prompt.system, harmful, keep=prompt.labels))
        judged = bool(prompt.labels)
        on_rows = judged and accepted_on_rows(prompt, harmful)
        stopped["guard" if guarded else "accepted" if on_rows or not judged else "rows"] += 1
        if judged:
            alone["accepted" if on_rows else "stopped", edit.kind] += 1
    share = stopped["accepted"] / sum(stopped.values())
    emit("compress: planted harmful edits accepted, of 40", "<= 5 %", round(share, 3), reached=share <= 0.05,
         by_guard=stopped["guard"], by_rows=stopped["rows"], accepted=stopped["accepted"])  # fmt: skip
    without = sum(count for (word, _), count in alone.items() if word == "accepted")
    emit("compress: of the planted edits to labelled prompts, what rows alone would accept", "reported",
         without, reached=None, tried=sum(alone.values()),
         accepted={kind: count for (word, kind), count in sorted(alone.items()) if word == "accepted"})  # fmt: skip
    passed = [one.name for one in PROMPTS if not problems(one.system, one.good, keep=one.labels)]
    emit(
        "compress: good short versions that the guard lets pass", "reported", len(passed), reached=None, of=len(PROMPTS)
    )


def unbiased() -> None:
    """Forty harmful edits and twenty good shortenings by somebody who had not read the guard.

    What the guard says of the good shortening itself does not count as catching the edit in it. Such a refusal is told
    apart, for `compress` refuses that text all the same; so are the edits in a text that has nothing else against it.
    """
    edited = tomllib.loads((Path(__file__).parent / "compress_planted.toml").read_text(encoding="utf-8"))
    past: list[str] = []
    accepted: list[str] = []
    refused_anyway: list[str] = []
    alone: list[str] = []
    good: dict[str, list[str]] = {}
    kinds: Counter[str] = Counter()
    for text, rows in seen_never():
        name, keep = text.path.stem, keep_of(text.variant().task)
        key = "system" if text.value("system") else "prompt"
        whole = str(text.value(key))
        good[name] = list(problems(whole, edited[name]["good"], keep=keep))
        for edit in edited[name]["edits"]:
            harmful = whole if edit.get("original") else edited[name]["good"]
            known = problems(whole, harmful, keep=keep)
            for find, replace in edit["changes"]:
                assert find in harmful, (name, find)
                harmful = harmful.replace(find, replace)
            found = problems(whole, harmful, keep=keep)
            said = f"{name}, {edit['kind']}: {edit['what']}"
            if not known:
                alone.append(said)
            if any(one not in known for one in found):
                continue
            past.append(said)
            kinds[edit["kind"]] += 1
            if found:
                refused_anyway.append(said)
            if holds(text, {key: harmful}, rows):
                accepted.append(said)
    of = sum(len(one["edits"]) for one in edited.values())
    emit("compress: harmful edits by somebody who has not read the guard, accepted by the guard alone", "reported",
         round(len(past) / of, 3), reached=None, of=of, past=past, kinds=dict(kinds),
         refused_for_the_text_around_them=refused_anyway, nothing_else_against=_part(past, alone))  # fmt: skip
    emit("compress: harmful edits by somebody who has not read the guard, accepted by guard and rows", "<= 5 %",
         round(len(accepted) / of, 3), reached=len(accepted) <= 0.05 * of, of=of, accepted=accepted,
         not_refused_for_the_text_around_them=sum(one not in refused_anyway for one in accepted),
         nothing_else_against=_part(accepted, alone))  # fmt: skip
    emit("compress: good shortenings by somebody who has not read the guard that it lets pass", "reported",
         sum(not one for one in good.values()), reached=None, of=len(good),
         refused={name: one for name, one in good.items() if one})  # fmt: skip


def _part(some: list[str], of: list[str]) -> str:
    return f"{sum(one in of for one in some)} of {len(of)}"


def mechanical() -> None:
    """Each sentence dropped, number changed, negation taken out and label swapped, one at a time, in texts never seen.

    Many of these do no harm (what is said twice may go once), so what gets past the guard is an upper bound.
    """
    tried: Counter[str] = Counter()
    past: Counter[str] = Counter()
    for text, _ in seen_never():
        keep = keep_of(text.variant().task)
        whole = str(text.value("system") or text.value("prompt"))
        for kind, edited in edits_of(whole, keep):
            tried[kind] += 1
            past[kind] += not problems(whole, edited, keep=keep)
    share = sum(past.values()) / max(1, sum(tried.values()))
    emit("compress: mechanical edits to prompts never seen that get past the guard alone", "reported", round(share, 3),
         reached=None, tried=dict(tried), past=dict(past))  # fmt: skip


def edits_of(whole: str, keep: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Kind and text of every edit; the numbers of a numbered list are left alone."""
    for one in sentences(whole):
        if one.role in ("rule", "definition", "plain"):
            words = r"\s+".join(re.escape(word) for word in one.text.split())
            yield "rule", re.sub(words, "", whole, count=1)
    for found in re.finditer(r"(?m)(?<!\d)(?!^\s*\d{1,2}[.)]\s)\d+", whole):
        yield "number", f"{whole[: found.start()]}{int(found[0]) + 3}{whole[found.end() :]}"
    for found in NEGATION.finditer(whole):
        yield "negation", whole[: found.start()] + whole[found.end() :]
    for label in keep:
        for found in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", whole):
            other = next(one for one in keep if one != label)
            yield "label", whole[: found.start()] + other + whole[found.end() :]


def main() -> None:
    own_state()
    harm()
    unbiased()
    mechanical()
    reduction()


if __name__ == "__main__":
    main()
