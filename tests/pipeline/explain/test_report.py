"""One run as text, page, data and trace: true to the rows, within its width, whatever the run was like."""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.pipeline.explain import RunReport
from headway.types.steps import Edge, StepRow
from tests.pipeline.explain.graphs import START_S, article, row, run_row, runs

PAID = {"input_tokens": 400, "output_tokens": 1200, "dollars": 0.00123, "calls": 1, "attempts": 1}


def fan_out(pieces: int = 40) -> list[StepRow]:
    """A split, many equal pieces eight at a time, and a merge."""
    rows = [row(0, "split", 0.0, 1.0)]
    for i in range(pieces):
        start_s = 1.0 + i // 8
        rows.append(row(i + 1, "piece", 1.0, start_s + 1, Edge(0, "value", 1.0), started_s=start_s, called_s=1.0))
    last_s = rows[-1].end_s
    edges = [Edge(i, "value", rows[i].end_s) for i in range(1, pieces + 1)]
    rows.append(row(pieces + 1, "merge", last_s, last_s + 2, *edges))
    return [run_row(last_s + 2), *rows]


def test_the_waterfall_of_three_steps():
    """Every column, bars on one axis, the critical path marked, and the sentence on top."""
    assert RunReport(article(**PAID)).text(80) == WATERFALL


WATERFALL = """\
article took 3.50 s end to end; one after the other its steps would have taken
4.50 s, 1.3x as long. Critical path: facts -> write. Cost: $0.00369.

  outline  ██████████████████                                             1.00 s
* facts    ███████████████████████████                                    1.50 s
* write                               ▒▒▒▒▒▒▒▒███████████████████████████ 2.00 s
           0 s                                                     3.50 s
* critical path  ░ waits  ▒ until the first chunk  █ the rest

  step    ready wait start first  end    tokens  dollars t/a outcome
  outline  0.00 0.00  0.00     - 1.00  400>1200 $0.00123 1/1 ok
* facts    0.00 0.00  0.00     - 1.50  400>1200 $0.00123 1/1 ok
* write    1.50 0.00  1.50  2.00 3.50  400>1200 $0.00123 1/1 ok
  sum                                 1200>3600 $0.00369 3/3

On the critical path: until first chunks 500 ms, work 3.00 s.
Times in seconds after the start. tokens: in>out. t/a: tries of the step / of
its calls."""


@settings(max_examples=50, deadline=None)
@given(runs(steps_max=20, limited=True), st.integers(60, 160))
def test_no_line_is_wider_than_the_terminal(rows, width):
    """Whatever the run and the width; ASCII where it is asked for."""
    report = RunReport(rows)
    assert max(map(len, report.text(width).splitlines())) <= width
    assert report.text(width, ascii_only=True).isascii()


def test_outcomes_are_told_whole_where_there_is_room():
    """A hit by a step that ran early, at 80 columns; cut only where names would go, and with a mark."""
    rows = article(**PAID | {"hits": 1, "speculative": True})
    assert len(re.findall(r"1/1 ok, 1 hit, early$", RunReport(rows).text(80), re.MULTILINE)) == 3
    assert "ok, 1 hit, early" in RunReport(rows).text(60)
    mixed = fan_out(40)
    mixed[5:10] = [msgspec.structs.replace(one, outcome="default") for one in mixed[5:10]]
    assert "35 ok, 5 default" in RunReport(mixed).text(80)


def test_a_fan_out_is_one_line():
    """Forty equal steps: their number, how many ran at once, p50 and the longest; tokens and tries are summed."""
    text = RunReport(fan_out()).text(80)
    assert sum(line.count("piece") for line in text.splitlines()) == 3  # the sentence, the bar, the table
    assert re.search(r"\* piece x40 +[▁-█]█{20,} +p50 1.00 s, max 1.00 s", text)
    assert re.search(r"\* piece x40 +1.00 4.00 +1.00 +- +6.00 +- +- 40/0 all ok", text)


def test_what_was_waited_for_is_on_the_path():
    """The last piece waited 4 s for its limit: that is the path's, not the pieces' work."""
    text = RunReport(fan_out()).text(80)
    assert "On the critical path: waiting to start 4.00 s, work 4.00 s." in text


def test_a_run_that_failed_says_where():
    """The outcome, the step and the error's class, and no speed-up to be proud of."""
    rows = [
        run_row(1.0, outcome="failed", error="ProviderError"),
        row(0, "facts", 0.0, 1.0, outcome="failed", error="ProviderError", tries=3, attempts=5),
        row(1, "outline", 0.0, 1.0, outcome="cancelled"),
    ]
    report = RunReport(rows)
    assert report.sentence.startswith("article ended after 1.00 s (failed, step facts, ProviderError).")
    assert re.search(r"\* facts .* 3/5 failed", report.text(80))


def test_steps_that_never_began_have_no_bar():
    """A step that was left out for want of time or money says so where its bar would be."""
    left_out = StepRow(
        pipeline="article",
        run="r1",
        step="pictures",
        index=3,
        start_wall_s=START_S,
        end_s=1.0,
        outcome="skipped",
        tries=0,
    )
    lines = RunReport([*article(), left_out]).text(80).splitlines()
    assert re.fullmatch(r"  pictures +skipped", next(line for line in lines if "pictures" in line))
    assert re.search(r"  pictures +- +- +- +- +1.00 +- +- 0/0 skipped", "\n".join(lines))


def test_a_run_under_way_can_be_looked_at():
    """Steps that run, and one that waits, while the run has no end yet."""
    rows = [
        StepRow(pipeline="article", run="r1", step="", index=-1, start_wall_s=START_S),
        row(0, "outline", 0.0, 1.0),
        StepRow(pipeline="article", run="r1", step="write", index=1, start_wall_s=START_S, ready_s=1.0, started_s=1.0),
    ]
    report = RunReport(rows)
    assert report.sentence.startswith("article has run for 1.00 s")
    assert re.search(r"write .* running", report.text(80))
    assert report.data()["outcome"] == "running"


def test_unknown_dollars_are_not_zero():
    """One step of unknown price makes the sum unknown, in words and as null."""
    rows = article(**PAID)
    rows[1] = msgspec.structs.replace(rows[1], dollars=None)
    report = RunReport(rows)
    assert "Cost: unknown" in report.sentence
    assert report.data()["dollars"] is None
    assert re.search(r"sum +1200>3600 +\? 3/3", report.text(80))


def test_names_are_fit_for_a_terminal():
    """An escape sequence in a step's name does not reach the terminal, nor HTML the page."""
    rows = article()
    rows[1] = msgspec.structs.replace(rows[1], step="\x1b[31m<b>outline")
    report = RunReport(rows)
    assert "\x1b" not in report.text(80)
    assert "<b>" not in report.html()


def test_it_is_as_wide_as_the_terminal(monkeypatch):
    """`print(report)` takes COLUMNS as the terminal's width, within reason."""
    monkeypatch.setenv("COLUMNS", "120")
    assert max(map(len, str(RunReport(article())).splitlines())) == 120
    monkeypatch.setenv("COLUMNS", "20")
    assert max(map(len, str(RunReport(article())).splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "1000")
    assert max(map(len, str(RunReport(article())).splitlines())) <= 160


def test_the_data_is_plain_and_whole():
    """JSON and back; every step has its row, its slack and its place on the path; the parts add up."""
    report = RunReport(article(**PAID))
    data = msgspec.json.decode(msgspec.json.encode(report.data()))
    assert [step["critical"] for step in data["steps"]] == [False, True, True]
    assert [step["slack_s"] for step in data["steps"]] == [0.5, 0.0, 0.0]
    path = data["critical_path"]
    parts = ("limit_s", "pacing_s", "first_chunk_s", "work_s", "after_s")
    total_s = path["before_s"] + sum(link[part] for link in path["links"] for part in parts)
    assert total_s == pytest.approx(data["end_s"])
    assert data["speedup"] == pytest.approx(4.5 / 3.5)


def test_the_data_s_fields_are_documented():
    """Every field has its row in docs/pipelines-explained.md."""
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "pipelines-explained.md").read_text("utf-8")
    data = RunReport(article()).data()
    names = {*data, *data["critical_path"], *data["critical_path"]["links"][0], *data["steps"][0]}
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_the_page_stands_alone():
    """No script and no address, every step on it, and small even for ten thousand steps."""
    small, large = RunReport(article(**PAID)).html(), RunReport(fan_out(10_000)).html()
    assert "prefers-color-scheme:dark" in small
    assert all(f">{name}<" in small for name in ("outline", "facts", "write"))
    for page in (small, large):
        assert "<script" not in page
        assert "http" not in page.replace("http-equiv", "")
        assert len(page) < 500_000


def test_ten_thousand_steps_of_different_names_are_cut():
    """What does not fit a screen or a page is counted."""
    rows = [run_row(2.0), *(row(i, f"s{i}", 0.0, 2.0) for i in range(10_000))]
    report = RunReport(rows)
    assert "(9,800 more steps are in the page and in the data)" in report.text(80)
    assert len(report.text(80).splitlines()) < 450
    assert len(report.html()) < 500_000


def test_a_long_path_is_told_short():
    """A chain of hundreds of names is told by its ends."""
    rows = [run_row(200.0)]
    rows += [row(i, f"s{i}", i, i + 1.0, *([Edge(i - 1, "value", float(i))] if i else [])) for i in range(200)]
    assert "s5 -> (188 more) -> s194" in RunReport(rows).sentence


def test_the_trace_is_what_trace_viewers_read():
    """Stretches do not overlap on a lane; each step is there, in microseconds, and arrows have both ends."""
    trace = RunReport(fan_out()).trace()
    events = msgspec.json.decode(msgspec.json.encode(trace))["traceEvents"]
    lanes: dict[int, list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            lanes.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    for stretches in lanes.values():
        stretches.sort()
        assert all(a[1] <= b[0] + 1e-3 for a, b in pairwise(stretches))
    assert sum(event["name"] == "piece" for event in events) == 40
    assert sum(event["ph"] == "s" for event in events) == sum(event["ph"] == "f" for event in events) == 80


def test_a_run_without_steps_is_no_error():
    """A sentence, and nothing to draw."""
    report = RunReport([run_row(2.0)])
    assert report.text(80) == "article took 2.00 s end to end."
    assert "No step took any time" in report.html()
    assert report.data()["steps"] == []


def test_no_rows_are_an_error():
    """There is nothing to explain."""
    with pytest.raises(ValueError, match="one run"):
        RunReport([])


def test_a_default_says_why():
    """The class of what it stands in for, alone and in a fold; at 80 columns, too."""
    rows = article(**PAID)
    rows[1] = msgspec.structs.replace(rows[1], outcome="default", error="BudgetExceeded")
    assert re.search(r"^  outline .* 1/1 default: BudgetExceeded$", RunReport(rows).text(80), re.MULTILINE)
    mixed = fan_out(40)
    mixed[5:10] = [msgspec.structs.replace(one, outcome="default", error="KeyError") for one in mixed[5:10]]
    assert "35 ok, 5 default: KeyError" in RunReport(mixed).text(100)


def test_a_wait_for_money_is_no_pacing():
    """It is the run's own bound, and not the provider's limits."""
    rows = [run_row(4.0), row(0, "ask", 0.0, 4.0, wait_s=3.0, budget_wait_s=2.0)]
    report = RunReport(rows)
    assert "On the critical path: pacing 1.00 s, waiting for the budget 2.00 s, work 1.00 s." in report.text(120)
    link = report.data()["critical_path"]["links"][0]
    assert (link["pacing_s"], link["budget_s"]) == (3.0, 2.0)


def test_a_short_report_leaves_the_figures_out():
    """The sentence, the bars, and what the critical path is made of."""
    report = RunReport(article(**PAID))
    short = report.text(80, table=False)
    assert short.splitlines()[-1] == "On the critical path: until first chunks 500 ms, work 3.00 s."
    assert "t/a" not in short
    assert short.count("outline") == 1
    assert report.text(80).startswith(short.rpartition("\n\n")[0])


def test_a_wait_to_start_is_not_blamed_on_a_limit():
    """A step without a limit of its own waits for the event loop: it waited to start, that is all that is known."""
    rows = [run_row(2.0), row(0, "ask", 0.0, 2.0, started_s=0.5)]
    text = RunReport(rows).text(80)
    assert "waiting to start 500 ms" in text
    assert "own limits" not in text


@pytest.mark.parametrize("end_s", [float("inf"), float("nan")])
def test_a_run_whose_end_is_no_time_is_shown_as_far_as_it_is_known(end_s):
    """A row with an end at infinity was an OverflowError in the text and in the page."""
    for rows in ([run_row(end_s), row(0, "a", 0.0, 2.0)], [run_row(end_s), row(0, "a", 0.0, end_s)]):
        report = RunReport(rows)
        assert "a" in report.text(80)
        assert "</html>" in report.html()
        msgspec.json.encode([report.data(), report.trace()])
