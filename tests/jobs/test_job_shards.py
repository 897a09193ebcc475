"""Splitting a job into shards, and reading their journals as one: no row is lost, doubled or moved."""

import json
from array import array
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.errors import ConfigError, HeadwayError
from headway.jobs.journal import Header, Journal
from headway.jobs.merged import Merged, merged_offsets
from headway.jobs.record import Record
from headway.jobs.shards import (
    BEGUN_MAX,
    Shards,
    begin,
    check_begun,
    open_rows,
    rows_path,
    shard_journal,
    shard_of,
    shards_path,
)
from headway.jobs.source import open_source
from headway.prompts import Task

TASK = Task(model="m", prompt="{text}", labels=["a", "b"])


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def opened(folder, count=4, **more):
    return Shards.open(folder / "out.jsonl", count, journal=folder / "out.jsonl.journal", **more)


def split(folder, shards, lines):
    (folder / "in.jsonl").write_text("".join(line + "\n" for line in lines))
    source = open_source(str(folder / "in.jsonl"))
    try:
        return shards.split(source, TASK)
    finally:
        source.close()


def rows_in(shards, shard, columns=("text",)):
    source = open_rows(rows_path(shards.folder, shard), name="in", columns=columns, rows_total=0)
    try:
        return list(source.rows)
    finally:
        source.close()


def test_every_row_is_in_one_shard_in_the_order_of_the_input(folder):
    """Rows with problems, too; the row comes back as it was read, with all its columns."""
    lines = [json.dumps({"text": f"ä {n}", "n": [n, None, 1.5]}) for n in range(100)] + ["broken", '{"other": 1}']
    shards = opened(folder)
    parts = split(folder, shards, lines)
    read = [iter(rows_in(shards, shard)) for shard in range(4)]
    back = [next(read[place]) for place in parts.places]
    assert [row.row for row in back[:100]] == [json.loads(line) for line in lines[:100]]
    assert "not JSON" in back[100].problem
    assert back[101].row == {"other": 1}
    assert [next(rest, None) for rest in read] == [None] * 4
    assert sum(parts.rows) == 102
    assert min(parts.rows) > 10, "a hash spreads them"
    assert parts.columns == ("text", "n", "other")
    shards.close()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.data())
def test_a_rows_shard_depends_on_its_request_alone(folder, numbers, data):
    """Not on the rows around it, nor on columns that are not asked about; equal rows are together."""
    moved = data.draw(st.permutations(numbers))
    with closing(opened(folder, fresh=True)) as shards:
        before = split(folder, shards, [json.dumps({"text": str(n)}) for n in numbers]).places
        after = split(folder, shards, [json.dumps({"text": str(n), "note": n}) for n in [99, *moved]]).places
    places = dict(zip(numbers, before, strict=True))
    assert [places[n] for n in numbers] == list(before)
    assert [places[n] for n in moved] == list(after[1:])


def test_broken_rows_that_are_equal_are_together():
    """The journal numbers equals, and rows that cannot be asked about are numbered as well."""
    for row, problem in (({}, "line 3 is not JSON"), ({"other": 1}, "")):
        assert len({shard_of(TASK, dict(row), problem, 64) for _ in range(3)}) == 1


def test_shards_stay_as_many_as_they_were(folder):
    """A job that goes on with more workers finds every row where it was; --fresh makes anew."""
    opened(folder, 4).close()
    (shards_path(folder / "out.jsonl") / "shard-0000.journal").write_text("x")
    again = opened(folder, 9)
    assert again.count == 4
    again.close()
    fresh = opened(folder, 9, fresh=True)
    assert fresh.count == 9
    assert not shard_journal(fresh.folder, 0).exists()
    fresh.close()


def test_one_driver_at_a_time(folder):
    """A second one would overwrite the rows under the workers of the first."""
    first = opened(folder)
    with pytest.raises(ConfigError, match="in use by another run"):
        opened(folder)
    first.close()
    opened(folder).close()


def test_one_process_and_shards_do_not_mix_unseen(folder):
    """Either would ask again for what the other has finished: each refuses the other's beginning, and says so."""
    out, journal = folder / "out.jsonl", folder / "out.jsonl.journal"
    check_begun(out, journal)
    journal.write_text("")
    with pytest.raises(ConfigError, match="without --engine ray"):
        opened(folder)
    opened(folder, fresh=True).close()
    check_begun(out, journal)  # both have begun, and somebody knew
    journal.unlink()
    with pytest.raises(ConfigError, match="with --engine ray"):
        check_begun(out, journal)


@pytest.mark.parametrize("meta", ["", "{}", '{"headway_shards":2,"shards":4}', '{"headway_shards":1,"shards":0}'])
def test_a_damaged_folder_is_told(folder, meta):
    """Guessing how many shards there were would lose rows."""
    opened(folder).close()
    (shards_path(folder / "out.jsonl") / "meta.json").write_text(meta)
    with pytest.raises(ConfigError, match="--fresh"):
        opened(folder)


def test_a_folder_that_a_worker_does_not_see(folder):
    """The commonest mistake: --out is on the driver's own disk."""
    with pytest.raises(ConfigError, match="file system that all workers share"):
        open_rows(folder / "no" / "shard-0000.rows.jsonl", name="in", columns=(), rows_total=0)


def test_a_shard_that_kills_its_workers_is_given_up(folder):
    """Ray begins a dead worker's shard again for ever; the next run of the job may try again."""
    shards = opened(folder)
    split(folder, shards, ['{"text": "a"}'])
    for _ in range(BEGUN_MAX):
        begin(shards.folder, 0)
    with pytest.raises(HeadwayError, match="shard 0 was given up"):
        begin(shards.folder, 0)
    split(folder, shards, ['{"text": "a"}'])
    begin(shards.folder, 0)
    shards.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_journals_read_as_one(folder, rows):
    """Whatever came when: row by row in input order, and what is not done is told apart."""
    paths = [folder / f"{shard}.journal" for shard in range(4)]
    journals = [Journal.open(path, Header(), fresh=True) for path in paths]
    offsets = [array("q") for _ in paths]
    for index, (shard, done) in enumerate(rows):
        record = Record(input={"n": index})
        offsets[shard].append(journals[shard].append(f"{index}#0", record) if done else -1)
    for journal in journals:
        journal.close()
    numbers = merged_offsets([shard for shard, _ in rows], offsets)
    merged = Merged(paths)
    read = [merged.read(number).read().input["n"] if number >= 0 else None for number in numbers]
    merged.close()
    assert read == [index if done else None for index, (_, done) in enumerate(rows)]


def test_a_shard_that_was_not_run_is_not_done():
    """The job was stopped before: its rows stay owed, and the others keep their places."""
    assert list(merged_offsets([0, 1, 0, 1], [array("q", [10, 20]), array("q")])) == [20, -1, 40, -1]
