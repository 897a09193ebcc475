"""`headway serve` as a process: one line, an orderly end, several workers, and what is said before it starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headway.cli import app
from headway.sim import SimSettings
from headway.sim.server import serving
from headway.store.call_reader import CallLogReader

CODE = "import sys; sys.argv[0] = 'headway'; from headway.cli import main; main()"


@contextmanager
def served(*options: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and its URL once it has said so."""
    child = subprocess.Popen(
        [sys.executable, "-c", CODE, "serve", "--port", "0", *options],
        env=os.environ | {"OPENAI_API_KEY": "sim"} | env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("Headway serves http://127.0.0.1:"), line
        yield child, line.split()[2].removesuffix("/v1;")
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def test_it_serves_drains_and_ends_with_zero():
    """A stream that is being read at SIGTERM is read to its end; nobody else gets in."""
    with serving(SimSettings(latency_scale=0.3)) as base, served("--base-url", base) as (child, url):
        assert get(f"{url}/healthz") == b"ok\n"
        host, port = url.removeprefix("http://").split(":")
        body = (
            b'{"model":"gpt-5.4-mini","stream":true,"messages":[{"role":"user","content":"%b"}]}'
            % b"Write 900 words about the tides."
        )
        with socket.create_connection((host, int(port)), 20) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            whole = client.recv(65536)
            assert whole.startswith(b"HTTP/1.1 200 OK")
            child.send_signal(signal.SIGTERM)
            while more := client.recv(65536):
                whole += more
        assert b"data: [DONE]" in whole
        assert whole.endswith(b"0\r\n\r\n")
        assert child.wait(20) == 0
        with pytest.raises(OSError, match="refused"):
            get(f"{url}/healthz")


@pytest.mark.parametrize("signals", [2, 1])
def test_what_is_cut_off_at_the_end_is_told_so(signals, tmp_path):
    """By a second Ctrl-C, or when the time to drain is over: the stream's last event, and the log's word."""
    drain_s = "30" if signals == 2 else "0.1"
    with (
        serving(SimSettings(latency_scale=4.0)) as base,
        served("--base-url", base, "--drain-s", drain_s, HEADWAY_HOME=str(tmp_path)) as (child, url),
    ):
        host, port = url.removeprefix("http://").split(":")
        body = (
            b'{"model":"gpt-5.4-mini","stream":true,"messages":[{"role":"user","content":"%b"}]}'
            % b"Write 900 words about the tides."
        )
        asked = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
        with (
            socket.create_connection((host, int(port)), 20) as client,
            socket.create_connection((host, int(port)), 20) as waiting,
        ):
            client.sendall(asked % (len(body), body))
            whole = client.recv(65536)
            assert whole.startswith(b"HTTP/1.1 200 OK")
            other = body.replace(b"true", b"false")
            waiting.sendall(asked % (len(other), other))
            while b"data:" not in whole:
                whole += client.recv(65536)
            for _ in range(signals):
                child.send_signal(signal.SIGINT)
                while signals == 2 and not _refuses(host, int(port)):
                    pass  # two signals at once are one
            while more := client.recv(65536):
                whole += more
            refused = b""
            while more := waiting.recv(65536):
                refused += more
        assert b'"code":"closed"' in whole.rpartition(b"data: ")[2]
        assert b"the gateway ended" in whole
        assert not whole.endswith(b"0\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert child.wait(20) == 0
    with CallLogReader(next(tmp_path.rglob("calls.sqlite"))) as log:
        assert "closed" in {call.outcome for call in log.calls()}


def _refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it came just before the listener went
        return True
    return False


@pytest.mark.parametrize(("base_url", "told"), [("http://127.0.0.1:9", True), ("http://127.0.0.1:9/v1", False)])
def test_an_address_without_a_path_is_pointed_out(base_url, told):
    """The most common slip: the provider's host alone, where its /v1 is meant."""
    done = CliRunner().invoke(app, ["serve", "--check", "--base-url", base_url])
    assert done.exit_code == 0, done.output
    assert ("without a path; most providers want http://127.0.0.1:9/v1" in done.stderr) is told


def test_several_workers_answer_on_one_port_and_a_dead_one_is_replaced():
    """All of them are there before the line is printed, and gone when it ends."""
    with served("--workers", "2", "--base-url", "http://127.0.0.1:9/v1") as (child, url):
        assert {get(f"{url}/healthz") for _ in range(8)} == {b"ok\n"}
        found = subprocess.run(
            ["ps", "--no-headers", "-o", "pid", "--ppid", str(child.pid)], capture_output=True, text=True, check=True
        )
        workers = [int(pid) for pid in found.stdout.split()]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        seen = threading.Event()
        while not seen.wait(0.05):
            found = subprocess.run(
                ["ps", "--no-headers", "-o", "pid", "--ppid", str(child.pid)],
                capture_output=True,
                text=True,
                check=True,
            )
            now = [int(pid) for pid in found.stdout.split()]
            if workers[0] not in now and len(now) == 2:
                break
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in now)


def test_curl_gets_a_stream_and_a_refusal():
    """The client that everybody has."""
    with serving(SimSettings(latency_scale=0.0)) as base, served("--base-url", base) as (_, url):

        def curl(*arguments: str) -> str:
            return subprocess.run(["curl", "-sSN", "-i", *arguments], capture_output=True, text=True, check=True).stdout

        body = '{"model":"gpt-5.4-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
        streamed = curl(f"{url}/v1/chat/completions", "-d", body, "-H", "content-type: application/json")
        assert "data: [DONE]" in streamed
        assert "HTTP/1.1 404" in curl("--path-as-is", f"{url}/v1/../v1/models")
        assert "HTTP/1.1 200" in curl(
            f"{url}/v1/files", "-F", "purpose=batch", "-F", f"file=@{__file__}", "-H", "expect: 100-continue"
        )


def test_check_explains_and_wrong_calls_are_refused(tmp_path, monkeypatch):
    """Each value with its source, no secret, and exit code 2 for what cannot be."""
    (tmp_path / "h.toml").write_text('timeout_s = 30\n[[upstream]]\nname = "b"\npreset = "groq"\n')
    monkeypatch.setenv("GROQ_API_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("HEADWAY_QUEUE_MAX", "5")
    run = CliRunner().invoke
    found = run(app, ["serve", "--check", "--cache", "--config", str(tmp_path / "h.toml")])
    assert found.exit_code == 0
    assert "secret" not in found.output
    for line in (
        "queue_max    5  (environment variable HEADWAY_QUEUE_MAX)",
        "keys         none, for this machine only",
        'cache        "disk"  (command line)',
        f"timeout_s    30.0  ({tmp_path / 'h.toml'}, line 1)",
        "upstream     openai: https://api.openai.com/v1",
        "upstream     b: https://api.groq.com/openai/v1, /chat/completions /responses, any model, with a key",
    ):
        assert line in found.output
    for wrong in (["--host", "0.0.0.0"], ["--config", "nowhere.toml"], ["--base-url", "ftp://x"]):
        assert run(app, ["serve", *wrong]).exit_code == 2
