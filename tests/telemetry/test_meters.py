"""What is counted: once, under few labels, never less than before, and the same over all processes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from headway import Engine
from headway.telemetry import Meters
from headway.telemetry.families import FAMILIES, GAUGES, LABELS_MAX, OTHER, UNPROVEN_MAX
from headway.telemetry.routes import route_of
from headway.telemetry.states import kept, merged, packed, unpacked
from headway.testing import FakeProvider, virtual_run
from headway.types import Tags, Usage

from .made import TAGGED, attempt, call, step


def value(meters: Meters, name: str, *labels: str) -> float:
    return meters.state()[name][labels][0]


N = 10**9
"""Seconds and dollars are counted in billionths."""


def test_a_call_is_counted_once_in_each_family():
    meters = Meters()
    meters.finished(call(wait_s=0.02))
    state = meters.state()
    asked = ("/v1/chat/completions", "gpt-5.4-mini")
    assert state["headway_requests_total"] == {(*asked, "ok", "2xx"): [1]}
    assert state["headway_request_duration_seconds"][asked][-1] == N / 2
    assert state["headway_time_to_first_token_seconds"][asked][-1] == N / 4
    assert state["headway_time_per_output_token_seconds"][asked][-1] == N / 32
    assert state["headway_wait_seconds"][asked[1:]][-1] == N / 50
    assert state["headway_cache_results_total"] == {("miss",): [1]}
    assert sum(state["headway_request_duration_seconds"][asked][:-1]) == 1
    assert "headway_tokens_total" not in state  # what was paid for is counted by tries


def test_what_failed_was_answered_from_nowhere():
    """A call that had joined one that failed is no hit; a hit rate over these counts answers alone."""
    meters = Meters()
    for outcome, cache in (("ok", "memory"), ("ok", "miss"), ("server_error", "joined"), ("abandoned", "miss")):
        meters.finished(call(outcome, cache=cache))
    assert meters.state()["headway_cache_results_total"] == {("memory",): [1], ("miss",): [1]}


def test_tries_carry_tokens_and_money_and_every_token_has_one_kind():
    meters = Meters()
    usage = Usage(input_tokens=100, cached_tokens=60, cache_write_tokens=10, output_tokens=50, reasoning_tokens=20)
    meters.finished(attempt(usage=usage))
    meters.finished(attempt("throttled", usage=None, dollars=0.0))
    meters.finished(attempt(dollars=None, usage=Usage(input_tokens=1, cached_tokens=5)))  # a provider that cannot count
    tokens = {labels[1]: values[0] for labels, values in meters.state()["headway_tokens_total"].items()}
    assert tokens == {"input": 30, "input_cached": 65, "input_cache_write": 10, "output": 30, "output_reasoning": 20}
    assert value(meters, "headway_dollars_total", "gpt-5.4-mini") == N / 1000
    assert value(meters, "headway_unpriced_attempts_total", "gpt-5.4-mini") == 1
    assert value(meters, "headway_attempts_total", "openai", "throttled") == 1
    assert value(meters, "headway_throttled_total", "openai") == 1


def test_what_never_left_here_is_no_try():
    """Refused by an own budget or limit, or left in the queue; a connection that failed is one."""
    meters = Meters()
    for outcome, sent_at_s in (("budget", None), ("abandoned", None), ("abandoned", 10.1), ("connect_failed", None)):
        meters.finished(attempt(outcome, sent_at_s=sent_at_s, dollars=None, usage=None))
    state = meters.state()
    assert state["headway_attempts_total"] == {("openai", "abandoned"): [1], ("openai", "connect_failed"): [1]}
    assert sum(lines[0] for lines in state["headway_unpriced_attempts_total"].values()) == 2


def test_waste_is_told_apart_once_the_call_has_ended():
    """A try that was let go of lost a race where its call was answered, else nobody waited for it."""
    meters = Meters()
    for flight, outcome in (("a", "ok"), ("b", "abandoned")):
        meters.finished(attempt("abandoned", flight_id=flight))
        assert "headway_wasted_dollars_total" not in meters.state() or flight == "b"
        meters.finished(call(outcome, flight_id=flight))
    meters.finished(attempt("server_error"))
    assert meters.state()["headway_wasted_dollars_total"] == {
        ("hedge",): [N / 1000], ("abandoned",): [N / 1000], ("retry",): [N / 1000],
    }  # fmt: skip


def test_what_a_cache_saved_is_counted_by_layer():
    meters = Meters()
    meters.finished(call(cache="memory", saved_dollars=0.5, dollars=0.0))
    meters.finished(call(cache="joined", saved_dollars=0.25, dollars=0.0))
    assert meters.state()["headway_saved_dollars_total"] == {("memory",): [N / 2], ("joined",): [N / 4]}
    assert "headway_time_per_output_token_seconds" not in meters.state()  # no provider wrote it for this call


def test_steps_are_named_without_their_index_and_runs_apart():
    meters = Meters(tagged_steps=True)
    meters.stepped([step("draft"), step("skipped", end_s=None, started_s=None), step("", index=-1)])
    meters.finished(call(tags=TAGGED))
    state = meters.state()
    assert state["headway_pipeline_step_duration_seconds"]["article", "draft"][-1] == 2.5 * N
    assert state["headway_pipeline_steps_total"] == {("article", "draft", "ok"): [2]}
    assert state["headway_pipeline_run_duration_seconds"]["article",][-1] == 3 * N
    alone = Meters()
    alone.finished(call(tags=TAGGED))
    assert "headway_pipeline_step_duration_seconds" not in alone.state()  # its row says it: not counted twice


def test_labels_are_bounded_and_strangers_cannot_crowd_out_models_that_work():
    meters = Meters()
    for n in range(1000):
        meters.finished(call("client_error", model=f"made-up-{n}", status=404))
        meters.finished(attempt("client_error", model=f"made-up-{n}", status=404, upstream=f"u{n}"))
    meters.finished(call())
    models = {labels[1] for labels in meters.state()["headway_requests_total"]}
    assert "gpt-5.4-mini" in models
    assert len(models) == UNPROVEN_MAX + 2
    for n in range(1000):
        meters.finished(call(model=f"real-{n}"))
        meters.stepped([step(f"s{n}")])
        meters.refused(f"code-{n}")
    state = meters.state()
    for lines in state.values():
        assert len({labels[:2] for labels in lines}) <= 2 * LABELS_MAX
    assert sum(values[0] for values in state["headway_requests_total"].values()) == 2001
    assert state["headway_refused_total"][OTHER,] == [1000 - LABELS_MAX]


def test_what_clients_write_is_no_label_if_it_is_long_or_odd():
    meters = Meters(tagged_steps=True)
    for odd in ("x" * 1000, "a\nb", "\x00"):
        meters.finished(call(model=odd, tags=Tags(run="r", step=f"{odd}#0", parent="article")))
    state = meters.state()
    assert {labels[1] for labels in state["headway_requests_total"]} == {OTHER}
    assert set(state["headway_pipeline_step_duration_seconds"]) == {(OTHER, OTHER)}


def test_keys_are_no_label_unless_that_is_asked_for():
    meters, told = Meters(), Meters(keys=True)
    for one in (meters, told):
        one.finished(call(tenant="k7"))
    assert not any("k7" in labels for lines in meters.state().values() for labels in lines)
    assert value(told, "headway_key_requests_total", "k7", "ok") == 1
    assert value(told, "headway_key_dollars_total", "k7") == N / 1000


@pytest.mark.parametrize(
    ("path", "format_", "route"),
    [
        ("/v1/chat/completions", "openai_chat", "/v1/chat/completions"),
        ("/openai/v1/responses", "openai_responses", "/v1/responses"),
        ("/v1/messages", "anthropic_messages", "/v1/messages"),
        ("/v1/files/file-123/content", "", "/v1/files"),
        ("/v1/messages/batches/msgbatch_1", "", "/v1/messages/batches"),
        ("/v1beta/models/gemini:generateContent", "gemini", "gemini"),
        ("/whatever/else", "", OTHER),
    ],
)
def test_routes_hold_no_ids(path, format_, route):
    assert route_of(path, format_) == route


ENDED = st.one_of(
    st.builds(call, st.sampled_from(["ok", "abandoned", "server_error"]), model=st.sampled_from("abc")),
    st.builds(attempt, st.sampled_from(["ok", "abandoned", "throttled"]), model=st.sampled_from("abc"),
              dollars=st.sampled_from([None, 0.0, 0.5, 0.25])),
)  # fmt: skip


@given(st.lists(ENDED, max_size=40), st.integers(0, 40))
def test_two_workers_add_up_to_one_and_a_dead_one_is_not_forgotten(ended, cut):
    """Whoever counted it, and whether he is still there: the sum is the same, and gauges go with the dead."""
    whole = Meters()
    first = Meters(extra=lambda: {"process_open_fds": 7.0, "process_cpu_seconds_total": 2.0})
    second = Meters(extra=lambda: {"process_open_fds": 5.0, "process_cpu_seconds_total": 1.0})
    for place, trace in enumerate(ended):
        whole.finished(trace)
        (first if place < cut else second).finished(trace)
    both = merged(map(unpacked, (first.packed(), second.packed())))
    remains = kept([kept([b""]), first.packed()])
    after = merged(map(unpacked, (remains, second.packed())))
    assert both.pop("process_open_fds") == {(): [12.0]}
    assert after.pop("process_open_fds") == {(): [5.0]}
    assert both == after
    assert both.pop("process_cpu_seconds_total") == {(): [3 * N]}
    both.pop("headway_wasted_dollars_total", None)  # a flight that was cut in two is judged by neither
    expected = whole.state()
    expected.pop("headway_wasted_dollars_total", None)
    assert both == unpacked(packed(expected))


def test_bytes_of_another_version_are_left_out():
    assert unpacked(packed({"headway_new_total": {(): [1.0]}, "headway_workers": {(): [1.0]}})) == {
        "headway_workers": {(): [1.0]}
    }
    assert unpacked(packed({"headway_request_duration_seconds": {("a", "b"): [1.0, 2.0]}})) == {
        "headway_request_duration_seconds": {}
    }


def test_two_threads_lose_nothing():
    meters, trace, many = Meters(), call(), 5_000

    def work() -> None:
        for _ in range(many):
            meters.finished(trace)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(meters, "headway_requests_total", "/v1/chat/completions", "gpt-5.4-mini", "ok", "2xx") == 4 * many


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_a_program_registers_it_where_its_other_metrics_are():
    """The documented way for users of the library, with an engine's live figures."""

    async def main() -> str:
        meters, registry = Meters(), CollectorRegistry()
        async with Engine(handler=FakeProvider([429, 200]), base_url="http://provider/v1", log="off") as engine:
            engine.observe(meters)
            registry.register(meters.collector(engine.snapshot))
            reply = await engine.send("/v1/chat/completions", {"model": "gpt-5.4-mini", "messages": []})
            assert reply.status == 200
            return generate_latest(registry).decode()

    found = families(virtual_run(main()))
    assert {s.labels["outcome"]: s.value for s in found["headway_attempts"].samples} == {"throttled": 1, "ok": 1}
    assert [s.value for s in found["headway_in_flight"].samples] == [0]
    duration = found["headway_request_duration_seconds"].samples
    assert [s.value for s in duration if s.name.endswith("_count")] == [1]
    assert [s.value for s in duration if s.labels.get("le") == "+Inf"] == [1]


def test_every_family_keeps_to_the_conventions():
    for family in (*FAMILIES, *GAUGES):
        assert family.help.endswith(".")
        assert (family.kind == "counter") == family.name.endswith("_total")
        assert not {"user", "tenant"} & set(family.labels)
        assert list(family.bounds) == sorted(set(family.bounds))
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")


def test_buckets_are_cumulative_and_bounds_belong_below():
    meters, registry = Meters(), CollectorRegistry()
    registry.register(meters.collector())
    for end_s in (0.01, 0.0100001, 1000.0):
        trace = call()
        trace.ended_at_s = 10.0 + end_s
        trace.started_at_s = 10.0
        meters.finished(trace)
    samples = families(generate_latest(registry).decode())["headway_request_duration_seconds"].samples
    by_bound = {s.labels["le"]: s.value for s in samples if "le" in s.labels}
    assert (by_bound["655.36"], by_bound["+Inf"], by_bound["0.02"]) == (2, 3, 2)
    assert by_bound["0.00125"] == 0
