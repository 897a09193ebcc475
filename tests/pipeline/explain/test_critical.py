"""The critical path: walked back from the end, whole, and with no slack on it."""

from __future__ import annotations

import pytest
from hypothesis import given

from headway.pipeline.explain.critical import critical_path, last_end_s, one_after_another_s, slacks_s
from headway.pipeline.explain.graph import graph_of, graphs_of, is_kept_waiting
from headway.types.steps import Edge, StepRow
from tests.pipeline.explain.graphs import article, row, run_row, runs


def path_of(rows):
    return critical_path(graph_of(rows))


@given(runs())
def test_the_parts_of_the_path_are_the_end_to_end_time(rows):
    """Whatever the graph: links lie one after the other, no part is negative, and together they are the whole run."""
    path = path_of(rows)
    at_s = path.before_s
    parts = [path.before_s]
    for link in path.links:
        assert link.from_s == pytest.approx(at_s)
        parts += [link.limit_s, link.pacing_s, link.first_chunk_s, link.work_s, link.after_s]
        assert sum(parts[-5:-1]) == pytest.approx(link.took_s)
        at_s = link.to_s + link.after_s
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(rows[0].end_s)
    assert path.end_s == rows[0].end_s


@given(runs(limited=True))
def test_the_path_has_no_slack_and_nothing_has_less_than_none(rows):
    """Members of the path have a slack of 0; nobody's is negative or greater than the run."""
    graph = graph_of(rows)
    slacks = slacks_s(graph)
    assert set(slacks) == set(graph.nodes)
    assert all(0 <= slack_s <= graph.end_s for slack_s in slacks.values())
    for link in critical_path(graph).links:
        assert slacks[link.index] == pytest.approx(0, abs=1e-9)


@given(runs())
def test_a_step_may_be_later_by_its_slack_and_not_by_more(rows):
    """Each step moved by its slack leaves the end where it was; moved by more than that, the end moves."""
    graph = graph_of(rows)
    for index, slack_s in slacks_s(graph).items():
        assert end_with_delay(graph, index, slack_s) == pytest.approx(last_end_s(graph))
        assert end_with_delay(graph, index, slack_s + 1.0) == pytest.approx(last_end_s(graph) + 1.0)


def end_with_delay(graph, index, delay_s):
    """When the last step ends if one step is later by so much: every follower moved on as its edges ask."""
    late = {}
    for i, node in graph.nodes.items():
        asked_s = max((edge.at_s for edge in node.controls), default=0.0)
        moved_s = max((edge.at_s + late[edge.index] for edge in node.controls), default=0.0)
        called_s = node.called_s - asked_s + moved_s
        base_s = max([node.called_s, *(edge.at_s for edge in node.inputs)])
        late[i] = max([called_s, *(edge.at_s + late[edge.index] for edge in node.inputs)]) - base_s
        live = [edge.index for edge in node.inputs if edge.kind == "stream"]
        late[i] = max([late[i], *(late[one] for one in live if is_kept_waiting(graph.nodes[one], node))])
        late[i] += delay_s if i == index else 0.0
    return max(node.end_s + late[i] for i, node in graph.nodes.items())


def fields(one):
    return {name: getattr(one, name) for name in one.__struct_fields__}


def test_the_path_of_two_side_by_side_goes_over_the_slower():
    """Facts ends last, so write hangs on it; outline has the difference to spare."""
    rows = article(outline_s=1.0, facts_s=1.5, write_s=2.0)
    path = path_of(rows)
    assert path.told == "facts -> write"
    assert [link.kind for link in path.links] == ["value", "end"]
    assert slacks_s(graph_of(rows)) == {0: 0.5, 1: 0.0, 2: 0.0}
    assert one_after_another_s(graph_of(rows)) == pytest.approx(4.5)


def test_a_stream_counts_at_its_first_chunk():
    """A reader of a live stream hangs on the first chunk: the rest of the writer's time is not on the path."""
    rows = [
        run_row(5.0),
        row(0, "write", 0.0, 3.0, first_s=0.5),
        row(1, "speak", 0.5, 5.0, Edge(0, "stream", 0.5), first_s=1.0),
    ]
    write, speak = path_of(rows).links
    assert (write.from_s, write.to_s, write.first_chunk_s, write.work_s) == (0.0, 0.5, 0.5, 0.0)
    assert (speak.first_chunk_s, speak.work_s) == (0.5, 4.0)


def test_waits_are_shown_apart():
    """Its own limit, the pacing of its calls, the first chunk and the rest stand side by side."""
    rows = [run_row(5.0), row(0, "ask", 0.0, 5.0, started_s=1.0, first_s=2.5, wait_s=0.5)]
    (link,) = path_of(rows).links
    assert (link.limit_s, link.pacing_s, link.first_chunk_s, link.work_s) == (1.0, 0.5, 1.0, 2.5)


def test_waits_of_calls_side_by_side_are_no_longer_than_the_step():
    """Ten calls that waited 1 s each in a step of 2 s did not wait for 10 s."""
    (link,) = path_of([run_row(2.0), row(0, "ask", 0.0, 2.0, wait_s=10.0)]).links
    assert (link.pacing_s, link.work_s) == (2.0, 0.0)


def test_what_the_program_awaited_is_on_the_path_and_its_own_time_is_apart():
    """A branch taken after `await`: the path goes over what was awaited, and what the program did then is its own."""
    rows = [
        run_row(3.1),
        row(0, "classify", 0.0, 1.0),
        row(1, "answer", 1.5, 3.0, Edge(0, "control", 1.0), called_s=1.5),
    ]
    path = path_of(rows)
    assert path.told == "classify -> answer"
    assert [round(link.after_s, 9) for link in path.links] == [0.5, 0.1]
    assert path.program_s == pytest.approx(0.6)


def test_cancelled_siblings_are_not_the_reason_for_the_end():
    """A run that failed ends with the step that failed, though its siblings' ends are the last moments there are."""
    rows = [
        run_row(1.02, outcome="failed"),
        row(0, "facts", 0.0, 1.0, outcome="failed"),
        row(1, "outline", 0.0, 1.02, outcome="cancelled"),
    ]
    assert path_of(rows).told == "facts"
    assert slacks_s(graph_of(rows)) == {0: 0.0}


def test_a_run_under_way_has_a_path_up_to_now():
    """Steps that have not ended reach to the last moment that is known, and nothing breaks."""
    late = StepRow(pipeline="article", run="r1", step="write", index=1, start_wall_s=1.0, called_s=0.2, ready_s=1.0)
    path = path_of([row(0, "outline", 0.0, 1.0), late])
    assert path.end_s == 1.0
    assert path.links[-1].step == "outline"


def test_a_run_without_steps_is_all_the_programs_own():
    """No links, and the whole time is before them."""
    path = path_of([run_row(2.0)])
    assert (path.links, path.before_s, path.told) == ((), 2.0, "")


def test_rows_of_several_runs_are_no_graph():
    """One graph is one run."""
    with pytest.raises(ValueError, match="one run"):
        graph_of([*article(), *article(run="r2")])


def test_graphs_are_of_whole_runs_only():
    """A run whose own row is missing (its process was killed) is left out of histories."""
    rows = [*article(), *article(run="r2")[1:]]
    assert [graph.run.run for graph in graphs_of(rows)] == ["r1"]


@given(runs())
def test_what_the_log_says_wrongly_breaks_nothing(rows):
    """Edges to steps that are not there, to later ones, and moments in disorder: the parts still add up."""
    rows = [
        StepRow(**{**fields(one), "edges": (*one.edges, Edge(99, "value", 1e6), Edge(one.index, "stream", -1.0)),
                   "ready_s": (one.end_s or 0.0) + 1, "first_chunk_s": -3.0})
        for one in rows
    ]  # fmt: skip
    path = path_of(rows)
    total_s = path.before_s + sum(link.took_s + link.after_s for link in path.links)
    assert total_s == pytest.approx(path.end_s)
