"""Several workers' figures are one gateway's, and each of them knows who is signed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headway.gateway.app.admin.access import COOKIE
from headway.gateway.app.admin.now import now_of
from headway.gateway.data.homes import Home
from headway.gateway.peers import WorkerState
from tests.gateway.admin_helpers import get, made, served
from tests.gateway.helpers import within


def limit(share: float | None, **more: Any) -> dict[str, Any]:
    return {"scope": "m", "kind": "requests", "per_min": 60.0, "share": share, "learned": True} | more


def worker(pid: int, **state: Any) -> WorkerState:
    upstreams = state.pop("upstreams", [])
    base = {"in_flight": 1, "queued": 2, "queued_by_priority": {"high": 1, "normal": 1, "low": 0}}
    return WorkerState(pid=pid, state=base | state | {"upstreams": upstreams})


def upstream(**more: Any) -> dict[str, Any]:
    return {"name": "u", "origin": "https://u.example", "queued": 1, "limits": [], "breaker": "closed"} | more


def test_workers_add_up() -> None:
    """Queues and shares are summed, the worst breaker counts, and homes that nobody has asked are there."""
    homes = [
        Home(name="u", base_url="https://u.example/v1"),
        Home(name="idle", base_url="https://idle.example/v1"),
    ]
    found = now_of(
        [
            worker(1, upstreams=[upstream(limits=[limit(0.25), limit(0.1, kind="tokens")], breaker="half-open")]),
            worker(2, upstreams=[upstream(limits=[limit(0.5)], breaker="open")]),
            worker(3),
        ],
        homes,
        "1",
    )
    assert (found.live.workers, found.live.in_flight, found.live.queued) == (3, 3, 6)
    assert found.live.queued_by_priority == {"high": 3, "normal": 3, "low": 0}
    one, idle = found.upstreams
    assert (one.name, one.queued, one.breaker) == ("u", 2, "open")
    assert [(use.kind, use.share) for use in one.limits] == [("requests", 0.75), ("tokens", 0.1)]
    assert (idle.origin, idle.breaker) == ("https://idle.example", "none")


def test_a_worker_of_another_version_is_borne() -> None:
    """What it does not tell is nothing."""
    assert now_of([WorkerState(pid=1, state={})], [], "1").live.workers == 1


def test_a_session_holds_with_every_worker(tmp_path: Path) -> None:
    """Whoever was signed in by one is known to the others, for nothing is kept of it."""
    path = tmp_path / "keys"
    admin = made(path, "me", admin=True)

    async def main() -> None:
        async with served(tmp_path, keys=str(path)) as one, served(tmp_path, keys=str(path)) as other:
            reply = await one.post("/api/session", json={"key": admin})
            value = reply.headers["set-cookie"].partition(";")[0].partition("=")[2]
            found = await get(other, "/api/session", headers={"cookie": f"{COOKIE}={value}"})
            assert found == {"needs_key": True, "signed_in": True, "name": "me"}

    within(main())
