"""Many runs: what each step took, how often it mattered, what being faster would do, and what has become slower."""

from __future__ import annotations

from io import StringIO
from math import exp
from random import Random

import msgspec
import pytest

from headway.pipeline.explain.graph import graphs_of
from headway.pipeline.explain.history import figures_of
from headway.pipeline.explain.history_page import history_page
from headway.pipeline.explain.history_text import gained, heading, spark, steps_table, verdict
from headway.pipeline.explain.regressions import END_TO_END, Watch, regressions_of
from headway.types.steps import Edge, StepRow
from tests.pipeline.explain.graphs import START_S, article, row, run_row


def history(runs: int, slow_from: int | None = None, factor: float = 1.6, tokens: int = 100, seed: int = 3, **more):
    """Runs of `article` whose step "write" takes longer from one of them on."""
    rng, rows = Random(seed), []
    for i in range(runs):
        slow = slow_from is not None and i >= slow_from
        one = article(
            outline_s=exp(rng.gauss(0, 0.2)),
            facts_s=1.5 * exp(rng.gauss(0, 0.2)),
            write_s=2 * exp(rng.gauss(0, 0.2)) * (factor if slow else 1.0),
        )
        for part in one:
            moved = {"run": f"r{i}", "start_wall_s": START_S + 60 * i}
            if part.index >= 0:
                moved |= {"output_tokens": tokens * (2 if slow else 1), "calls": 1, "attempts": 1, "dollars": 0.001}
            rows.append(msgspec.structs.replace(part, **moved, **more))
    return rows


def named(rows, **watch):
    graphs = graphs_of(rows)
    found, judged = regressions_of({"article": graphs}, Watch(**watch))
    return found, judged


def test_the_figures_of_a_step():
    """Quantiles where there are values enough, the share of runs it was critical in, slack and dollars."""
    figures = figures_of(graphs_of(history(50)))
    outline, facts, write = figures.steps
    assert [step.step for step in figures.steps] == ["outline", "facts", "write"]
    assert write.critical_share == 1.0
    assert 0 < outline.critical_share < 0.5 < facts.critical_share < 1
    assert outline.critical_share + facts.critical_share == pytest.approx(1.0)
    assert write.slack_mean_s == 0
    assert outline.slack_mean_s > facts.slack_mean_s > 0
    assert write.times.count == 50
    assert write.times.p95_s is not None
    assert write.times.p99_s is None  # 50 values do not reach so far
    assert write.dollars == pytest.approx(0.001)
    assert figures.dollars == pytest.approx(0.003)
    assert sum(step.path_share for step in figures.steps) + figures.program_share == pytest.approx(1.0)


def test_faster_is_worth_what_the_graph_lets_through():
    """30 % off the last step comes through whole; off one of two side by side, less than its own share."""
    outline, facts, write = figures_of(graphs_of(history(50))).steps
    assert write.faster.mean_s == pytest.approx(0.3 * write.times.mean_s)
    assert 0 < facts.faster.mean_s < 0.3 * facts.times.mean_s
    assert outline.faster.mean_s < 0.1 * outline.times.mean_s


def test_failures_count_and_say_nothing_about_time():
    """A failed run has no end-to-end time; a failed step has an outcome and no duration, a timeout has both."""
    rows = history(3)
    rows += [
        run_row(0.1, run="bad", outcome="failed"),
        row(0, "outline", 0.0, 0.1, run="bad", outcome="failed", error="ProviderError"),
        row(1, "facts", 0.0, 0.1, run="bad", outcome="timeout"),
    ]
    figures = figures_of(graphs_of(rows))
    outline, facts, _ = figures.steps
    assert figures.outcomes == {"ok": 3, "failed": 1}
    assert (figures.times.count, outline.times.count, facts.times.count) == (3, 3, 4)
    assert outline.outcomes == {"ok": 3, "failed": 1}
    assert "1 failed" in heading(figures)


def test_an_unknown_price_makes_the_sum_unknown():
    """No dollars are made up."""
    figures = figures_of(graphs_of([*history(2), *article(run="r9", dollars=None)]))
    assert figures.dollars is None
    assert "unknown" in heading(figures)


def test_a_slower_step_is_named_and_its_tokens_explain_it():
    """Write takes 1.6x as long and writes twice as much; nothing else is named but the whole."""
    found, judged = named(history(300, slow_from=200))
    assert judged == 4
    assert [one.step for one in found] == ["write", END_TO_END]
    assert "writes 100 % more tokens, which explains it" in found[0].sentence
    assert found[0].now_p95_s > 1.2 * found[0].before_p95_s


def test_nothing_is_named_where_nothing_changed():
    """The same history without the slowdown."""
    assert named(history(300)) == ([], 4)


def test_too_short_a_history_is_not_judged():
    """60 runs against none."""
    assert named(history(60)) == ([], 0)


def test_recent_may_be_a_time():
    """The runs of the last 100 minutes instead of the last 100 runs."""
    found, _ = named(history(300, slow_from=200), recent_since_wall_s=START_S + 60 * 200)
    assert found[0].now_count == 100


def test_a_wider_fan_out_is_no_slower_step():
    """Ten pieces instead of two a run: the slowest of them is later, the step as fast as ever."""
    rng, rows = Random(4), []
    for i in range(200):
        count = 2 if i < 100 else 10
        ends = [exp(rng.gauss(0, 0.4)) for _ in range(count)]
        run = [run_row(max(ends), run=f"r{i}")]
        run += [row(j, "piece", 0.0, end_s, run=f"r{i}") for j, end_s in enumerate(ends)]
        rows += [msgspec.structs.replace(one, start_wall_s=START_S + i) for one in run]
    assert [one.step for one in named(rows)[0]] == [END_TO_END]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"wait_s": 0.0}, {"wait_s": 1.5}, "waits 1.50 s longer for rate limits"),
        ({"attempts": 1}, {"attempts": 2}, "sends 100 % more requests"),
        ({"input_tokens": 100}, {"input_tokens": 150}, "reads 50 % more tokens"),
        ({"hits": 1}, {"hits": 0}, "is answered from the cache in 0 % of its calls, not 100 %"),
    ],
)
def test_what_else_has_changed_is_said(before, now, said):
    """Waits, retries, longer prompts and lost cache hits stand beside the slowdown."""
    rows = []
    for i in range(200):
        told = before if i < 100 else now
        took_s = 1 + i % 10 / 20 if i < 100 else 3 + i % 10 / 20
        run = [run_row(took_s, run=f"r{i}"), row(0, "ask", 0.0, took_s, run=f"r{i}", calls=1, **told)]
        rows += [msgspec.structs.replace(one, start_wall_s=START_S + i) for one in run]
    assert said in named(rows)[0][0].sentence


def test_times_over_time():
    """Twelve stretches at most, of 20 runs at least; the picture of them ends with the last p95."""
    write = figures_of(graphs_of(history(300, slow_from=200))).steps[2]
    assert len(write.over_time) == 12
    assert write.over_time[-1].times.p50_s > 1.3 * write.over_time[0].times.p50_s
    assert len(spark(write.over_time).split()[0]) == 12
    assert spark(figures_of(graphs_of(history(30))).steps[2].over_time) == "-"


def test_replays_are_bounded():
    """A run of thousands of steps is replayed once, not for all of the history."""
    wide = [run_row(2.0), *(row(i, f"s{i % 40}", 0.0, 2.0) for i in range(5000))]
    rows = [*wide, *(msgspec.structs.replace(one, run="r2") for one in wide)]
    figures = figures_of(graphs_of(rows))
    assert {step.faster.runs for step in figures.steps} == {1}


def test_one_run_of_no_steps_is_a_history_too():
    """Nothing to divide by, nothing to replay."""
    figures = figures_of(graphs_of([run_row(0.0)]))
    assert (figures.runs, figures.steps, figures.program_share) == (1, (), 0.0)
    assert "1 run" in heading(figures)


def test_tables_fit_80_columns():
    """Long names are cut, and the last column is still there."""
    from rich.console import Console

    rows = [msgspec.structs.replace(r, step=r.step * 9) if r.step else r for r in history(40)]
    console = Console(width=80, record=True, file=StringIO())
    console.print(steps_table(figures_of(graphs_of(rows)), 80))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert "faster" in lines[0]
    assert "…" in lines[3]


def test_the_page_stands_alone():
    """No script, no address; names are escaped; figures of every step are on it; small."""
    rows = [msgspec.structs.replace(r, step="<b>write") if r.step == "write" else r for r in history(300, 200)]
    figures = figures_of(graphs_of(rows))
    shown = history_page([figures], verdict(*named(rows)), "headway pipelines")
    assert "<script" not in shown
    assert "http" not in shown.replace("http-equiv", "")
    assert "<b>write" not in shown
    assert "has become slower" in shown
    assert len(shown) < 500_000


def test_what_cannot_be_judged_is_not_called_as_fast_as_ever():
    """Three words for three things: slower, no slower, and too short a history; the page leads with the same."""
    assert verdict(*named(history(300, 200)))[0].startswith("article: write has become slower")
    assert verdict(*named(history(300))) == ["No step has become slower (4 looked at)."]
    [unknown] = verdict(*named(history(60)))
    assert unknown.startswith("No step could be judged")
    assert unknown in history_page([figures_of(graphs_of(history(60)))], [unknown])


def test_a_gain_below_half_a_millisecond_is_none():
    """No figure where nothing would come of it."""
    quick = [run_row(2.0), row(0, "a", 0.0, 1e-4), row(1, "b", 1e-4, 2.0, Edge(0, "value", 1e-4))]
    assert [gained(step) for step in figures_of(graphs_of(quick)).steps] == ["no gain", "-600 ms"]


def test_rows_of_a_log_are_what_histories_are_made_of():
    """Encoded and decoded, as the call log keeps them, they say the same."""
    rows = history(25)
    read = [msgspec.json.decode(msgspec.json.encode(one), type=StepRow) for one in rows]
    assert figures_of(graphs_of(read)).to_dict() == figures_of(graphs_of(rows)).to_dict()
