"""Runs made up for tests: random graphs whose moments follow from their edges, as a real run's would."""

from __future__ import annotations

from heapq import heappop, heappush

from hypothesis import strategies as st

from headway.types.steps import Edge, StepRow

START_S = 1_700_000_000.0


def row(
    index: int,
    step: str,
    from_s: float,
    end_s: float,
    *edges: Edge,
    first_s: float | None = None,
    called_s: float = 0.0,
    started_s: float | None = None,
    run: str = "r1",
    **more: object,
) -> StepRow:
    """A step that was ready at `from_s`."""
    return StepRow(
        pipeline="article",
        run=run,
        step=step,
        index=index,
        start_wall_s=START_S,
        edges=edges,
        called_s=called_s,
        ready_s=from_s,
        started_s=from_s if started_s is None else started_s,
        first_chunk_s=end_s if first_s is None else first_s,
        end_s=end_s,
        **more,
    )


def run_row(end_s: float, run: str = "r1", pipeline: str = "article", **more: object) -> StepRow:
    """The run's own row."""
    return StepRow(pipeline=pipeline, run=run, step="", index=-1, start_wall_s=START_S, end_s=end_s, **more)


def article(outline_s: float = 1.0, facts_s: float = 1.5, write_s: float = 2.0, **more: object) -> list[StepRow]:
    """Two steps side by side, and a third that needs both and streams."""
    ready_s = max(outline_s, facts_s)
    return [
        run_row(ready_s + write_s, **more),
        row(0, "outline", 0.0, outline_s, **more),
        row(1, "facts", 0.0, facts_s, **more),
        row(
            2,
            "write",
            ready_s,
            ready_s + write_s,
            Edge(0, "value", outline_s),
            Edge(1, "value", facts_s),
            first_s=ready_s + write_s / 4,
            **more,
        ),
    ]


MS = st.integers(0, 4000).map(lambda ms: ms / 1000)
"""Whole milliseconds, so that sums come out even but for rounding."""


@st.composite
def runs(draw: st.DrawFn, steps_max: int = 12, *, limited: bool = False) -> list[StepRow]:
    """A run that could have happened: every moment is the earliest that its edges, lags and limits allow."""
    count = draw(st.integers(1, steps_max))
    names = [draw(st.sampled_from("abcdef")) for _ in range(count)]
    places = {name: [0.0] * draw(st.integers(1, 3)) for name in ("abc" if limited else "")}
    plans = [_plan(draw, index) for index in range(count)]
    rows: dict[int, StepRow] = {}
    waiting: list[tuple[float, int]] = []
    asked: set[int] = set()

    def admit() -> None:
        for index, plan in enumerate(plans):
            if index not in asked and all(edge[0] in rows for edge in plan["edges"]):
                asked.add(index)
                heappush(waiting, (_edges(rows, plan)[2], index))

    admit()
    while waiting:
        ready_s, index = heappop(waiting)
        name, plan = names[index], plans[index]
        edges, called_s, _ = _edges(rows, plan)
        free = places.get(name)
        started_s = ready_s if free is None else max(ready_s, min(free))
        first_s = started_s + plan["first_s"]
        end_s = first_s + plan["rest_s"]
        for edge in edges:
            if edge.kind == "stream":  # it reads the stream to its end
                end_s = max(end_s, rows[edge.index].end_s or 0.0)
        if free is not None:
            free[free.index(min(free))] = end_s
        streams = plan["rest_s"] > 0
        rows[index] = row(
            index,
            name,
            ready_s,
            end_s,
            *edges,
            called_s=called_s,
            started_s=started_s,
            first_s=first_s if streams else end_s,
            wait_s=plan["wait_s"],
        )
        admit()
    end_s = max(one.end_s or 0.0 for one in rows.values()) + draw(MS)
    return [run_row(end_s), *(rows[index] for index in sorted(rows))]


def _plan(draw: st.DrawFn, index: int) -> dict:
    kinds = st.sampled_from(["value", "stream", "field", "control"])
    before = draw(st.lists(st.integers(0, index - 1), max_size=3, unique=True)) if index else []
    return {
        "edges": [(one, draw(kinds)) for one in before],
        "think_s": draw(MS),
        "first_s": draw(MS),
        "rest_s": draw(st.sampled_from([0.0, 0.0, 0.5, 2.0])),
        "wait_s": draw(MS),
    }


def _edges(rows: dict[int, StepRow], plan: dict) -> tuple[list[Edge], float, float]:
    """Its edges, when it is called, and when it is ready."""
    edges = []
    for index, kind in plan["edges"]:
        one = rows[index]
        middle_s = (one.started_s + one.end_s) / 2
        at_s = {"stream": one.first_chunk_s, "field": middle_s}.get(kind, one.end_s)
        edges.append(Edge(index, kind, at_s))
    called_s = max((edge.at_s for edge in edges if edge.kind == "control"), default=0.0) + plan["think_s"]
    return edges, called_s, max([called_s, *(edge.at_s for edge in edges)])
