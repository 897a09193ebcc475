"""`headway run --engine ray`: the output of one process, from many.

The driver and the workers are tested without Ray, which takes half a minute to start: workers run here, one after the
other, with what they are told pickled on the way. With Ray itself there is one test under the marker `soak`; it is
skipped where Ray is not installed (``pip install 'headway[ray]'``).
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from headway.errors import ConfigError
from headway.jobs.ray_engine import RaySession
from headway.jobs.ray_worker import Report, ShardActor
from headway.jobs.runner import JobSettings, journal_path
from headway.jobs.session import Session, SessionSettings
from headway.jobs.shards import shards_path
from headway.policy.lanes import LaneSettings
from headway.prompts import Task
from headway.prompts.output import Json
from headway.sim import SimSettings
from headway.sim.server import serving
from tests.redis_server import redis_server, redis_url

__all__ = ["redis_server", "redis_url"]

KEY = "sk-right-0123"
ROWS = 60
PROGRAM = [sys.executable, "-c", "from headway.cli import main; main()", "run"]
TIMED = ("latency_s", "wait_s", "cache", "saved_dollars", "dollars", "attempts")
"""What a record says of when and how its answer came, and not of what it is."""


@pytest.fixture(scope="module")
def provider():
    """A provider that knows one key and answers at once."""
    with serving(SimSettings(latency_scale=0, rpm=None, tpm=None, quality=None, seed=1, api_keys=(KEY,))) as url:
        yield url


@pytest.fixture
def folder(tmp_path, monkeypatch, provider, redis_url):
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    for name, value in {"OPENAI_API_KEY": KEY, "HEADWAY_BASE_URL": provider, "HEADWAY_REDIS_URL": redis_url}.items():
        monkeypatch.setenv(name, value)
    own = set(os.environ)
    ledger(provider, "DELETE")
    lines = [json.dumps({"text": f"Wo ist mein Paket {n % 50}?", "n": n}) for n in range(ROWS)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines[:30], "broken", *lines[30:], '{"other": 1}']))
    yield tmp_path
    for name in set(os.environ) - own - set(before):
        del os.environ[name]  # what a worker was told


def ledger(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(f"{url[:-3]}/sim/ledger", method=method)) as reply:
        return json.loads(reply.read() or b"{}")


class Here:
    """Workers in this process, in turn."""

    cpus = 2

    def __init__(self, *, interrupt_after: int = 1_000) -> None:
        self.interrupt_after = interrupt_after
        self.groups: list[list[int]] = []
        self.plan = None

    def reports(self, plan, groups, workers):
        self.groups, self.plan = groups, plan
        actors = [ShardActor(pickle.loads(pickle.dumps(plan))) for _ in range(workers)]
        try:
            for at, group in enumerate(groups):
                if at >= self.interrupt_after:
                    raise KeyboardInterrupt
                (report,) = actors[at % workers]({"shards": [group]})["report"]
                yield msgspec.json.decode(report, type=Report)
        finally:
            for actor in actors:
                actor.close()


def settings_of(out, *, engine=None, job=None, **more):
    task = Task(model="gpt-5.4-mini", prompt="{text}", output=Json(schema={"type": "string", "enum": ["a", "b"]}))
    job = JobSettings(**{"input": "in.jsonl", "task": task, "out": Path(out)} | (job or {}))
    return SessionSettings(job=job, engine=engine or {}, **{"quiet": True} | more)


def drive(out, here=None, *, workers=2, **more):
    session = RaySession(settings_of(out, **more), workers=workers, connect=lambda: nullcontext(here or Here()))
    session.open()
    return session.drive()


def in_one_process(out):
    import asyncio

    session = Session(settings_of(out))
    session.open()
    return asyncio.run(session.run())


def records(path):
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


def test_the_output_of_one_process(folder):
    """Equal rows, broken ones, and ones that lack the column included; in the same order, with the same fields."""
    assert in_one_process("one.jsonl") == 1
    assert drive("many.jsonl") == 1
    assert records("many.jsonl") == records("one.jsonl")
    assert len(records("many.jsonl")) == ROWS + 2


def test_keys_of_rows_are_those_of_one_process(folder):
    """Which of its equals a row is, too: the journals hold the same keys, each once."""
    in_one_process("one.jsonl")
    drive("many.jsonl")

    def keys(paths):
        lines = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
        return sorted(line["key"] for line in lines if "key" in line)

    assert keys(shards_path(Path("many.jsonl")).glob("*.journal")) == keys([journal_path(Path("one.jsonl"))])


@pytest.mark.parametrize("name", ["many.csv", "many.parquet"])
def test_every_kind_of_output(folder, name):
    """The writer is the same, and reads many journals as one."""
    pytest.importorskip("pyarrow")
    assert drive(name) == 1
    if name.endswith("csv"):
        assert len((folder / name).read_text().splitlines()) == ROWS + 3
    else:
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(folder / name).num_rows == ROWS + 2


def test_interrupted_and_gone_on_with(folder, provider, monkeypatch, capsys):
    """Ctrl-C keeps what is finished; the same command, with more workers, asks for the rest and nothing else."""
    with pytest.raises(KeyboardInterrupt):
        drive("many.jsonl", Here(interrupt_after=3))
    assert not (folder / "many.jsonl").exists()
    paid = ledger(provider)["totals"]["attempts"]
    assert 0 < paid < 50
    here = Here()
    assert drive("many.jsonl", here, workers=3) == 1
    assert len(here.groups) == 8, "as many shards as the first run made"
    assert ledger(provider)["totals"]["attempts"] == 50
    assert len(records("many.jsonl")) == ROWS + 2
    assert drive("many.jsonl", json=True) == 1
    assert ledger(provider)["totals"]["attempts"] == 50
    assert json.loads(capsys.readouterr().out)["resumed"] == ROWS + 2


def test_a_wrong_key_stops_all(folder, provider, monkeypatch, capsys):
    """The first shard that finds out ends the job: the others are not tried, and all rows stay owed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-4567")
    assert drive("many.jsonl") == 1
    said = capsys.readouterr().err
    assert said.startswith("headway run: stopped: ")
    assert "many.jsonl.shards" in said
    assert said.count("\n") == 1
    assert ledger(provider)["totals"]["attempts"] < 20
    assert not (folder / "many.jsonl").exists()


def test_keys_stay_out_of_files(folder):
    """They go to the workers with the plan, which does not show them, and are written nowhere."""
    here = Here()
    drive("many.jsonl", here)
    assert here.plan.environ.reveal().count(KEY) == 1
    assert KEY not in repr(here.plan)
    assert KEY not in b"".join(path.read_bytes() for path in shards_path(Path("many.jsonl")).iterdir()).decode()


def test_a_budget_is_shared_out(folder, capsys, monkeypatch, redis_url):
    """By rows: together the shards never spend more, and each stops by itself."""
    job = {"task": Task(model="gpt-5.4-mini", prompt="{text}", labels=["a", "b"])}
    drive("whole.jsonl", job=job, json=True)
    dollars = json.loads(capsys.readouterr().out)["cost"]["total"]
    monkeypatch.setenv("HEADWAY_REDIS_URL", f"{redis_url}?db=1")  # whose cache is empty
    assert drive("part.jsonl", engine={"budget_usd": 0.7 * dollars}, job=job, json=True) == 1
    told = capsys.readouterr()
    assert "stopped: " in told.err
    summary = json.loads(told.out)
    assert 0 < summary["ok"] < ROWS
    assert 0 < summary["cost"]["total"] <= 0.7 * dollars


def test_where_batches_may_take_a_day_none_waits_for_another(folder):
    """Shards in a row would each take up to a day: with the batch lane, a worker runs all of its shards at once."""
    here = Here(interrupt_after=0)
    with pytest.raises(KeyboardInterrupt):
        drive("many.jsonl", here, job={"lanes": LaneSettings(lane="batch")})
    assert [len(group) for group in here.groups] == [4, 4]


def test_shards_of_a_group_run_at_once(folder):
    """And the output is the same."""
    assert drive("many.jsonl", job={"lanes": LaneSettings(lane="auto")}) == 1
    in_one_process("one.jsonl")
    assert records("many.jsonl") == records("one.jsonl")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": {"out": None}}, "--out"),
        ({"reuse": False}, "--no-cache"),
        ({"environ": {"HEADWAY_REDIS_URL": ""}}, "redis_url"),
        ({"environ": {"HEADWAY_REDIS_URL": "redis://:secret@127.0.0.1:9/0"}}, "127.0.0.1:9"),
    ],
)
def test_what_is_refused_before_anything_starts(folder, monkeypatch, change, words):
    """One sentence that names the option. Without a Redis every worker would take the whole limit for itself."""
    for name, value in change.pop("environ", {}).items():
        monkeypatch.delenv(name) if not value else monkeypatch.setenv(name, value)
    session = RaySession(settings_of("many.jsonl", **change), connect=lambda: pytest.fail("it was started"))
    session.open()
    with pytest.raises(ConfigError) as raised:
        session.drive()
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_output_of_another_job_is_not_overwritten(folder):
    """As with one process."""
    (folder / "many.jsonl").write_text("precious")
    with pytest.raises(ConfigError, match="--fresh"):
        drive("many.jsonl")
    assert (folder / "many.jsonl").read_text() == "precious"


def test_one_process_does_not_go_on_with_shards(folder):
    """It would pay for all that they have finished."""
    drive("many.jsonl")
    with pytest.raises(ConfigError, match="--engine ray"):
        in_one_process("many.jsonl")


def test_workers_without_ray(folder):
    """The option would be ignored."""
    done = subprocess.run([*PROGRAM, "in.jsonl", "--prompt", "{text}", "--workers", "2"], capture_output=True)
    assert done.returncode == 2
    assert b"--engine ray" in done.stderr


# -- Ray itself --------------------------------------------------------------------------------------------------------


def children_of(name):
    """Processes whose command begins like that."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(name):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.soak
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (pip install 'headway[ray]')")
def test_a_ray_cluster_whose_worker_is_killed(folder, redis_url):
    """The same output; rows in flight are paid twice at most; the key is in none of Ray's logs."""
    with serving(SimSettings(latency_scale=1, rpm=None, tpm=None, quality=None, seed=1, api_keys=(KEY,))) as url:
        environ = os.environ | {"HEADWAY_BASE_URL": url, "RAY_TMPDIR": "/tmp/hwr"}
        program = [*PROGRAM, "in.jsonl", "--prompt", "{text}", "--labels", "a,b", "--model", "gpt-5.4-mini"]
        Path("/tmp/hwr").mkdir(exist_ok=True)
        more = ["--out", "many.jsonl", "--engine", "ray", "--workers", "2", "--concurrency", "2", "--quiet"]
        job = subprocess.Popen([*program, *more], env=environ, stderr=subprocess.PIPE)
        until_s = time.monotonic() + 120
        while ledger(url)["totals"]["attempts"] < 10 and time.monotonic() < until_s and job.poll() is None:
            time.sleep(0.1)
        workers = children_of(b"ray::MapWorker")
        os.kill(workers[0], signal.SIGKILL)
        _, err = job.communicate(timeout=240)
        assert job.returncode == 1, err.decode()
        attempts = ledger(url)["totals"]["attempts"]
        subprocess.run([*program, "--out", "one.jsonl", "--quiet"], env=environ, stderr=subprocess.DEVNULL)
    assert records("many.jsonl") == records("one.jsonl")
    assert 50 <= attempts <= 52
    logs = [path for path in Path("/tmp/hwr").rglob("*") if path.is_file() and not path.is_symlink()]
    assert logs
    assert [path for path in logs if KEY.encode() in path.read_bytes()] == []
