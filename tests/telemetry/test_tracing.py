"""OpenTelemetry: one span a call with its tries below it, where they belong, with the conventions' names, and no text."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import headway
from headway import Engine
from headway.engine import record
from headway.telemetry import Tracing
from headway.testing import FakeProvider, virtual_run
from headway.types import Call, Reply
from headway.wire.semconv import operation_of, provider_of
from tests.gateway.helpers import gateway, within

from .made import BODY, ask

BASE = "http://provider.example/v1"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seen:
    """A tracer and a meter of the test's own, and what came out of them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.observer = Tracing(tracer_provider=self.tracers, meter_provider=self.meters)

    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if "gen_ai.operation.name" in span.attributes]

    def tries(self) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if "http.request.method" in span.attributes]

    def metrics(self) -> dict:
        data = self.reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics if data is not None else []
        return {metric.name: metric.data.data_points for metric in found}


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


async def send(engine: Engine, **body: object) -> None:
    reply = await engine.send("/v1/chat/completions", BODY | body)
    await reply.read()
    await reply.aclose()


def test_a_call_with_a_retry_is_one_span_with_two_tries_below_it(seen):
    """Below the span that was current where the call was made; times are those of the record."""

    async def main() -> None:
        async with Engine(handler=FakeProvider([429, 200]), base_url=BASE, log="off", log_level="off") as engine:
            engine.observe(seen.observer)
            with seen.tracers.get_tracer("app").start_as_current_span("handler"):
                await send(engine)

    virtual_run(main())
    (call,), (first, second) = seen.calls(), seen.tries()
    (outer,) = [span for span in seen.exporter.get_finished_spans() if span.name == "handler"]
    assert call.name == "chat gpt-5.4-mini"
    assert call.kind == first.kind == second.kind == SpanKind.CLIENT
    assert call.parent.span_id == outer.context.span_id
    assert first.parent.span_id == second.parent.span_id == call.context.span_id
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["gen_ai.request.model"] == call.attributes["gen_ai.response.model"] == "gpt-5.4-mini"
    assert (call.attributes["server.address"], call.attributes["server.port"]) == ("provider.example", 80)
    assert call.attributes["headway.attempts"] == 2
    assert call.attributes["headway.wait_s"] > 0
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert call.status.status_code == StatusCode.UNSET
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert (first.name, first.attributes["error.type"], first.status.status_code) == ("POST", "429", StatusCode.ERROR)
    assert second.attributes["http.response.status_code"] == 200
    assert second.attributes["url.full"] == f"{BASE}/chat/completions"
    assert (
        call.start_time <= first.start_time <= first.end_time <= second.start_time <= second.end_time <= call.end_time
    )


def test_a_stream_has_events_in_their_order(seen):
    async def main() -> None:
        async with Engine(handler=FakeProvider([200]), base_url=BASE, log="off") as engine:
            engine.observe(seen.observer)
            await send(engine, stream=True)

    virtual_run(main())
    (call,) = seen.calls()
    assert [event.name for event in call.events] == ["headway.sent", "headway.first_byte", "headway.first_content"]
    assert sorted(event.timestamp for event in call.events) == [event.timestamp for event in call.events]
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] >= 0


def test_who_joins_and_who_gets_a_kept_answer_are_linked_or_have_no_try(seen):
    async def main() -> None:
        async with Engine(handler=FakeProvider([200]), base_url=BASE, log="off", cache="memory") as engine:
            engine.observe(seen.observer)
            await asyncio.gather(send(engine), send(engine))
            await send(engine)

    virtual_run(main())
    by_cache = {span.attributes["headway.cache"]: span for span in seen.calls()}
    assert set(by_cache) == {"miss", "joined", "memory"}
    (link,) = by_cache["joined"].links
    assert link.context.span_id == by_cache["miss"].context.span_id
    assert not by_cache["memory"].links
    assert len(seen.tries()) == 1
    assert by_cache["memory"].attributes["headway.saved_usd"] > 0


def test_a_failure_is_an_error_and_who_leaves_is_not(seen):
    async def main() -> None:
        async with Engine(handler=FakeProvider([400, "hang"]), base_url=BASE, log="off", log_level="off") as engine:
            engine.observe(seen.observer)
            await send(engine)
            leaving = asyncio.ensure_future(send(engine))
            await asyncio.sleep(1)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    virtual_run(main())
    failed, left = seen.calls()
    assert failed.status.status_code == StatusCode.ERROR
    assert failed.attributes["error.type"] == "client_error"
    assert left.attributes["headway.outcome"] == "abandoned"
    assert left.status.status_code == StatusCode.UNSET


def test_metrics_have_the_conventions_names_units_and_buckets(seen):
    async def main() -> None:
        async with Engine(handler=FakeProvider([200, 400]), base_url=BASE, log="off", log_level="off") as engine:
            engine.observe(seen.observer)
            await send(engine, stream=True)
            await send(engine)

    virtual_run(main())
    metrics = seen.metrics()
    durations = metrics["gen_ai.client.operation.duration"]
    assert sum(point.count for point in durations) == 2
    assert durations[0].explicit_bounds == tuple(round(0.01 * 2**n, 2) for n in range(14))
    assert {point.attributes.get("error.type") for point in durations} == {None, "client_error"}
    assert durations[0].attributes["gen_ai.request.model"] == "gpt-5.4-mini"
    assert {point.attributes["gen_ai.token.type"] for point in metrics["gen_ai.client.token.usage"]} == {
        "input",
        "output",
    }
    assert metrics["gen_ai.client.operation.time_to_first_chunk"][0].count == 1
    assert sum(point.value for point in metrics["headway.cost"]) > 0


def test_no_text_and_no_key_is_told_anywhere(seen):
    secret, key = "my mother's maiden name", "sk-very-secret"

    async def main() -> None:
        handler = FakeProvider([200, 401])
        async with Engine(
            handler=handler, base_url=BASE, api_key=key, log="off", log_prompts=True, log_level="off"
        ) as engine:
            engine.observe(seen.observer)
            for _ in range(2):
                await send(engine, messages=[{"role": "user", "content": secret}])

    virtual_run(main())
    told = "".join(span.to_json() for span in seen.exporter.get_finished_spans()) + str(seen.metrics())
    assert "headway.id" in told
    assert secret not in told
    assert key not in told
    assert "headway.key" not in told


def test_what_is_not_sampled_is_not_made_and_the_metrics_are_whole():
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(sampler=ALWAYS_OFF), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))

    async def main() -> None:
        async with Engine(handler=FakeProvider([200]), base_url=BASE, log="off") as engine:
            engine.observe(Tracing(tracer_provider=tracers, meter_provider=meters))
            await send(engine)

    virtual_run(main())
    assert exporter.get_finished_spans() == ()
    assert reader.get_metrics_data() is not None
    tracers.shutdown()
    meters.shutdown()


def test_a_trace_goes_on_through_the_gateway_and_the_provider_sees_what_the_client_sent(seen, monkeypatch, capsys):
    """`traceparent` of the request is the parent; it goes on as it is; failed calls' log lines bear its id."""
    monkeypatch.setattr(record, "tracing", lambda: seen.observer)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    provider, sent = FakeProvider([200, 400]), []

    async def noted(call: Call) -> Reply:
        sent.append(dict(call.headers))
        return await provider(call)

    async def main() -> None:
        async with gateway(noted, otel="on") as url, httpx.AsyncClient() as client:
            for _ in range(2):
                await ask(client, url, headers={"traceparent": PARENT, "tracestate": "app=1"})
            await client.get(f"{url}/v1/models")

    within(main())
    calls = seen.calls()
    assert len(calls) == 2  # a list of models is no operation of one
    for call in calls:
        assert f"{call.context.trace_id:032x}" in PARENT
        assert f"{call.parent.span_id:016x}" in PARENT
    assert (sent[0]["traceparent"], sent[0]["tracestate"]) == (PARENT, "app=1")
    assert '"trace_id": "0af7651916cd43dd8448eb211c80319c"' in capsys.readouterr().err


def test_it_is_off_by_default_and_costs_no_import():
    code = (
        "import asyncio, sys, headway\n"
        "from headway.testing import FakeProvider\n"
        "async def main():\n"
        "    async with headway.Engine(handler=FakeProvider([200]), base_url='http://p/v1', log='off') as engine:\n"
        "        await engine.send('/v1/chat/completions', {'model': 'm', 'messages': []})\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus_client', 'headway.telem'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_package_the_setting_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("opentelemetry", "headway.telemetry.tr"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    async def main() -> None:
        async with Engine(handler=FakeProvider([200]), otel="on"):
            pass

    with pytest.raises(headway.ConfigError, match=r"pip install 'headway\[otel\]'"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/responses", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/completions", "text_completion"),
        ("/v1beta/models/g:streamGenerateContent", "generate_content"),
        ("/v1/files", ""),
    ],
)
def test_operations(path, operation):
    assert operation_of(path) == operation


def test_providers_are_known_by_host_then_by_format():
    assert provider_of("https://x.openai.azure.com", "/openai/v1/responses") == "azure.ai.openai"
    assert provider_of("https://api.groq.com", "/openai/v1/chat/completions") == "groq"
    assert provider_of("http://localhost:8000", "/v1/messages") == "anthropic"
    assert provider_of("http://localhost:8000", "/v1/chat/completions") == "openai"
    assert api.get_tracer_provider() is not None
