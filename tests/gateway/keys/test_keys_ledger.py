"""Caps that several processes share through one file hold, whatever order things happen in, restarts and deaths included."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, suppress
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headway.gateway.keys.ledger import LOST_S, Ask, exchange
from headway.gateway.keys.records import key_file
from headway.policy.key_spend import LeasedCap

PER_DAY, PER_MONTH = 10.0, 25.0


class Process:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cap = LeasedCap(PER_DAY, PER_MONTH)
        self.open: list[float] = []
        self.asked: tuple[Ask, object, str] | None = None


class Spending(RuleBasedStateMachine):
    """Processes come, spend, exchange (their loops go on meanwhile), leave in order or die."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.connection = key_file(Path(self.folder.name) / "keys.sqlite").open()
        self.now_s, self.number = 1_000_000.0, 0
        self.day = 1
        self.processes: list[Process] = []
        self.true_dollars = 0.0

    def teardown(self) -> None:
        self.connection.close()
        self.folder.cleanup()

    def one(self, pick: int) -> Process:
        if not self.processes or (pick == 0 and len(self.processes) < 4):
            self.number += 1
            self.processes.append(Process(f"p{self.number}"))
        return self.processes[pick % len(self.processes)]

    def today(self) -> str:
        return f"2026-{1 + self.day // 28:02}-{1 + self.day % 28:02}"

    def begin(self, process: Process) -> None:
        if process.asked is None:
            cap = process.cap
            cap.on(self.today())
            ask = Ask(key="k", dollars=cap.dollars_spent, tokens=cap.tokens_spent, per_day=PER_DAY, per_month=PER_MONTH)
            ask.keep, ask.needed, ask.welcome = cap.wants()
            got = exchange(self.connection, process.name, self.today(), [ask], self.now_s)[0]
            process.asked = ask, got, self.today()

    def finish(self, process: Process) -> None:
        if process.asked is not None:
            (ask, got, day), process.asked = process.asked, None
            process.cap.on(self.today())
            process.cap.exchanged(day, got.held, (got.spent_day, got.spent_month), ask.dollars, ask.tokens)

    @rule(pick=st.integers(0, 5), dollars=st.floats(0.001, 4.0))
    def reserve(self, pick: int, dollars: float) -> None:
        process = self.one(pick)
        process.cap.on(self.today())
        fits = process.cap.reserve(dollars, 10)
        if not fits and process.asked is None:
            self.begin(process)
            self.finish(process)
            fits = process.cap.reserve(dollars, 10)
        if fits:
            process.open.append(dollars)

    @rule(pick=st.integers(0, 5), share=st.floats(0.0, 1.0))
    def settle(self, pick: int, share: float) -> None:
        process = self.one(pick)
        if process.open:
            dollars = process.open.pop()
            process.cap.settle(dollars, 10, dollars_actual=dollars * share, tokens_actual=7)
            self.true_dollars += dollars * share

    @rule(pick=st.integers(0, 5))
    def ask(self, pick: int) -> None:
        self.begin(self.one(pick))

    @rule(pick=st.integers(0, 5))
    def answer(self, pick: int) -> None:
        self.finish(self.one(pick))

    @rule(pick=st.integers(0, 5))
    def both(self, pick: int) -> None:
        self.finish(self.one(pick))
        self.begin(self.one(pick))
        self.finish(self.one(pick))

    @rule(pick=st.integers(0, 5), idle=st.booleans(), dollars=st.lists(st.floats(0.001, 0.3), max_size=3))
    def race(self, pick: int, idle: bool, dollars: list[float]) -> None:
        """Calls come while an exchange is under way."""
        process = self.one(pick)
        self.finish(process)
        process.cap.active = process.cap.active and not idle
        self.begin(process)
        for one in dollars:
            if process.cap.reserve(one, 10):
                process.open.append(one)
        self.finish(process)

    @rule(pick=st.integers(0, 5))
    def leave(self, pick: int) -> None:
        """A restart: what was spent is written down, what is left goes back."""
        process = self.one(pick)
        self.finish(process)
        for dollars in process.open:
            process.cap.settle(dollars, 10, dollars_actual=0.0, tokens_actual=0)
        process.cap.active = False
        self.begin(process)
        self.processes.remove(process)

    @rule(pick=st.integers(0, 5))
    def die(self, pick: int) -> None:
        """What was under way is on the bill, and nobody says so."""
        process = self.one(pick)
        self.true_dollars += sum(process.open)
        self.processes.remove(process)

    @precondition(lambda self: self.processes)
    @rule()
    def minute(self) -> None:
        for _ in range(4):
            self.now_s += LOST_S / 3
            for process in self.processes:
                self.finish(process)
                self.begin(process)
                self.finish(process)

    @rule()
    def midnight(self) -> None:
        self.day = min(self.day + 1, 330)

    @invariant()
    def caps_hold(self) -> None:
        """Spent, and what may still be spent, are within both caps."""
        held = self.connection.execute("SELECT coalesce(sum(dollars), 0) FROM held").fetchone()[0]
        day, month, everything = self.connection.execute(
            "SELECT coalesce(sum(CASE WHEN day = ? THEN dollars END), 0), "
            "coalesce(sum(CASE WHEN day LIKE ? THEN dollars END), 0), coalesce(sum(dollars), 0) FROM spend",
            (self.today(), self.today()[:7] + "%"),
        ).fetchone()
        assert day + held <= PER_DAY + 1e-6
        assert month + held <= PER_MONTH + 1e-6
        under_way = sum(sum(process.open) for process in self.processes)
        assert self.true_dollars + under_way <= everything + held + 1e-6, "something was spent that nobody knows of"


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.fixture
def connection(tmp_path):
    opened = key_file(tmp_path / "keys.sqlite").open()
    yield opened
    opened.close()


def test_what_a_dead_process_held_is_spent_after_a_minute(connection):
    """Not before: it may only be slow."""
    exchange(connection, "dead", "2026-11-21", [Ask(key="k", per_day=1.0, needed=0.6)], 0.0)
    ask = Ask(key="k", per_day=1.0, needed=0.5)
    early, late = (exchange(connection, "b", "2026-11-21", [ask], at_s)[0] for at_s in (LOST_S, LOST_S + 1))
    assert (early.held, early.spent_day) == (0.0, 0.0)
    assert (late.held, late.spent_day) == (0.0, pytest.approx(0.612, abs=0.02))


def test_a_minutes_worth_is_there_at_once_and_then_the_refill(connection):
    """60 a minute: 60, then one a second, whoever asks; a clock that goes back brings nothing."""

    def take(process: str, number: float, now_s: float):
        return exchange(
            connection,
            process,
            "2026-11-21",
            [Ask(key="k", limits=(60.0, inf), next=(1.0, 0.0), line=(number, 0.0))],
            now_s,
        )[0]

    assert take("a", 100.0, 0.0).taken[0] == 60.0
    refused = take("b", 100.0, 0.5)
    assert (refused.taken[0], refused.wait_s) == (0.0, pytest.approx(0.5))
    assert take("b", 100.0, 1.0).taken[0] == pytest.approx(1.0)
    assert take("a", 100.0, 0.0).wait_s == pytest.approx(1.0)
    assert take("a", 100.0, 100.0).taken[0] == pytest.approx(60.0), "no more than a minute's worth"


TURNS = st.tuples(
    st.sampled_from("abc"), st.floats(0.0, 20.0), st.floats(0.1, 1.0), st.integers(0, 40), st.integers(1, 900), st.booleans()
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(TURNS, min_size=1, max_size=40))
def test_no_more_than_a_minutes_worth_and_the_refill_is_ever_used(turns):
    """Whichever process asks, uses part of it and gives the rest back, or dies with it; one large request aside."""
    limits = (60.0, 600.0)
    with tempfile.TemporaryDirectory() as folder, closing(key_file(Path(folder) / "k").open()) as opened:
        at_s, used, largest = 0.0, [0.0, 0.0], 0.0
        for process, later_s, share, line, tokens, dies in turns:
            at_s += later_s
            ask = Ask(key="k", limits=limits, next=(1.0, float(tokens)), line=(float(line), float(line * tokens)))
            given_ = exchange(opened, process, "2026-11-21", [ask], at_s)[0]
            for nth, taken in enumerate(given_.taken):
                assert taken == 0.0 or taken >= ask.next[nth]
                used[nth] += taken * share
            largest = max(largest, float(tokens))
            if not dies:
                back = given_.taken[0] * (1 - share), given_.taken[1] * (1 - share)
                exchange(opened, process, "2026-11-21", [Ask(key="k", limits=limits, back=back)], at_s)
            for nth, limit in enumerate(limits):
                assert used[nth] <= limit + at_s * limit / 60.0 + (largest if nth else 0.0) + 1e-6
            assert (given_.wait_s > 0.0) == (given_.taken == (0.0, 0.0))


def test_what_is_not_used_comes_back(connection):
    """Both of requests and tokens."""
    limits = (60.0, 600.0)
    exchange(connection, "a", "2026-11-21", [Ask(key="k", limits=limits, next=(1.0, 100.0), line=(60.0, 600.0))], 0.0)
    exchange(connection, "a", "2026-11-21", [Ask(key="k", limits=limits, back=(59.0, 500.0))], 0.0)
    got = exchange(
        connection, "b", "2026-11-21", [Ask(key="k", limits=limits, next=(1.0, 1.0), line=(99.0, 999.0))], 0.0
    )[0]
    assert got.taken == (59.0, 500.0)


def test_more_tokens_than_a_minute_has_wait_for_a_full_bucket(connection):
    """And leave it below nothing."""
    limits = (inf, 600.0)
    first = exchange(connection, "a", "2026-11-21", [Ask(key="k", limits=limits, next=(0.0, 900.0))], 0.0)[0]
    assert first.taken == (0.0, 900.0)
    assert exchange(connection, "a", "2026-11-21", [Ask(key="k", limits=limits, next=(0.0, 300.0))], 0.0)[
        0
    ].wait_s == pytest.approx(60.0)


def test_a_failed_exchange_changes_nothing(connection):
    """All keys of it or none."""
    with suppress(sqlite3.Error):
        bad = Ask(key="k", dollars=float("nan"))  # NULL to SQLite, which may not be there
        exchange(connection, "a", "2026-11-21", [Ask(key="other", dollars=1.0), bad], 0.0)
    assert connection.execute("SELECT count(*) FROM spend").fetchone()[0] == 0
