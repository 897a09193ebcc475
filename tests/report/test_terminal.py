"""What the terminal shows."""

import io

import pytest
from rich.console import Console

from headway.report.comparison import verdict
from headway.report.progress import Progress
from headway.report.summary import SummaryBuilder
from headway.report.terminal import comparison_table, print_summary
from headway.types import Usage
from tests.report.results import Flat, result


def summary(n=20, wall_s=10.0, **fields):
    """Of `n` rows alike, 9 of 10 right."""
    builder = SummaryBuilder(model="m", expected_column="e", rates=Flat())
    for i in range(n):
        builder.add(result(i, **{"row": {"e": "billing" if i % 10 else "other"}, **fields}))
    return builder.build(wall_s=wall_s, throttled=1, allowed_rpm=500)


def shown(draw, encoding="utf-8"):
    """What a pipe of 80 columns gets."""
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=80)
    draw(console)
    console.file.flush()
    return raw.getvalue().decode(encoding)


def test_table_has_what_the_homework_asks_for_in_80_columns():
    """Runtime, latencies, output length, tokens, cost, categories, hit rate, accuracy, limits: plain when piped."""
    text = shown(lambda console: print_summary(summary(), console, title="tickets.csv"))
    for part in (
        "tickets.csv", "20 of 20 answered", "10.0 s", "2 requests/s", "p50", "p95", "p99", "5 tokens", "7 characters",
        "2,000 in, 100 out", "$2,400", "$120,000 per 1,000 rows", "billing", "Cache hit rate", "90 %", "18 of 20", "70-97 %",
        "1 x 429", "24 % of the allowed 500/min",
    ):  # fmt: skip
        assert part in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_hostile_answers_and_errors_are_shown_as_text():
    """Markup and escape sequences in what a model or provider wrote do nothing."""
    bad = "[bold red]x[/] \x1b[2J"
    text = shown(
        lambda console: [
            print_summary(summary(value=bad), console),
            print_summary(summary(outcome="server_error", error=bad), console),
        ]
    )
    assert text.count("[bold red]x[/]") == 2
    assert "\x1b" not in text


def test_a_terminal_without_unicode_gets_its_bars():
    """An ASCII pipe is no crash."""
    assert "####" in shown(lambda console: print_summary(summary(), console), encoding="ascii")


def test_comparison_tells_ratios_to_the_baseline():
    """Faster, cheaper, and no ratio in the baseline's own column."""
    runs = {"slow": summary(wall_s=24.6), "fast": summary(wall_s=2.0, usage=Usage(input_tokens=20, output_tokens=1))}
    text = shown(lambda console: console.print(comparison_table(runs, "slow")))
    assert "12.3x faster" in text
    assert "-80 % cost" in text
    assert "slower" not in text
    with pytest.raises(KeyError):
        comparison_table(runs, "none")


def test_verdict_names_the_cheaper_prompt_whichever_comes_first():
    """Cost decides; accuracy is told with its interval, and no difference is claimed where intervals overlap."""
    dear, cheap = summary(), summary(usage=Usage(input_tokens=20, output_tokens=1))
    for told in (verdict("long", dear, "short", cheap), verdict("short", cheap, "long", dear)):
        assert told.startswith(
            "The short prompt is more cost-efficient: $24,000 per 1,000 rows against $120,000 (-80 %)"
        )
        assert "400 input tokens instead of 2,000" in told
        assert "cannot be told apart" in told
    wrong = summary(usage=Usage(input_tokens=20, output_tokens=1), value="shipping")
    assert "cheaper, but less accurate" in verdict("long", dear, "short", wrong)
    assert "unknown" in verdict("long", dear, "short", summary(dollars=None))
    assert "cost the same" in verdict("long", dear, "short", summary())


class Clock:
    """Stands still until told."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Terminal(io.StringIO):
    """A tty."""

    def isatty(self):
        return True


def test_progress_line_says_how_far_how_fast_and_what_it_cost():
    """Done, share, rate, time left, reuse, 429s, dollars; an unknown cost stays unknown."""
    clock, stream = Clock(), io.StringIO()
    live = {"throttled": 2, "in_flight": 3}
    progress = Progress(10, stream=stream, snapshot=lambda: live, clock=clock)
    clock.now_s += 2
    for i in range(3):
        progress.add(result(i, dollars=0.5))
    progress.add(result(3, dollars=0.0, cache="memory"))
    line = progress.line()
    for part in ("4/10 (40 %)", "2/s", "3.00 s left", "1 reused", "3 in flight", "2 x 429", "$1.50"):
        assert part in line
    progress.add(result(4, dollars=None))
    assert "cost unknown" in progress.line()


def test_a_pipe_gets_a_plain_line_every_ten_seconds():
    """No control characters, and no flood."""
    clock, stream = Clock(), io.StringIO()
    with Progress(100, stream=stream, clock=clock) as progress:
        for i in range(100):
            clock.now_s += 0.25
            progress.add(result(i))
    assert len(stream.getvalue().splitlines()) == 2
    assert "\r" not in stream.getvalue()


def test_a_terminal_is_redrawn_at_most_ten_times_a_second_and_left_clean(monkeypatch):
    """One line, never wider than the terminal, gone at the end."""
    monkeypatch.setenv("COLUMNS", "20")
    clock, stream = Clock(), Terminal()
    with Progress(1000, stream=stream, clock=clock, label="a long label in front") as progress:
        for i in range(1000):
            clock.now_s += 0.001
            progress.add(result(i))
    drawn = stream.getvalue().split("\r")
    assert 8 <= len(drawn) <= 12
    assert all(len(line.replace("\x1b[K", "")) < 20 for line in drawn)
    assert stream.getvalue().endswith("\r\x1b[K")


def test_quiet_is_quiet():
    """Nothing at all."""
    clock, stream = Clock(), Terminal()
    with Progress(10, stream=stream, clock=clock, quiet=True) as progress:
        clock.now_s += 100
        progress.add(result())
    assert stream.getvalue() == ""
