"""Documents: lists of calls, their pages, money by layer, pipelines and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.insight.desk import Ask, Desk
from headway.insight.documents import Filters, LimitUse, Live
from headway.insight.overview import Now, NowUpstream
from headway.store.call_log import CallLog
from headway.types import Usage
from headway.types.steps import Edge, StepRow
from tests.insight.rows import NOW_S, log_at, trace_of


def desk_of(log: CallLog) -> Desk:
    log.flush()
    return Desk(log.path, lambda: NOW_S)


def answered(desk: Desk, **asked: Any) -> Any:
    status, document = desk.answer(Ask(**asked))
    assert status == 200, document
    return msgspec.json.decode(document)


def closed(log: CallLog, desk: Desk) -> None:
    log.close()
    assert desk._follower is not None
    desk._follower.log.close()


def test_calls_page_by_page(tmp_path: Path) -> None:
    """All of them once, the latest first, whatever came in between; more than one scan reads."""
    log = log_at(tmp_path / "calls.sqlite")
    for nth in range(5_000):
        log.write(trace_of(f"a{nth}", NOW_S - 600 + nth * 0.1, model="rare" if nth % 1_000 == 0 else "m"))
    desk = desk_of(log)
    found: list[str] = []
    before, more = "", True
    while more:
        page = answered(desk, what="calls", filters=Filters(model="rare"), limit=2, before=before)
        found += [line["id"] for line in page["calls"]]
        more, before = page["more"], page["next"]
        assert more == bool(before)
        log.write(trace_of(f"new{len(found)}", model="rare"))
        log.flush()
    assert found == ["a4000", "a3000", "a2000", "a1000", "a0"]
    assert answered(desk, what="calls", before="nobody")["calls"] == []
    assert answered(desk, what="calls", filters=Filters(window_s=60.0), outcome="failed")["calls"] == []
    closed(log, desk)


def test_the_last_calls_follow_the_log(tmp_path: Path) -> None:
    """Each once, the latest first, at most fifty; those that have left the window are gone."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("old", NOW_S - 900))
    desk = desk_of(log)
    assert [line["id"] for line in answered(desk, what="overview")["calls"]] == ["old"]
    assert answered(desk, what="overview", filters=Filters(window_s=60.0))["calls"] == []
    for nth in range(60):
        log.write(trace_of(f"a{nth}"))
    log.flush()
    desk.follow()
    lines = answered(desk, what="overview")["calls"]
    assert [line["id"] for line in lines] == [f"a{nth}" for nth in reversed(range(10, 60))]
    assert lines == answered(desk, what="overview", filters=Filters(window_s=60.0))["calls"]
    assert len(answered(desk, what="overview", filters=Filters(key="other"))["calls"]) == 0
    closed(log, desk)


def test_money_by_layer(tmp_path: Path) -> None:
    """What caches, joining and the provider's prompt cache saved, and what retries wasted."""
    log = log_at(tmp_path / "calls.sqlite")
    used = Usage(input_tokens=2_000, cached_tokens=1_000, output_tokens=5)
    log.write(trace_of("a.0", kind="attempt", outcome="server_error", dollars=0.5))
    log.write(trace_of("a.1", kind="attempt", attempt_index=1, model="gpt-5.4-mini"))
    log.write(trace_of("a", attempts=2, usage=used, model="gpt-5.4-mini", cache="miss"))
    log.write(trace_of("b", cache="sqlite", dollars=0.0, saved_dollars=0.25, usage=used))
    log.write(trace_of("c", cache="joined", dollars=0.0, saved_dollars=0.125, usage=used))
    desk = desk_of(log)
    view = answered(desk, what="overview")
    layers = {layer["layer"]: layer for layer in view["money"]["by_layer"]}
    assert (layers["cache"]["count"], layers["cache"]["saved_dollars"]) == (1, 0.25)
    assert (layers["join"]["count"], layers["join"]["saved_dollars"]) == (1, 0.125)
    assert (layers["retry"]["count"], layers["retry"]["wasted_dollars"]) == (1, 0.5)
    assert layers["prompt cache"]["count"] == 1_000  # who was told another's answer read nothing
    assert layers["prompt cache"]["saved_dollars"] > 0
    assert view["totals"]["saved_dollars"] == 0.375
    assert view["totals"]["wasted_dollars"] == 0.5
    shares = {tier["tier"]: tier["share"] for tier in view["tiers"]}
    assert shares["sqlite"] + shares["joined"] + shares["miss"] == pytest.approx(1.0)
    closed(log, desk)


def test_what_the_gateway_knows_now_is_told_with_it(tmp_path: Path) -> None:
    """Queues, limits and breakers of upstreams, those that nobody has asked as well; keys by their names."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("a", tenant="k1"))
    desk = desk_of(log)
    use = LimitUse(scope="m", kind="requests", per_min=60.0, share=0.5)
    upstream = NowUpstream(name="spare", origin="https://s.example", queued=2, limits=[use], breaker="open")
    now = Now(version="1", live=Live(workers=2, in_flight=3), upstreams=[upstream])
    desk.answer(Ask(what="names", names={"k1": "app"}))
    view = answered(desk, what="overview", now=now)
    spare = next(line for line in view["upstreams"] if line["name"] == "spare")
    assert (spare["breaker"], spare["queued"], spare["limits"][0]["share"]) == ("open", 2, 0.5)
    assert view["live"]["workers"] == 2
    assert view["calls"][0]["key_name"] == view["choices"]["keys"][0]["name"] == "app"
    assert view["money"]["by_key"][0]["name"] == "app"
    closed(log, desk)


def test_where_answers_came_from_counts_answers(tmp_path: Path) -> None:
    """What was refused, failed or joined to a failure came from nowhere; the rate is that of the time covered."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("a", cache="miss", attempts=1))
    log.write(trace_of("b", cache="memory", sent_at_s=None))
    log.write(trace_of("c", cache="joined", outcome="server_error"))
    log.write(trace_of("d", cache="miss", outcome="budget", attempts=1, sent_at_s=None, upstream="", status=402))
    log.write(trace_of("e", cache="miss", outcome="connect_failed", attempts=3, sent_at_s=None, status=None))
    desk = desk_of(log)
    view = answered(desk, what="overview", filters=Filters(window_s=61.0))
    assert {tier["tier"]: tier["share"] for tier in view["tiers"]} == {"memory": 0.5, "miss": 0.5}
    assert sum(view["series"]["hits"]) == 1
    assert {line["id"]: line["attempts"] for line in view["calls"]} == {"a": 1, "b": 0, "c": 0, "d": 0, "e": 3}
    assert answered(desk, what="call", id="d")["call"]["attempts"] == 0
    assert view["totals"]["requests_per_s"] == pytest.approx(5 / (NOW_S - view["series"]["at_wall_s"][0]))
    closed(log, desk)


def test_an_upstream_that_is_down_is_seen(tmp_path: Path) -> None:
    """Without a breaker, too: its last tries failed, whatever was before."""
    log = log_at(tmp_path / "calls.sqlite")
    for nth in range(8):
        log.write(trace_of(f"a{nth}.0", NOW_S - 30, kind="attempt"))
    for nth in range(6):
        log.write(trace_of(f"b{nth}.0", kind="attempt", outcome="connect_failed", sent_at_s=None, dollars=None))
    desk = desk_of(log)
    (line,) = answered(desk, what="overview")["upstreams"]
    assert (line["attempts"], line["failed"], line["breaker"]) == (14, 6, "none")
    assert (line["last"], line["last_failed"]) == (6, 6)
    closed(log, desk)


def test_who_brings_no_key_has_none(tmp_path: Path) -> None:
    """A credential's digest is no name; where there are keys, it is the id of one that is not known here."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("a", tenant="0123456789abcdef"))
    desk = desk_of(log)
    desk.answer(Ask(what="names", keyed=False))
    view = answered(desk, what="overview")
    assert view["choices"]["keys"] == [{"id": "0123456789abcdef", "name": "no key"}]
    assert view["calls"][0]["key_name"] == view["money"]["by_key"][0]["name"] == "no key"
    desk.answer(Ask(what="names", keyed=True))
    assert answered(desk, what="overview")["calls"][0]["key_name"] == "0123456789abcdef"
    closed(log, desk)


def test_views_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that show the same are one view; many heavy ones push the oldest out, and each tells its own window."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("a"))
    desk = desk_of(log)
    for nth in range(50):
        view = answered(desk, what="overview", filters=Filters(window_s=604_800.0 - nth))
        assert view["filters"]["window_s"] == 604_800.0 - nth
        assert view["totals"]["calls"] == 1
    assert len(desk._pages) == 1
    monkeypatch.setattr("headway.insight.desk.WEIGHT_MAX", 30)
    for nth in range(20):
        answered(desk, what="overview", filters=Filters(key=f"k{nth}"))
        answered(desk, what="overview")
    assert 1 <= len(desk._pages) < 10
    closed(log, desk)


def step(name: str, index: int, start_s: float, end_s: float, **more: Any) -> StepRow:
    return StepRow(
        pipeline="article", run=more.pop("run", "r1"), step=name, index=index, start_wall_s=NOW_S - 50,
        called_s=start_s, ready_s=start_s, started_s=start_s, first_chunk_s=end_s, end_s=end_s, dollars=0.5, **more,
    )  # fmt: skip


def test_pipelines_and_runs(tmp_path: Path) -> None:
    """What a run's time hung on, and what many runs come to."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write_steps(
        [
            step("", -1, 0.0, 3.0),
            step("outline", 0, 0.0, 1.0),
            step("facts", 1, 0.0, 0.5),
            step("write", 2, 1.0, 3.0, edges=(Edge(0, "value", 1.0), Edge(1, "value", 0.5))),
        ]
    )
    log.write_steps([step("", -1, 0.0, 1.0, run="r2", outcome="failed")])
    desk = desk_of(log)
    (line,) = answered(desk, what="pipelines")["pipelines"]
    assert (line["pipeline"], line["runs"], line["failed"]) == ("article", 2, 1)
    assert line["total"]["p50_s"] == pytest.approx(3.0, rel=0.05)
    steps = {one["step"]: one for one in line["steps"]}
    assert steps["write"]["path_share"] == pytest.approx(2 / 3)
    assert steps["facts"]["path_share"] == 0.0
    runs = answered(desk, what="runs", id="article")["runs"]
    assert {one["run"]: one["outcome"] for one in runs} == {"r1": "ok", "r2": "failed"}
    detail = answered(desk, what="run", id="r1")
    assert detail["critical"] == ["outline#0", "write#2"]
    assert detail["run"]["total_s"] == 3.0
    spans = {span["lane"]: (span["start_s"], span["end_s"]) for span in detail["spans"]}
    assert spans == {"outline#0": (0.0, 1.0), "facts#1": (0.0, 0.5), "write#2": (1.0, 3.0)}
    assert desk.answer(Ask(what="run", id="r9"))[0] == 404
    assert answered(desk, what="pipelines", filters=Filters(window_s=40.0))["pipelines"] == []
    closed(log, desk)


def test_a_log_that_goes_away_between_two_questions(tmp_path: Path) -> None:
    """Every question has an answer, and the views begin anew with the next log."""
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("a"))
    desk = desk_of(log)
    assert answered(desk, what="overview")["totals"]["calls"] == 1
    log.close()
    for side in ("", "-wal", "-shm"):
        Path(f"{log.path}{side}").unlink(missing_ok=True)
    gone = answered(desk, what="overview")
    assert (gone["log"], gone["totals"]["calls"], gone["calls"]) == ("off", 0, [])
    assert "no call log" in gone["log_note"]
    assert desk.answer(Ask(what="call", id="a"))[0] == 404
    assert answered(desk, what="calls")["calls"] == []
    assert answered(desk, what="runs", id="article")["runs"] == []
    log = log_at(tmp_path / "calls.sqlite")
    log.write(trace_of("b"))
    log.flush()
    view = answered(desk, what="overview")
    assert (view["log"], [line["id"] for line in view["calls"]]) == ("on", ["b"])
    closed(log, desk)
