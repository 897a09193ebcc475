"""Killed at any moment, a job goes on: every row is there once, and only what was in flight is paid for again."""

import json
import sys

import pytest

from headway.sim.server import serving
from headway.store.call_log import CallLog
from tests.jobs.killing import IN_FLIGHT, RUN_S_MAX, SIMULATOR, killed, ledger, start

ROWS = 400
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (81_920, resource.RLIM_INFINITY))\n"
"""No file may grow beyond that: to a program it looks as a full disk does."""


@pytest.fixture(scope="module")
def provider():
    with serving(SIMULATOR) as url:
        yield url


@pytest.mark.parametrize("lane", ["online", "batch"])
def test_killed_again_and_again(provider, tmp_path, lane):
    """Six kills of a job; `killing` runs a seed again."""
    assert killed(provider, tmp_path, lane=lane, seed=0, rows=120, kills=6)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of Unix")
def test_a_full_disk(provider, tmp_path):
    """Journal, cache and call log meet a full disk: one clear sentence, exit code 1; with room it goes on from there."""
    ledger(provider, "DELETE")
    texts = [f"My card number {row} was stolen on a full disk" for row in range(ROWS)]
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    CallLog(tmp_path / "home" / "calls.sqlite").close()  # its tables alone are larger
    assert start(provider, tmp_path, "online", before=FULL, more=()).wait(RUN_S_MAX) == 1
    said = (tmp_path / "err.txt").read_text()
    assert "Traceback" not in said
    assert "out.jsonl.journal cannot be written: File too large" in said
    journal = (tmp_path / "out.jsonl.journal").read_bytes()
    kept = journal.count(b"\n") - 1
    assert journal.endswith(b"\n")
    assert 50 < kept < ROWS
    assert start(provider, tmp_path, "online", more=()).wait(RUN_S_MAX) == 0
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["input"]["text"] for line in out] == texts
    assert not any(line["error"] for line in out)
    assert ledger(provider)["totals"]["attempts"] <= ROWS + IN_FLIGHT


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of Unix")
def test_a_full_disk_under_batches(provider, tmp_path):
    """Rows are spooled beside the output: one clear sentence, exit code 1; with room it goes on from there."""
    ledger(provider, "DELETE")
    texts = [f"My card number {row} was stolen under a batch" for row in range(ROWS)]
    (tmp_path / "in.csv").write_text("text\n" + "\n".join(texts) + "\n")
    CallLog(tmp_path / "home" / "calls.sqlite").close()
    assert start(provider, tmp_path, "batch", before=FULL, more=()).wait(RUN_S_MAX) == 1
    said = (tmp_path / "err.txt").read_text()
    assert "Traceback" not in said
    assert "rows for a batch cannot be spooled beside the output: File too large" in said
    assert start(provider, tmp_path, "batch", more=()).wait(RUN_S_MAX) == 0
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["input"]["text"] for line in out] == texts
    assert not any(line["error"] for line in out)


@pytest.mark.soak
@pytest.mark.parametrize("lane", ["online", "batch"])
def test_two_hundred_kills(provider, tmp_path, lane):
    """A hundred kills of jobs of 2,000 rows on each lane."""
    done = seed = 0
    while done < 100:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            done += killed(provider, folder, lane=lane, seed=seed, rows=2_000, kills=4)
        except AssertionError as error:
            error.add_note(f"again: python -m tests.jobs.killing {lane} {seed}")
            raise
        seed += 1
