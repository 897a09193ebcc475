"""examples/stream_fastapi.py and stream_flask.py, started for real, between a browser's part and the simulator."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from headway.sim import SimSettings, serving

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@contextmanager
def started(example: str, simulator: str, home: str):
    """The example as a process of its own; its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"OPENAI_BASE_URL": simulator, "OPENAI_API_KEY": "sim", "PORT": str(port), "HEADWAY_HOME": home}
    child = subprocess.Popen(
        [sys.executable, str(EXAMPLES / example)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                with urllib.request.urlopen(url) as page:
                    assert b"EventSource" in page.read()
                break
            except OSError:
                assert child.poll() is None, "the example ended"
                time.sleep(0.05)
        yield url
    finally:
        child.terminate()
        child.wait(20)


def rows(simulator: str) -> list[dict]:
    with urllib.request.urlopen(simulator[:-3] + "/sim/ledger") as answer:
        return json.loads(answer.read())["rows"]


def pieces(lines) -> list[str]:
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


@pytest.fixture(scope="module", params=["stream_fastapi.py", "stream_flask.py"])
def served(request, tmp_path_factory):
    """A simulator's base URL, and the address of the example that asks it."""
    with serving(SimSettings(latency_scale=0.2, body_bytes_max=2_000)) as simulator:
        home = str(tmp_path_factory.mktemp("state"))
        with started(request.param, simulator, home) as url, httpx2.Client(timeout=30, base_url=url) as browser:
            yield simulator, browser


def test_an_answer_comes_whole_to_the_browser(served):
    """The pieces amount to the answer, each an event of its own, and its end is told."""
    simulator, browser = served
    said = browser.get("/stream", params={"prompt": "Write 30 words about rain."})
    assert said.headers["content-type"].startswith("text/event-stream")
    *events, last = said.text.split("\n\n")[:-1]
    assert last == "event: end\ndata:"
    assert len(events) > 10
    assert 20 <= len("".join(pieces(events)).split()) <= 45
    assert rows(simulator)[-1]["outcome"] == "ok"


def test_a_failure_is_told_to_the_browser(served):
    """The stream has begun, so that it cannot be a status any more: it is an event."""
    _, browser = served
    said = browser.get("/stream", params={"prompt": "x" * 3_000})
    assert said.status_code == 200
    assert said.text.startswith("event: failed\ndata: ")
    assert "too large" in said.text.lower()


def test_chunks_arrive_one_by_one_and_leaving_ends_the_providers_stream(served):
    """Pieces are there many seconds before the answer's end; the provider books the rest as aborted."""
    simulator, browser = served
    before = len(rows(simulator))
    with browser.stream("GET", "/stream", params={"prompt": "Write 4000 words about rain."}) as answer:
        lines = answer.iter_lines()
        got: list[str] = []
        while len(got) < 3:
            got += pieces([next(lines)])
        assert len(rows(simulator)) == before  # it is still being written
    for _ in range(200):
        if len(ended := rows(simulator)) > before:
            break
        time.sleep(0.05)
    assert [row["aborted"] for row in ended[before:]] == [True]
