"""Steps of pipelines in the call log: every field comes back, older logs get the table, and keep what they have."""

from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engine import Engine
from headway.store.call_log import CallLog
from headway.store.call_reader import CallLogReader
from headway.store.step_rows import STEPS
from headway.store.writer import WriterSettings
from headway.testing import FakeProvider, virtual_run
from headway.types import Trace
from headway.types.steps import Edge, StepRow

INLINE = WriterSettings(inline=True)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def row(index: int = 0, **fields: Any) -> StepRow:
    given = {"pipeline": "article", "run": "r1", "step": f"s{index}", "index": index, "start_wall_s": 1_000.0}
    return StepRow(**given | fields)


def written(path: Path, *rows: StepRow, **options: Any) -> None:
    log = CallLog(path, writer=INLINE, **options)
    log.write_steps(rows)
    log.close()


def older(path: Path) -> None:
    """A log as it was before steps, with a call in it."""
    log = CallLog(path, writer=INLINE)
    log.write(Trace("call", "c1", 0.0, 1_000.0))
    log.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP VIEW steps")
        connection.execute("DROP TABLE steps_data")  # with its indexes


FULL = row(
    3,
    parent=2,
    edges=(Edge(0, "value", 0.5), Edge(1, "stream", 0.25)),
    called_s=0.1,
    ready_s=0.5,
    started_s=0.75,
    first_chunk_s=1.0,
    end_s=2.0,
    outcome="default",
    error="ProviderError",
    tries=2,
    wait_s=0.125,
    budget_wait_s=0.0625,
    outer="r0/whole#1",
    calls=3,
    attempts=4,
    hits=1,
    input_tokens=100,
    cached_tokens=50,
    output_tokens=20,
    dollars=None,
    saved_dollars=0.5,
    smaller=True,
    speculative=True,
    tokens_estimated=True,
)


def test_every_field_comes_back(tmp_path: Path):
    """Edges, times that did not happen, dollars that nobody knows."""
    written(tmp_path / "l", FULL, row(1))
    with CallLogReader(tmp_path / "l") as log:
        assert log.steps() == [FULL, row(1)]


def test_words_of_a_newer_version_do_not_make_the_log_unreadable(tmp_path: Path):
    """One outcome that this version does not know had every row refused; what is no row at all is passed over."""
    written(tmp_path / "l", row(0), FULL, row(4))
    with closing(sqlite3.connect(tmp_path / "l", isolation_level=None)) as connection:
        newer = """replace(replace(data, '"outcome":"default"', '"outcome":"preempted"'), '"stream"', '"page"')"""
        connection.execute(f"UPDATE steps_data SET data = {newer} WHERE row = 2")
        connection.execute("UPDATE steps_data SET data = '[1]' WHERE row = 3")
    known = msgspec.structs.replace(FULL, outcome="cancelled", edges=(Edge(0, "value", 0.5), Edge(1, "control", 0.25)))
    with CallLogReader(tmp_path / "l") as log:
        assert log.steps() == [row(0), known]


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
seconds = st.none() | st.floats(min_value=0, max_value=1e9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.builds(row, st.integers(-1, 10**6), pipeline=texts, run=texts, step=texts, end_s=seconds), max_size=20)
)
def test_whatever_they_are_called(rows):
    """Names are free text; order is kept."""
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder) / "l", *rows)
        with CallLogReader(Path(folder) / "l") as log:
            assert log.steps() == rows


def test_they_are_found_by_pipeline_run_and_time(tmp_path: Path):
    """The youngest that match, oldest first."""
    rows = [row(n, pipeline=f"p{n % 2}", run=f"r{n // 2}", start_wall_s=1_000.0 + n) for n in range(6)]
    written(tmp_path / "l", *rows)
    with CallLogReader(tmp_path / "l") as log:
        assert [each.index for each in log.steps(pipeline="p0")] == [0, 2, 4]
        assert [each.index for each in log.steps(run="r1")] == [2, 3]
        assert [each.index for each in log.steps(since_wall_s=1_003.0)] == [3, 4, 5]
        assert [each.index for each in log.steps(pipeline="p0", limit=2)] == [2, 4]
        assert log.steps(pipeline="p0", run="r0", since_wall_s=1_001.0) == []


def test_there_is_a_view_for_sql_by_hand(tmp_path: Path):
    """With the columns of `StepRow`."""
    written(tmp_path / "l", FULL)
    names = ", ".join(f'"{name}"' for name in StepRow.__struct_fields__ if name != "edges")
    ((edges, *values),) = query(tmp_path / "l", f"SELECT edges, {names} FROM steps")
    assert msgspec.json.decode(edges, type=tuple[Edge, ...]) == FULL.edges
    assert values == [getattr(FULL, name) for name in StepRow.__struct_fields__ if name != "edges"]


def test_the_oldest_go_first(tmp_path: Path):
    """Under the same bound as calls."""
    written(tmp_path / "l", *[row(n) for n in range(50)], rows_max=20)
    with CallLogReader(tmp_path / "l") as log:
        assert [each.index for each in log.steps()] == list(range(30, 50))


def test_an_older_log_is_read_as_it_is_and_gets_the_table_when_it_is_written(tmp_path: Path):
    """Nothing is set aside, and what was in it is still there."""
    path = tmp_path / "l"
    older(path)
    with CallLogReader(path) as log:
        assert log.steps() == []
        assert len(log.calls()) == 1
    written(path, row(1))
    with CallLogReader(path) as log:
        assert log.steps() == [row(1)]
        assert len(log.calls()) == 1
    assert not list(tmp_path.glob("l.*"))
    assert {name for (name,) in query(path, "SELECT name FROM sqlite_schema")} >= STEPS.keys()


def test_rows_from_before_a_field_have_its_default(tmp_path: Path):
    """A row that says nothing of who called it was called by the pipeline's function, for readers and in SQL."""
    path = tmp_path / "l"
    written(path, FULL)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE steps_data SET data = json_remove(data, '$.parent')")
    with CallLogReader(path) as log:
        assert log.steps() == [msgspec.structs.replace(FULL, parent=-1)]
    assert query(path, "SELECT parent FROM steps") == [(-1,)]


def _opens(path: Path, start: Any, number: int) -> None:
    start.wait()
    written(path, row(number))


def test_processes_may_open_an_older_log_at_once(tmp_path: Path):
    """One makes the table, all of them write."""
    context = multiprocessing.get_context("spawn")
    path, start = tmp_path / "l", context.Barrier(4)
    older(path)
    processes = [context.Process(target=_opens, args=(path, start, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with CallLogReader(path) as log:
        assert sorted(each.index for each in log.steps()) == [0, 1, 2, 3]
        assert len(log.calls()) == 1
    assert not list(tmp_path.glob("l.*"))


def test_an_engine_writes_them_beside_its_calls(tmp_path: Path):
    """Queued to the same writer; an engine without a log, or closed, takes them and forgets them."""
    path = tmp_path / "l"

    async def main():
        async with Engine(handler=FakeProvider(), log=str(path), api_key="k") as engine:
            engine.write_steps([row(0), row(-1)])
        engine.write_steps([row(1)])
        async with Engine(handler=FakeProvider(), log="off", api_key="k") as silent:
            silent.write_steps([row(0)])

    virtual_run(main)
    with CallLogReader(path) as log:
        assert [each.index for each in log.steps(run="r1")] == [0, -1]


def test_rows_alone_open_the_log_alone(tmp_path: Path):
    """A run without calls pays for no connections; calls that come later are written by the same writer."""
    path = tmp_path / "l"

    async def main():
        engine = Engine(handler=FakeProvider(), log=str(path), api_key="k")
        engine.write_steps([row(0)])
        assert engine._stack is None
        await (await engine.send("/v1/responses", {"model": "m", "input": "x"})).read()
        engine.write_steps([row(1)])
        await engine.aclose()
        unused = Engine(handler=FakeProvider(), log=str(path), api_key="k")
        unused.write_steps([row(2)])
        await unused.aclose()

    virtual_run(main)
    with CallLogReader(path) as log:
        assert [each.index for each in log.steps()] == [0, 1, 2]
        assert len(log.calls()) == 1
