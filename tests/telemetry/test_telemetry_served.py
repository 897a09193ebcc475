"""`headway serve` as a process: counters that never go back, and traces that reach a collector."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from headway.errors import ConfigError
from headway.sim import SimSettings
from headway.sim.server import serving
from headway.telemetry.sdk import _started
from tests.gateway.test_gateway_serve import served

from .made import BODY

CALLS = re.compile(r"^headway_requests_total\{.*\} ([0-9.e+]+)$", re.MULTILINE)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sent(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    """Over a connection of its own: the system spreads them over the workers."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=20)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def ask(url: str, **headers: str) -> int:
    return sent(url, "POST", "/v1/chat/completions", json.dumps(BODY).encode(), **headers)[0]


def page(url: str) -> str:
    return sent(url, "GET", "/metrics")[1]


def counted(url: str) -> float:
    return sum(map(float, CALLS.findall(page(url))))


def pids(parent: int) -> set[int]:
    command = ["ps", "--no-headers", "-o", "pid", "--ppid", str(parent)]
    return set(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def test_counters_never_go_back_when_a_worker_dies_and_when_the_configuration_changes(tmp_path):
    """Whichever worker is asked, and whoever has died meanwhile: the sum is that of all calls there were."""
    config = tmp_path / "h.toml"
    config.write_text("timeout_s = 30\n")
    with (
        serving(SimSettings(latency_scale=0.0)) as base,
        served("--workers", "2", "--base-url", base, "--config", str(config)) as (child, url),
    ):
        for _ in range(20):
            assert ask(url) == 200
        assert {counted(url) for _ in range(6)} == {20}  # which also tells the process that watches over them
        workers = pids(child.pid)
        os.kill(min(workers), signal.SIGKILL)
        seen, whole = [], False
        while not whole:
            with suppress(ConnectionError):  # it was in the line of the one that dies
                seen.append(counted(url))
                now = pids(child.pid)
                whole = len(now) == 2 and now != workers and "headway_workers 2.0" in page(url)
        config.write_text("timeout_s = 31\n")
        child.send_signal(signal.SIGHUP)
        for _ in range(10):
            assert ask(url) == 200
        assert set(seen) == {20}
        assert {counted(url) for _ in range(6)} == {30}
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """Takes what is sent by OTLP over HTTP; gives its URL, and the bodies by path."""
    came: dict[str, list[bytes]] = {}

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.setdefault(self.path, []).append(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_traces_and_metrics_reach_a_collector_before_the_process_ends():
    with (
        serving(SimSettings(latency_scale=0.0)) as base,
        collector() as (endpoint, came),
        served("--base-url", base, HEADWAY_OTEL="on", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as (child, url),
    ):
        assert ask(url, traceparent=PARENT) == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    traces = ExportTraceServiceRequest.FromString(came["/v1/traces"][0]).resource_spans[0]
    resource = {pair.key: pair.value.string_value for pair in traces.resource.attributes}
    assert resource["service.name"] == "headway"
    spans = {span.name: span for span in traces.scope_spans[0].spans}
    assert set(spans) == {"chat gpt-5.4-mini", "POST"}
    assert spans["chat gpt-5.4-mini"].trace_id.hex() in PARENT
    assert spans["chat gpt-5.4-mini"].parent_span_id.hex() in PARENT
    assert spans["POST"].parent_span_id == spans["chat gpt-5.4-mini"].span_id
    metrics = ExportMetricsServiceRequest.FromString(came["/v1/metrics"][0]).resource_metrics[0].scope_metrics[0]
    assert "gen_ai.client.operation.duration" in {metric.name for metric in metrics.metrics}


def test_a_collector_that_is_not_there_does_not_hold_up_the_end():
    with (
        serving(SimSettings(latency_scale=0.0)) as base,
        served("--base-url", base, HEADWAY_OTEL="on", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") as (child, url),
    ):
        assert ask(url) == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


def test_variables_that_name_what_there_is_not_are_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER must be"):
        _started({"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        _started({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert _started({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}) == []
