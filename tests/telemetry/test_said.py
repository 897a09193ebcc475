"""The structured log: stable names in JSON, words for humans, no flood, no secret; and what a gateway says of itself."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from headway import Engine
from headway.engine.said import LINES_PER_S_MAX, Said
from headway.gateway import refusals
from headway.gateway.refusals import Refusals
from headway.gateway.request import Refused
from headway.telemetry import Meters
from headway.testing import FakeProvider, virtual_run
from headway.types import Usage
from tests.gateway.helpers import gateway, within

from .made import BODY, TAGGED, ask, attempt, call


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


FIELDS = {
    "timestamp", "level", "event", "logger", "id", "flight", "route", "model", "upstream", "outcome", "status",
    "error_code", "latency_s", "ttft_s", "wait_s", "input_tokens", "output_tokens", "dollars", "saved_dollars", "cache",
    "attempts", "key", "run", "step", "trace_id",
}  # fmt: skip


def test_a_line_has_stable_names_and_what_every_line_has_comes_first():
    out = io.StringIO()
    trace = call(
        "server_error", upstream="openai", error_code="boom", status=500, tenant="k1", tags=TAGGED, attempts=2,
        trace_id="ab", saved_dollars=0.5, usage=Usage(input_tokens=1, output_tokens=2),
    )  # fmt: skip
    Said("info", "json", out).ended(trace, 30)
    (line,) = lines(out)
    assert set(line) == FIELDS
    assert list(line)[:4] == ["timestamp", "level", "event", "logger"]
    assert (line["event"], line["level"], line["latency_s"], line["ttft_s"]) == (
        "call server_error",
        "warning",
        0.5,
        0.25,
    )
    Said("info", "json", out).ended(attempt("throttled"), 20)
    tried = lines(out)[1]
    assert (tried["event"], tried["attempt"], tried["level"]) == ("attempt throttled", 0, "info")
    assert "attempts" not in tried


@pytest.mark.parametrize(("format_", "stream", "is_json"), [
    ("auto", io.StringIO, True), ("auto", Terminal, False), ("json", Terminal, True), ("console", io.StringIO, False),
])  # fmt: skip
def test_the_format_is_json_unless_a_human_reads_it(format_, stream, is_json):
    out = stream()
    said = Said("warning", format_, out)
    said.say("warning", "refused", requests=3)
    said.tell("reload", "the configuration was read anew")
    said.tell("ready", "it takes requests", quiet=True)
    if is_json:
        assert [line["event"] for line in lines(out)] == ["refused", "reload", "ready"]
        assert lines(out)[1]["message"] == "the configuration was read anew"
    else:
        assert "headway serve: the configuration was read anew\n" in out.getvalue()
        assert "it takes requests" not in out.getvalue()


def test_off_says_nothing_and_levels_are_kept():
    out = io.StringIO()
    for level in ("off", "warning"):
        said = Said(level, "json", out)
        said.say("info", "small")
    Said("off", "json", out).tell("end", "it has ended", level="warning")
    assert out.getvalue() == ""


def test_a_flood_of_failures_is_cut_and_what_is_left_out_is_counted(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("headway.engine.said.time.monotonic", lambda: now_s)
    out = io.StringIO()
    said = Said("warning", "json", out)
    for _ in range(LINES_PER_S_MAX + 50):
        said.ended(call("server_error"), 30)
    assert len(lines(out)) == LINES_PER_S_MAX
    now_s = 101.0
    said.ended(call("server_error"), 30)
    assert [(line["event"], line.get("lines")) for line in lines(out)[LINES_PER_S_MAX:]] == [
        ("lines left out", 50), ("call server_error", None),
    ]  # fmt: skip
    every = io.StringIO()
    debug = Said("debug", "json", every)
    for _ in range(2 * LINES_PER_S_MAX):
        debug.ended(call(), 10)
    assert len(lines(every)) == 2 * LINES_PER_S_MAX


def test_an_engine_logs_what_it_is_set_to_in_the_format_it_is_set_to(capsys):
    async def main(level: str) -> None:
        settings = {"base_url": "http://provider/v1", "log": "off", "log_level": level, "log_format": "json"}
        async with Engine(handler=FakeProvider([500, 200, 400]), attempts_max=2, **settings) as engine:
            for _ in range(2):
                await engine.send("/v1/chat/completions", BODY)

    for level, events in {
        "warning": ["call client_error"],
        "info": ["attempt server_error", "attempt client_error", "call client_error"],
        "off": [],
    }.items():
        virtual_run(main(level))
        assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events
    virtual_run(main("debug"))
    assert "call ok" in capsys.readouterr().err


def test_a_thousand_refusals_are_one_line_and_all_of_them_are_counted():
    out, meters = io.StringIO(), Meters()
    said = Said("warning", "json", out)

    async def main() -> None:
        refused = Refusals(meters, lambda: said)
        for n in range(1203):
            refused(Refused(421 if n < 1000 else 401, "secret words", "bad_host" if n < 1000 else "invalid_key"))
        await asyncio.sleep(refusals.WINDOW_S + 1)
        refused(Refused(401, "secret words", "invalid_key"))
        refused.say()
        refused.say()

    virtual_run(main())
    first, second = lines(out)
    assert (first["event"], first["requests"], first["in_s"]) == ("refused", 1203, 10.0)
    assert list(first["codes"].items()) == [("bad_host", 1000), ("invalid_key", 203)]
    assert second["requests"] == 1
    assert "secret" not in out.getvalue()
    assert meters.state()["headway_refused_total"] == {("bad_host",): [1000], ("invalid_key",): [204]}


def test_no_line_of_a_gateway_holds_a_prompt_a_key_or_a_path_that_somebody_made_up(capsys, tmp_path):
    async def main() -> None:
        async with gateway(FakeProvider([400]), log_level="debug") as url, httpx.AsyncClient() as client:
            await ask(
                client, url, messages=[{"role": "user", "content": "my secret"}], headers={"x-api-key": "sk-1234567"}
            )
            await client.get(f"{url}/v1/%2e%2e/sk-1234567")

    within(main())
    written = capsys.readouterr().err
    assert "call client_error" in written
    assert '"event": "refused"' in written
    for secret in ("my secret", "sk-1234567", "sk-own"):
        assert secret not in written


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_served_gateway_says_ready_reload_and_end_in_json_and_stdout_is_one_line(workers, tmp_path):
    config = tmp_path / "h.toml"
    config.write_text("timeout_s = 30\n")
    code = "import sys; sys.argv[0] = 'headway'; from headway.cli import main; main()"
    options = ["--port", "0", "--workers", workers, "--base-url", "http://127.0.0.1:9/v1", "--config", str(config)]
    child = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *options],
        env=os.environ | {"OPENAI_API_KEY": "sim"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        try:
            assert child.stdout is not None
            assert child.stderr is not None
            url = child.stdout.readline().split()[2].removesuffix("/v1;")
            assert httpx.get(f"{url}/healthz").status_code == 200
            config.write_text("timeout_s = 31\n")
            child.send_signal(signal.SIGHUP)
            written = []
            while not written or '"event": "reload"' not in written[-1]:
                written.append(child.stderr.readline())
                assert written[-1]
            child.send_signal(signal.SIGTERM)
            rest, told = child.communicate(timeout=20)
        finally:
            child.kill()
    events = [json.loads(line)["event"] for line in [*written, *told.splitlines()]]
    assert rest == ""
    assert events.count("ready") == events.count("drain") == events.count("end") == int(workers)
    assert events.count("reload") == 1
    assert child.returncode == 0
