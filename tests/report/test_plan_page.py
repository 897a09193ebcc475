"""What the terminal shows of a plan, and while the input is read for it."""

import io
import json

import msgspec
import pytest
from rich.console import Console

from headway.report.plan import print_plan
from headway.report.plan_figures import Assumed, Bar, Cached, InputTokens, Interval, LanePlan, OutputTokens, Plan
from headway.report.progress import Reading

LANES = (
    LanePlan(
        name="online", dollars=Interval(1.2, 1.8), dollars_max=2.4, eta_s=None, in_time="unknown", in_budget="perhaps",
        assumed=(Assumed(limits="openai/tier-1", eta_s=Interval(540.0, 602.0)),), note="limits unknown",
    ),
    LanePlan(
        name="batch", dollars=Interval(0.6, 0.9), dollars_max=1.2, eta_s=Interval(420.0, 21_000.0), in_time="yes",
        in_budget="yes", note="half price, 1 batch",
    ),
)  # fmt: skip
PLAN = Plan(
    input="tickets.csv", model="gpt-5.4-mini", rows=10_000, unreadable=12, finished=1_500, batched=7, repeated=300,
    cached=Cached(requests=120, looked_up=1_000, extrapolated=True), requests=8_068, prefix_tokens=1_100,
    prefix_saves=0.4, lanes=LANES, lane="auto", auto="batch", deadline_s=21_600.0, budget_usd=1.5,
    input_tokens=InputTokens(
        total=Interval(1_210_123, 1_410_456), p50=150, p95=420, p99=800, max=3_000, source="counted with the tokenizer",
        bars=(Bar(tokens_max=128, requests=1_200), Bar(tokens_max=256, requests=6_868)),
    ),
    output_tokens=OutputTokens(mean=Interval(4.0, 16.0), bound=16, source="assumed"),
    warnings=("row 7 would not fit the model's window of 128,000 tokens with the answer's bound; shorten it",),
)  # fmt: skip


def shown(plan, encoding="utf-8", width=80):
    """What a pipe of 80 columns gets."""
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=width)
    print_plan(plan, console)
    console.file.flush()
    return raw.getvalue().decode(encoding)


def test_a_plan_has_all_figures_in_80_columns():
    """Rows by kind, tokens, a histogram, every lane's dollars, time and verdicts, warnings; plain when piped."""
    text = shown(PLAN)
    for part in (
        "tickets.csv", "cannot be read", "finished before", "in batches that are out", "ask what others ask", "in the cache, ",
        "1,000 look-ups", "8,068", "requests", "1,210,000 to 1,410,000 tokens", "counted with the tokenizer",
        "4.0 to 16 tokens a row", "at most 16; assumed", "1,100 tokens", "saves up to $0.400", "to 256  6,868",
        "p50 150  p95 420  p99 800  max 3,000", "$1.20 to $1.80", "$2.40", "9 min to 10 min", "at openai/tier-1",
        "7 min to 5.8 h", "in 6 h", "for $1.50", "perhaps", "! row 7 would not fit", "Nothing was sent. Without --plan, this takes auto.",
    ):  # fmt: skip
        assert part in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_nothing_to_do_is_a_short_page():
    """All rows are finished: no lanes, no histogram."""
    text = shown(msgspec.structs.replace(PLAN, requests=0, input_tokens=InputTokens(total=Interval(0, 0)), warnings=()))
    assert "To send       0" in text
    assert "Lanes" not in text
    assert "Warnings" not in text


def test_unknown_is_said_and_never_zero():
    """A price that nobody knows, an answer that nothing bounds."""
    lane = LanePlan(name="online", dollars=None, dollars_max=None, eta_s=Interval(1.0, 1.0))
    text = shown(msgspec.structs.replace(PLAN, lanes=(lane,), deadline_s=None, budget_usd=None))
    assert text.count("unknown") >= 2
    assert "$0" not in text.replace("$0.400", "")
    free = msgspec.structs.replace(lane, dollars=Interval(1.0, 2.0))
    assert "no bound" in shown(msgspec.structs.replace(PLAN, lanes=(free,)))


def test_hostile_names_and_an_ascii_pipe():
    """Escape sequences and markup of a file's name are text; a terminal without Unicode gets its bars."""
    text = shown(msgspec.structs.replace(PLAN, input="[bold]\x1b[2J"), "ascii")
    assert "[bold]" in text
    assert "\x1b" not in text
    assert "####" in text


def test_the_object_is_plain_json():
    """Everything of the page is in it, under the names of the fields."""
    told = json.loads(msgspec.json.encode(PLAN.to_dict()))
    assert told["lanes"][1]["dollars"] == {"low": 0.6, "high": 0.9}
    assert msgspec.convert(told, Plan) == PLAN


class Stream(io.StringIO):
    """A tty, or not."""

    def __init__(self, tty):
        super().__init__()
        self.isatty = lambda: tty


@pytest.mark.parametrize(("tty", "after_s"), [(True, 1.0), (False, 10.0)])
def test_reading_is_shown_when_it_takes_long(tty, after_s):
    """Nothing at first; then how many rows were read, and on a terminal nothing of it is left."""
    now, stream = [0.0], Stream(tty)
    with Reading(stream=stream, clock=lambda: now[0]) as reading:
        now[0] = after_s - 0.1
        reading.rows(256)
        assert stream.getvalue() == ""
        now[0] = after_s
        for count in (257, 512):
            reading.rows(count)
    assert stream.getvalue() == ("\r512 rows read\x1b[K\r\x1b[K" if tty else "512 rows read\n")


def test_a_quiet_reading_shows_nothing():
    """However long it takes."""
    now, stream = [0.0], Stream(tty=True)
    with Reading(stream=stream, quiet=True, clock=lambda: now[0]) as reading:
        now[0] = 100.0
        reading.rows(256)
    assert stream.getvalue() == ""
