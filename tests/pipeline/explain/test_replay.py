"""A run on paper: as it was it ends as it did, and faster steps bring only what the graph lets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.pipeline.explain.graph import graph_of
from headway.pipeline.explain.replay import Replay
from headway.types.steps import Edge
from tests.pipeline.explain.graphs import article, row, run_row, runs


def replayed_s(graph, factors):
    return Replay(graph).end_s(factors)


@given(runs())
def test_a_replay_without_changes_ends_when_the_run_did(rows):
    """Every moment comes out where it was, whatever the graph."""
    graph = graph_of(rows)
    assert replayed_s(graph, {}) == pytest.approx(graph.end_s)


@given(runs(limited=True), st.sampled_from("abcdef"), st.floats(0, 1))
def test_faster_never_takes_away_more_than_the_step_worked(rows, name, factor):
    """Bounds: what is saved is at most the time that steps of the name took off, all of them on one path."""
    graph = graph_of(rows)
    saved_s = replayed_s(graph, {}) - replayed_s(graph, {name: factor})
    own_s = sum(node.end_s - node.started_s for node in graph.nodes.values() if node.row.step == name)
    others_s = sum(node.end_s - node.started_s for node in graph.nodes.values())
    assert saved_s <= (own_s * (1 - factor) if not _waits(graph) else others_s) + 1e-6


def _waits(graph):
    return any(node.started_s > node.ready_s for node in graph.nodes.values())


@given(runs(), st.sampled_from("abcdef"))
def test_without_limits_faster_is_never_slower(rows, name):
    """With queues it could be (Graham's anomalies); without them the end only comes nearer."""
    graph = graph_of(rows)
    assert replayed_s(graph, {name: 0.7}) <= graph.end_s + 1e-6


def test_a_faster_step_helps_only_until_its_sibling_is_the_slower_one():
    """Facts takes 1.5 s beside outline's 1.4 s: 30 % off facts is 0.45 s less work, and 0.1 s less waiting."""
    graph = graph_of(article(outline_s=1.4, facts_s=1.5, write_s=2.0))
    assert replayed_s(graph, {"facts": 0.7}) == pytest.approx(3.4)
    assert replayed_s(graph, {"outline": 0.7}) == pytest.approx(3.5)
    assert replayed_s(graph, {"write": 0.7}) == pytest.approx(2.9)


def test_a_limit_is_queued_for_again():
    """Six pieces of 1 s, two at once: half the time each is half the time for all, waits included."""
    rows = [run_row(3.0)]
    rows += [row(i, "piece", 0.0, i // 2 + 1.0, started_s=float(i // 2)) for i in range(6)]
    graph = graph_of(rows)
    assert replayed_s(graph, {}) == pytest.approx(3.0)
    assert replayed_s(graph, {"piece": 0.5}) == pytest.approx(1.5)


def test_what_the_provider_s_limit_held_back_stays():
    """A call that was paced for 1 s of its 3 s has 2 s that can be faster."""
    graph = graph_of([run_row(3.0), row(0, "ask", 0.0, 3.0, wait_s=1.0)])
    assert replayed_s(graph, {"ask": 0.5}) == pytest.approx(2.0)


def chain(speak_end_s: float):
    """A writer that streams for 4 s, and a reader of its stream that has its first chunk 0.2 s after the writer's."""
    return graph_of(
        [
            run_row(speak_end_s),
            row(0, "write", 0.0, 4.0, first_s=1.0),
            row(1, "speak", 1.0, speak_end_s, Edge(0, "stream", 1.0), first_s=1.2),
        ]
    )


def test_a_reader_that_keeps_up_is_as_fast_as_its_stream():
    """It ends 0.2 s after its writer: the writer's time is what counts, the reader's hardly does."""
    graph = chain(4.2)
    assert replayed_s(graph, {"write": 0.5}) == pytest.approx(2.2)
    assert replayed_s(graph, {"speak": 0.5}) == pytest.approx(4.1)


def test_a_reader_that_falls_behind_is_what_takes_the_time():
    """It ends 3 s after its writer, which is faster by its first chunk only."""
    graph = chain(7.0)
    assert replayed_s(graph, {"write": 0.5}) == pytest.approx(6.5)
    assert replayed_s(graph, {"speak": 0.5}) == pytest.approx(4.0)


def test_a_reader_that_came_after_its_stream_was_not_kept_waiting():
    """A stream that had ended when its reader began set no pace: half the time of both is half of it all."""
    graph = graph_of(
        [
            run_row(2.1),
            row(0, "a", 0.0, 1.0, first_s=0.0),
            row(1, "a", 1.1, 2.1, Edge(0, "control", 1.0), Edge(0, "stream", 0.0), called_s=1.1, first_s=1.2),
        ]
    )
    assert replayed_s(graph, {"a": 0.5}) == pytest.approx(1.1)


def test_a_field_moves_with_its_step():
    """A field that was there halfway is there halfway of the faster answer."""
    graph = graph_of(
        [run_row(5.0), row(0, "plan", 0.0, 4.0), row(1, "search", 2.0, 5.0, Edge(0, "field", 2.0))],
    )
    assert replayed_s(graph, {"plan": 0.5}) == pytest.approx(4.0)
