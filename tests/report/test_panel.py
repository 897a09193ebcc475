"""The live panel: what it says, that it fits, and that it leaves the terminal as it found it."""

import io
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from headway.report.panel import BatchPanel, LanePanel, Panel, PanelCounts, PanelState
from headway.report.panel_lines import panel_lines, plain_line
from tests.report.results import result

BATCH = BatchPanel(id="batch_67", state="in_progress", rows=5000, age_s=252.0)
STATE = PanelState(
    label="tickets.csv  m", total=10_000, done=4812, resumed=7, rows_per_s=98.2, requests_per_min=5893, allowed_rpm=6000,
    lanes=(LanePanel(name="online", done=4700, out=112), LanePanel(name="batch", out=5000, waiting=76, batches=(BATCH,))),
    eta_s=53.0, deadline_left_s=21_500.0, dollars=0.412, budget_usd=20.0, hits=812, joined=31, throttled=4, retries=12,
    failures=(("invalid_output", 9), ("client_error", 3), ("server_error", 2), ("auth", 1), ("overloaded", 1)),
)  # fmt: skip


def text(state, width=79, **options):
    """The panel's lines."""
    return ["".join(piece for _, piece in line) for line in panel_lines(state, width, **options)]


def test_panel_says_all_that_the_issue_asks_for():
    """Rate against limit, lanes, batches, time against the deadline, dollars left, hits, retries, failures by kind."""
    shown = "\n".join(text(STATE))
    for part in (
        "4,812/10,000 (48 %)", "98.2 rows/s, 98 % of 6,000 RPM", "53 s left", "deadline in 5 h 58 min",
        "online 4,700 done, 112 out", "batch 0 done, 5,000 out, 76 waiting", "batch_67 in_progress", "4 min 12 s",
        "$0.412 of $20.00, $19.59 left", "812 hits, 31 joined, 7 from before", "4 x 429, 12 retries",
        "9 invalid_output, 3 client_error, 2 server_error, 2 others",
    ):  # fmt: skip
        assert part in shown


def test_a_simple_job_has_a_small_panel():
    """One lane, nothing wrong: rows, rate, calls, dollars; an unknown total and price stay unknown."""
    lines = text(PanelState(done=48, rows_per_s=9.0, in_flight=3, dollars=None))
    assert lines == ["48 rows", "rate    9 rows/s", "calls   3 in flight", "spent   cost unknown"]


def test_the_limit_that_is_nearer_is_shown():
    """Requests at half of their limit, tokens at theirs: it is tokens that bind."""
    state = PanelState(rows_per_s=50, requests_per_min=3000, allowed_rpm=6000, tokens_per_min=395e3, allowed_tpm=400e3)
    assert "99 % of 400,000 TPM" in text(state)[1]


def test_hostile_names_do_nothing():
    """Escape sequences in a file's name or a batch's state are text."""
    lane = LanePanel(name="batch", batches=(BatchPanel(id="\x1b[2J", state="\x07", rows=1, age_s=1.0),))
    state = PanelState(label="\x1b]0;x\x07", lanes=(lane, lane), failures=(("\x1b[1m", 1),))
    assert "\x1b" not in "".join(text(state)) + plain_line(state)


@given(
    st.integers(1, 200),
    st.booleans(),
    st.text(max_size=100),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.lists(st.integers(0, 10**7), max_size=5),
)
def test_no_line_is_wider_than_the_terminal(width, unicode, label, done, total, batches):
    """Whatever the state, names in wide letters included, from one column on."""
    told = tuple(BatchPanel(id=label, state=label, rows=n, age_s=float(n)) for n in batches)
    lanes = tuple(LanePanel(name="batch", done=n, out=n, batches=told) for n in batches)
    state = PanelState(label=label, done=done, total=total, lanes=lanes, failures=((label, done),), eta_s=float(done))
    assert all(cell_len(line) <= width for line in text(state, width, unicode=unicode))


class Terminal(io.StringIO):
    """A tty that remembers what it shows: lines, where the cursor is and whether it is seen; narrowing wraps lines."""

    encoding = "utf-8"

    def __init__(self, columns=80, rows=24):
        super().__init__()
        self.columns, self.rows, self.writes = columns, rows, 0
        self.lines, self.row, self.column, self.cursor = [""], 0, 0, True

    def isatty(self):
        return True

    def size(self):
        return self.columns, self.rows

    def narrow(self, columns):
        """Wrap what stands there, as terminals do; the cursor stays with its line."""
        wrapped, row = [], 0
        for i, line in enumerate(self.lines):
            if i == self.row:
                row = len(wrapped)
            wrapped += [line[at : at + columns] for at in range(0, max(1, len(line)), columns)]
        self.columns, self.lines, self.row = columns, wrapped, row

    def write(self, written):
        super().write(written)
        self.writes += 1
        for token in re.findall(r"\x1b\[\??\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
            self._take(token)

    def _take(self, token):
        if token == "\r":
            self.column = 0
        elif token == "\n":
            self.row, self.column = self.row + 1, 0
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif token.endswith("A"):
            self.row -= int(token[2:-1])
            assert self.row >= 0, "the panel went up beyond its beginning"
        elif token == "\x1b[K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif token == "\x1b[J":
            self.lines[self.row :] = [self.lines[self.row][: self.column]]
        elif token in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = token.endswith("h")
        elif not token.startswith("\x1b"):
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + token + line[self.column + len(token) :]
            self.column += len(token)
            assert self.column < self.columns, "a line that reaches the last column may wrap"


class Clock:
    """Time that is set."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


def drawn(states, terminal, clock, **options):
    """A panel that draws each of the states, a second apart."""
    coming = iter(states)
    panel = Panel(lambda: next(coming), stream=terminal, clock=clock, size=terminal.size, **options)
    for _ in states:
        clock.now_s += 1.0
        panel.refresh()
    return panel


def test_each_frame_takes_the_place_of_the_last_one():
    """More lines, fewer lines: only the last frame stands there; then nothing, and the cursor is back."""
    terminal, clock = Terminal(), Clock()
    terminal.write("$ headway run\n")
    small = PanelState(label="t", total=10, done=1)
    panel = drawn([small, STATE, small, STATE], terminal, clock)
    assert [line for line in terminal.lines if line] == ["$ headway run", *text(STATE)]
    assert not terminal.cursor
    panel.close()
    panel.close()
    assert [line for line in terminal.lines if line] == ["$ headway run"]
    assert terminal.cursor


@pytest.mark.parametrize("columns", [60, 40, 20])
def test_a_terminal_that_becomes_narrower_keeps_no_trace(columns):
    """Wrapped lines of the last frame are drawn over, too."""
    terminal, clock = Terminal(), Clock()
    terminal.write("$ headway run\n")
    states = iter([STATE, STATE])
    panel = Panel(lambda: next(states), stream=terminal, clock=clock, size=terminal.size)
    clock.now_s += 1
    panel.refresh()
    terminal.narrow(columns)
    clock.now_s += 1
    panel.refresh()
    assert [line for line in terminal.lines if line] == ["$ headway run", *text(STATE, columns - 1)]
    panel.close()
    assert [line for line in terminal.lines if line] == ["$ headway run"]


def test_a_low_terminal_is_not_scrolled():
    """Three lines of room: two of the panel."""
    terminal, clock = Terminal(rows=3), Clock()
    drawn([STATE, STATE], terminal, clock)
    assert len(terminal.lines) == 3


def test_a_panel_draws_five_times_a_second_at_most_and_asks_only_then():
    """The state is put together for drawing only; a frame is one write."""
    asked, terminal, clock = [], Terminal(), Clock()
    panel = Panel(lambda: asked.append(1) or STATE, stream=terminal, clock=clock, size=terminal.size)
    for _ in range(1000):
        clock.now_s += 0.001
        panel.refresh()
    assert 4 <= len(asked) == terminal.writes <= 5


def test_a_pipe_gets_plain_lines():
    """One every ten seconds, with the lanes, without a control character; a quiet job none; nor where lines are wished."""
    for stream, options in ((io.StringIO(), {}), (Terminal(columns=1000), {"plain": True})):
        clock = Clock()
        with Panel(lambda: STATE, stream=stream, clock=clock, **options) as panel:
            for _ in range(100):
                clock.now_s += 0.25
                panel.refresh()
        lines = stream.getvalue().splitlines()
        assert lines == [plain_line(STATE)] * 2
        assert "online 4,700 done, 112 out; batch 0 done, 5,000 out, 76 waiting" in lines[0]
        assert "\x1b" not in stream.getvalue()
    clock, stream = Clock(), Terminal()
    drawn([STATE], stream, clock, quiet=True).close()
    assert stream.getvalue() == ""


def test_color_is_left_out_where_it_is_not_wanted(monkeypatch):
    """NO_COLOR."""
    for value, colored in (("1", False), ("", True)):
        monkeypatch.setenv("NO_COLOR", value)
        terminal = Terminal()
        drawn([STATE], terminal, Clock())
        assert ("\x1b[36m" in terminal.getvalue()) is colored


def test_ctrl_c_gives_the_cursor_back():
    """On a real terminal, in a process of its own."""
    program = (
        "import signal\nfrom headway.report.panel import Panel, PanelState\nclock = iter(range(9))\n"
        "with Panel(lambda: PanelState(label='job'), clock=lambda: next(clock)) as panel:\n"
        "    panel.refresh()\n    signal.raise_signal(signal.SIGINT)\n"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, stdout=theirs) as child:
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not chunk:
                break
            seen += chunk
    os.close(ours)
    assert child.returncode != 0
    assert seen.index(b"\x1b[?25l") < seen.index(b"job") < seen.index(b"\x1b[?25h") < seen.index(b"KeyboardInterrupt")


def test_counts_become_a_state():
    """Hits, joins, retries, failures, dollars and rates; rows of an earlier run count as done and for the budget only."""
    counts = PanelCounts(0.0)
    counts.add(result(0, dollars=0.5), resumed=True)
    counts.add(result(1, dollars=0.25, attempts=3))
    counts.add(result(2, dollars=0.0, cache="sqlite"))
    counts.add(result(3, dollars=0.0, cache="joined"))
    counts.add(result(4, dollars=0.0, outcome="client_error", error="no", lane="flex"))
    live = {"attempts": 40, "allowed_rpm": 600.0, "throttled": 2, "in_flight": 5, "queued": 1}
    lanes = [SimpleNamespace(name=name, waiting=1, out=2, batches=(), trouble="") for name in ("online", "flex")]
    state = counts.state(4.0, total=9, live=live, lanes=lanes, budget_usd=2.0)
    assert (state.done, state.resumed, state.hits, state.joined, state.retries) == (5, 1, 1, 1, 2)
    assert (state.rows_per_s, state.requests_per_min, state.eta_s) == (1.0, 600.0, 4.0)
    assert (state.dollars, state.failures) == (0.75, (("client_error", 1),))
    assert [(lane.name, lane.done, lane.out) for lane in state.lanes] == [("online", 3, 2), ("flex", 1, 2)]
    assert counts.state(4.1, total=9).dollars == 0.25
    counts.add(result(5, dollars=None))
    assert counts.state(4.2, total=9).dollars is None


def test_a_rate_says_nothing_about_batches():
    """With rows in batches there is no time left to be told from the rate."""
    counts = PanelCounts(0.0)
    counts.add(result(0))
    lane = SimpleNamespace(name="batch", waiting=0, out=5, batches=(BATCH,), trouble="")
    assert counts.state(1.0, total=9, lanes=[lane]).eta_s is None
